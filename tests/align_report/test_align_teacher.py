"""The figures of a teacher's pass against loops in float64, for causal and denoising teachers, whole texts and long ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from run_files import DEMO
from teacher_oracle import Asked, Projection, chunks_of, log_softmax, summed_up
from test_align_figures import flat, texts

from tide_core.alignment_report import teacher_pass
from tide_core.alignment_report.report import report
from tide_core.alignment_report.sides import Side
from tide_core.alignment_report.tables import tabulate
from tide_core.alignment_report.teacher_pass import reading_of
from tide_core.alignment_report.teacher_rows import Reading, teacher_rows
from tide_core.alignment_report.teachers import Teacher, answer
from tide_core.alignment_report.texts import Document, Texts
from tide_core.registry import Registry
from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_plugins.alignments.vocabulary_projection import VocabularyProjection
from tide_specs import AlignmentError, Architecture, ConfigError, Denoiser, TextTokenizer
from tide_specs.byte_tokenizer import ByteTokenizer

CODE = "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]\n"
PROSE = "The quick brown fox's internationalisation: naïve 你好 \U0001f600."
TEXT = texts(code=CODE, prose=f"{PROSE}|{CODE[:40]}")
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal model of transformers whose random weights are large, so that it is sure of some tokens."""
    folder = tmp_path_factory.mktemp("causal")
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO / "teacher-tokenizer")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=len(tokenizer) + 5, num_key_value_heads=1, **SIZES)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(20.0 if "lm_head" in name else 5.0 if "embed" in name else 1.0)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def architecture(registry: Registry, **options: Any) -> Architecture:
    return registry.build("architecture", {"name": "huggingface", **options})


def student(registry: Registry) -> TextTokenizer:
    return architecture(
        registry, config={"model_type": "llama"}, form="autoregressive", tokenizer_from=str(DEMO / "student-tokenizer")
    ).tokenizer("student")


def passed(
    registry: Registry, model: Architecture, found: Texts = TEXT, *, chosen: Any = None, **options: Any
) -> dict[str, Any]:
    teacher = Teacher(
        source="it", architecture=model, attention=registry.build("attention", "eager"), device="cpu", **options
    )
    sides = (Side(source="a", tokenizer=student(registry)), Side(source="b", tokenizer=model.tokenizer("teacher")))
    chosen = chosen or ByteChunks()
    return report(
        *sides, chosen, found, asked=lambda tables: answer(teacher, sides, chosen, found, tables, registry)
    ).data


def check(data: dict[str, Any], rows: list[tuple[Asked, dict[str, float]]], **tolerance: float) -> None:
    for domain, figures in {None: data["total"], **data["domains"]}.items():
        wanted = flat(summed_up([row for asked, row in rows if domain in (None, asked.domain)]))
        found = flat(figures["teacher_pass"])
        assert set(found) == set(wanted)
        for name, value in found.items():
            assert value == (None if wanted[name] is None else pytest.approx(wanted[name], **tolerance)), (domain, name)


def expected(
    chunks: list[Asked], logits: np.ndarray, ids: list[int], projection: Projection
) -> list[tuple[Asked, dict[str, float]]]:
    """Figures of chunks, from the teacher's logits [L, V] for every token of the document."""
    found = []
    for one in chunks:
        likelihood = sum(log_softmax(logits[place], ids[place]) for place in one.places)
        found.append((one, projection.figures(logits[one.places[0]], one.chunk, likelihood)))
    return found


def test_a_causal_teacher_is_read_exactly(registry: Registry, causal: Path) -> None:
    model = architecture(registry, model=str(causal), form="autoregressive")
    ours, theirs = student(registry), model.tokenizer("teacher")
    projection = Projection(ours, theirs)
    exact = transformers.LlamaForCausalLM.from_pretrained(causal, dtype=torch.float64)
    rows: list[tuple[Asked, dict[str, float]]] = []
    for document, chunks in zip(TEXT.documents, chunks_of(TEXT.documents, ours, theirs), strict=True):
        ids = theirs.encode([document.example])[0].ids.tolist()
        with torch.no_grad():
            following = exact(torch.tensor([ids])).logits[0].double().numpy()
        logits = np.concatenate([following[:1], following[:-1]])
        rows += expected([c for c in chunks if not c.chunk.lost], logits, ids, projection)
    data = passed(registry, model)
    assert (data["pass"]["form"], data["pass"]["masking"]) == ("autoregressive", None)
    check(data, rows, rel=2e-4, abs=2e-5)
    figures = data["total"]["teacher_pass"]
    assert figures["undershoot"]["chunks"] > 0
    assert figures["undershoot"]["log_mass_after"] > figures["undershoot"]["log_mass_before"]
    assert 0 < figures["covered"]["mass"] < 1
    assert figures["chunks"] == data["total"]["chunks"]


