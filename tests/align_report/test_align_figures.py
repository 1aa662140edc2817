"""Every figure against a count by plain loops, on real tokenizers and on any pieces; a few by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_oracle import content, counted, text_of
from tokenizer_kit import TEXTS, real

from tide_core.alignment_report.excerpts import excerpts
from tide_core.alignment_report.report import Report, report
from tide_core.alignment_report.sides import Side
from tide_core.alignment_report.texts import Document, Texts, sample
from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_plugins.alignments.shared_vocabulary import SharedVocabulary
from tide_specs import AlignmentError, Example, Message, TextTokenizer
from tide_specs.byte_tokenizer import ByteTokenizer

PAIRS = [("qwen", "deepseek"), ("smollm2", "qwen"), ("mistral-sp", "tekken"), ("qwen", "minilm")]
PIECES = st.lists(st.sampled_from([b"ab", b"bc", b"abc", b"cab", b"aa", b"bb", b"ca", "é".encode()]), unique=True)


def texts(**domains: str) -> Texts:
    documents = [
        Document(
            example=Example(key=domain, messages=[Message(role="text", content=one) for one in text.split("|")]),
            domains=[domain] * (1 + text.count("|")),
        )
        for domain, text in domains.items()
    ]
    return Texts(source="test", documents=documents)


def compared(student: TextTokenizer, teacher: TextTokenizer, found: Texts, **options: Any) -> Report:
    sides = (Side(source="a", tokenizer=student), Side(source="b", tokenizer=teacher))
    return report(*sides, options.pop("alignment", ByteChunks()), found, **options)


def expected(
    student: TextTokenizer, teacher: TextTokenizer, found: Texts, p: float, domain: str | None
) -> dict[str, Any]:
    pieces = (student.token_bytes(), teacher.token_bytes())
    cut = []
    for document in found.documents:
        ours, theirs = student.encode([document.example])[0], teacher.encode([document.example])[0]
        for number, (message, name) in enumerate(zip(document.example.messages, document.domains, strict=True)):
            if domain in (None, name):
                raw = message.content.encode()
                cut.append(text_of(raw, content(ours, number), content(theirs, number), pieces))
    return counted(cut, pieces, p)


def flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for inner in value for key, leaf in flat(value[inner], f"{name}.{inner}").items()}


def check(student: TextTokenizer, teacher: TextTokenizer, found: Texts, p: float = 0.3) -> None:
    data = compared(student, teacher, found, masking=p).data
    for domain, figures in {None: data["total"], **data["domains"]}.items():
        wanted = flat(expected(student, teacher, found, p, domain))
        assert set(flat(figures)) == set(wanted)
        for name, value in flat(figures).items():
            assert value == (wanted[name] if wanted[name] is None else pytest.approx(wanted[name], rel=1e-12)), name


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
def test_every_figure_of_the_sample_is_that_of_a_count_by_loops(names: tuple[str, str]) -> None:
    check(real(names[0]), real(names[1]), sample())


@pytest.mark.parametrize("names", [("qwen", "minilm"), ("mistral-sp", "smollm2")], ids="/".join)
@settings(max_examples=15, deadline=None)
@given(text=TEXTS, other=TEXTS)
def test_hostile_text(names: tuple[str, str], text: str, other: str) -> None:
    check(real(names[0]), real(names[1]), texts(plain="A plain word.", hostile=text, more=other))


@settings(max_examples=60, deadline=None)
@given(
    ours=PIECES,
    theirs=PIECES,
    one=st.text("abcé|", min_size=1),
    other=st.text("abc"),
    p=st.floats(0.01, 0.99),
)
def test_any_pieces(ours: list[bytes], theirs: list[bytes], one: str, other: str, p: float) -> None:
    check(ByteTokenizer(ours), ByteTokenizer(theirs), texts(one="a" + one, other=other), p)


def test_figures_that_can_be_counted_by_hand() -> None:
    figures = compared(ByteTokenizer([b"ab"]), ByteTokenizer([b"bc"]), texts(one="abcxabc"), masking=0.5).data["total"]
    # chunks: abc (ab c against a bc), x, abc: boundaries 2 3 4 6 7 against 1 3 4 5 7
    assert figures["boundaries"] == {"student": 3 / 5, "teacher": 3 / 5, "jaccard": 3 / 7}
    assert figures["relation_bytes"] == {"1:1": 1 / 7, "n:1": 0, "1:m": 0, "m:n": 6 / 7, "none": 0}
    assert figures["first_token"] == {"equal": 1 / 3, "over": 0, "under": 2 / 3}
    assert figures["bytes_per_chunk"] == {"p50": 3, "p99": 3, "max": 3}
    assert figures["tokens_per_chunk"] == {"student": 5 / 3, "teacher": 5 / 3}
    assert figures["masking"] == {"p": 0.5, "ratio": (2 * 2 * 0.75 + 0.5) / 5}
    # "ab" twice is not the teacher's; "a" and "bc": "bc" twice is not the student's
    assert figures["vocabulary_overlap"] == {"student": 3 / 5, "teacher": 3 / 5}


def test_unknown_text_is_counted_and_excluded() -> None:
    found = compared(real("qwen"), real("minilm"), texts(one="Plain words \U0001f600 and more."))
    figures = found.data["total"]
    assert figures["unknown_tokens"]["teacher"] == 1 / 6  # plain words [UNK] and more .
    assert figures["round_trip"]["teacher"]["lost"] == figures["round_trip"]["excluded"] == 5 / 26
    assert figures["round_trip"]["teacher"]["normalised"] > 0.5
    assert figures["chunks"] == 5
    assert figures["boundaries"]["jaccard"] == 1.0


def test_one_tokenizer_agrees_with_itself() -> None:
    figures = compared(real("qwen"), real("qwen"), sample()).data["total"]
    assert figures["boundaries"]["jaccard"] == figures["relation_bytes"]["1:1"] == figures["first_token"]["equal"] == 1
    assert figures["masking"]["ratio"] == pytest.approx(0.5)
    assert figures["round_trip"]["excluded"] == 0


def test_text_that_an_alignment_leaves_out_is_in_no_chunk() -> None:
    student, teacher = ByteTokenizer([b"ab", b"bc"]), ByteTokenizer([b"bc", b"ab"])
    found = compared(student, teacher, texts(one="xabx"), alignment=SharedVocabulary())  # "ab" has two ids
    assert found.data["total"]["relation_bytes"]["none"] == 0.5
    assert found.data["total"]["boundaries"]["jaccard"] == 1.0


def test_nothing_in_common_is_one_error() -> None:
    with pytest.raises(AlignmentError, match=r"share no token boundary in text that both keep \(lost: 0% .* 100%"):
        compared(real("qwen"), real("minilm"), texts(one="\U0001f600"))


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
def test_excerpts_spell_the_text_and_follow_the_figures(names: tuple[str, str]) -> None:
    found = compared(real(names[0]), real(names[1]), sample())
    for domain, messages in excerpts(found.tables, 10**9).items():
        spans: Sequence[dict[str, Any]] = [span for message in messages for span in message]
        figures = found.data["domains"][domain]
        assert sum(span["bytes"] for span in spans) == figures["bytes"]
        for side in ("student", "teacher"):
            assert sum(len(span[side]) for span in spans) == figures["tokens"][side]
        kept = [span for span in spans if span["relation"] >= 0 and span["fidelity"] < 2]
        assert len(kept) == figures["chunks"]
        assert sum(span["first"] < 0 for span in kept) / len(kept) == figures["first_token"]["under"]
    assert all(len(messages[0]) < 600 for messages in excerpts(found.tables, 500).values())