@pytest.mark.parametrize(("form", "options"), [("bidirectional", {}), ("block_diffusion", {"block_size": 8})])
def test_a_denoising_teacher_sees_the_chunks_that_are_not_hidden(
    form: str, options: dict[str, Any], registry: Registry, causal: Path
) -> None:
    model = architecture(registry, model=str(causal), form=form, check_shift=False, **options)
    ours, theirs = student(registry), model.tokenizer("teacher")
    found = chunks_of(TEXT.documents, ours, theirs)
    hidden = (np.random.default_rng(3).random(sum(map(len, found))) < 0.4).tolist()
    denoiser = Teacher(
        source="it", architecture=model, attention=registry.build("attention", "eager"), device="cpu"
    ).load(registry)
    rows: list[tuple[Asked, dict[str, float]]] = []
    for document, chunks in zip(TEXT.documents, found, strict=True):
        flags, hidden = hidden[: len(chunks)], hidden[len(chunks) :]
        ids = theirs.encode([document.example])[0].ids.tolist()
        ids += [theirs.end_of_turn_token_id] * (-len(ids) % model.length_multiple)
        logits = denoised(denoiser, ids, [p for c, h in zip(chunks, flags, strict=True) if h for p in c.places])
        asked = [c for c, h in zip(chunks, flags, strict=True) if h and not c.chunk.lost]
        rows += expected(asked, logits, ids, Projection(ours, theirs))
    data = passed(registry, model, masking=0.4, seed=3)
    assert (data["pass"]["masking"], data["pass"]["seed"]) == (0.4, 3)
    assert 0 < data["total"]["teacher_pass"]["chunks"] < data["total"]["chunks"]
    check(data, rows, rel=2e-4, abs=2e-5)


@torch.no_grad()
def denoised(denoiser: Denoiser, ids: list[int], places: list[int]) -> np.ndarray:
    """Logits [L, V] of one row in which the tokens at ``places`` are hidden."""
    assert denoiser.mask_token_id is not None
    noised = [denoiser.mask_token_id if place in places else i for place, i in enumerate(ids)]
    hidden = denoiser.hidden(torch.tensor([noised]), torch.tensor([ids]), torch.tensor([len(ids)]))
    return denoiser.head().logits(hidden[0]).double().numpy()


def test_small_slices_and_batches_change_nothing(
    registry: Registry, causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = architecture(registry, model=str(causal), form="autoregressive")
    whole = passed(registry, model)
    monkeypatch.setattr(teacher_pass, "ELEMENTS", 20_000)
    monkeypatch.setattr(teacher_pass, "BATCH_TOKENS", 1)
    parts = flat(passed(registry, model)["total"]["teacher_pass"])
    assert parts == {
        name: pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in flat(whole["total"]["teacher_pass"]).items()
    }


def test_equal_vocabularies_lose_nothing(registry: Registry, causal: Path) -> None:
    model = architecture(registry, model=str(causal), form="autoregressive")
    same = Side(source="same", tokenizer=model.tokenizer("teacher"))
    teacher = Teacher(source="it", architecture=model, attention=registry.build("attention", "sdpa"), device="cpu")
    chosen = VocabularyProjection()
    data = report(
        same, same, chosen, TEXT, asked=lambda tables: answer(teacher, (same, same), chosen, TEXT, tables, registry)
    ).data
    figures = data["total"]["teacher_pass"]
    assert figures["entropy"]["lost_percent"] == pytest.approx(0, abs=0.1)  # columns without a token are one tail
    assert figures["covered"]["mass"] == pytest.approx(1, abs=0.01)
    assert figures["undershoot"] == {
        "chunks": 0, "log_mass_before": None, "log_mass_after": None, "log_likelihood": None,
    }  # fmt: skip


def test_the_alignment_that_projects_is_the_one_that_is_reported_on(registry: Registry, causal: Path) -> None:
    model = architecture(registry, model=str(causal), form="autoregressive")
    exact = passed(registry, model, chosen=VocabularyProjection(match="exact"))
    figures = exact["total"]["teacher_pass"]
    assert exact["pass"]["projection"]["match"] == "exact"
    # One tail for what is dropped forgets exactly the entropy within it.
    lost = figures["entropy"]["teacher"] - figures["entropy"]["projected"]
    assert lost == pytest.approx(figures["covered"]["dropped_entropy"], rel=1e-3)


@pytest.mark.parametrize("length", [8, 12, 64])
def test_long_texts_are_read_in_rows_that_ask_for_every_chunk_once(length: int) -> None:
    ours, theirs = ByteTokenizer([b"ab", b"abcabc"]), ByteTokenizer([b"bc", b"ca"])
    found = texts(one="xabcabc" * 9 + "abcabcabca" * 3, two="ab|cc ab" * 5)
    tables = tabulate(found.documents, ours, theirs, ByteChunks())
    hidden = np.random.default_rng(0).random(len(tables.chunks.bytes)) < 0.7
    rows = list(teacher_rows(found.documents, theirs, tables, Reading(length=length, hidden=hidden, mask_token_id=999)))
    asked = [chunk for row in rows for chunk in sorted(set(row.chunk.tolist()))]
    assert asked == np.flatnonzero(hidden).tolist()
    sizes = tables.teacher.per_chunk(len(hidden))
    for row in rows:
        assert len(row.ids) <= length
        assert all((row.chunk == chunk).sum() == sizes[chunk] for chunk in set(row.chunk.tolist()))
        assert (row.noised[row.place] == 999).all()
        pieces = theirs.token_bytes()
        for chunk in set(row.chunk.tolist()):
            spelled = b"".join(pieces[i] or b"?" for i in row.ids[row.place[row.chunk == chunk]])
            raw = tables.raw[tables.chunks.message[chunk]]
            assert spelled == raw[tables.chunks.start[chunk] : tables.chunks.end[chunk]]


def test_a_row_that_goes_on_repeats_a_quarter_as_context() -> None:
    side = ByteTokenizer([])
    found = texts(one="abcdefgh" * 20)
    tables = tabulate(found.documents, side, side, ByteChunks())
    first, *others = teacher_rows(found.documents, side, tables, Reading(length=64, hidden=None))
    assert first.place[0] == 1
    assert len(others) > 1
    assert all(row.place[0] == 17 and row.ids[0] == first.ids[0] for row in others)


def test_a_chunk_longer_than_a_row_is_left_out() -> None:
    ours, theirs = ByteTokenizer([b"abcabcabc"]), ByteTokenizer([])
    found = texts(one="x" + "abcabcabc" + "yz")
    tables = tabulate(found.documents, ours, theirs, ByteChunks())
    rows = list(teacher_rows(found.documents, theirs, tables, Reading(length=6, hidden=None)))
    assert [chunk for row in rows for chunk in row.chunk.tolist()] == [0, 2, 3]


def test_a_long_text_gives_every_chunk_an_answer(
    registry: Registry, causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_pass, "LENGTH", 32)
    model = architecture(registry, model=str(causal), form="autoregressive")
    data = passed(registry, model, texts(code=CODE * 4, prose=PROSE))
    assert data["pass"]["length"] == 32
    assert data["total"]["teacher_pass"]["chunks"] == data["total"]["chunks"]


def test_a_teacher_without_a_mask_token_is_refused() -> None:
    class Odd:
        form, mask_token_id, block_size, longest, trained_length = "bidirectional", None, None, None, None

    with pytest.raises(ConfigError, match="denoises without a mask token"):
        reading_of(Odd(), 5, 0.5, 0)  # type: ignore[arg-type]


def test_vocabularies_that_share_nothing_are_named(registry: Registry, causal: Path) -> None:
    class Foreign(ByteTokenizer):
        def token_bytes(self) -> list[bytes | None]:
            return [None] * len(super().token_bytes())

    model = architecture(registry, model=str(causal), form="autoregressive")
    teacher = Teacher(source="it", architecture=model, attention=registry.build("attention", "sdpa"), device="cpu")
    sides = (Side(source="a", tokenizer=Foreign([])), Side(source="b", tokenizer=model.tokenizer("teacher")))
    tables = tabulate(TEXT.documents, sides[0].tokenizer, sides[1].tokenizer, ByteChunks())
    with pytest.raises(AlignmentError, match="no probability can be projected"):
        answer(teacher, sides, ByteChunks(), TEXT, tables, registry)


def test_a_document_does_not_depend_on_those_beside_it(registry: Registry, causal: Path) -> None:
    model = architecture(registry, model=str(causal), form="autoregressive")
    single = passed(registry, model, texts(code=CODE))["total"]["teacher_pass"]
    documents: list[Document] = [*texts(code=CODE).documents, *texts(more=PROSE).documents]
    both = passed(registry, model, Texts(source="test", documents=documents))
    assert both["domains"]["code"]["teacher_pass"] == {
        **single,
        **{k: pytest.approx(v, rel=1e-4) for k, v in single.items() if isinstance(v, float)},
        **{
            k: {name: None if x is None else pytest.approx(x, rel=1e-4, abs=1e-7) for name, x in v.items()}
            for k, v in single.items()
            if isinstance(v, dict)
        },
    }
