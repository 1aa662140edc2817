"""Checks of alignments, on encodings whose byte offsets are known.

Shapes: L tokens of a side, C chunks.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tide_specs.alignment import Alignment
from tide_specs.byte_tokenizer import ByteTokenizer
from tide_specs.errors import AlignmentError
from tide_specs.testing import texts
from tide_specs.testing.outcome import CheckFailed, CheckSkipped, expect
from tide_specs.text import AlignedPair, ChunkRelation, EncodedExample, Example, TextTokenizer, TokenKind


@dataclass(frozen=True)
class Case:
    """Two encodings of one example, and what the alignment made of them."""

    title: str
    student: EncodedExample
    teacher: EncodedExample
    pair: AlignedPair

    def sides(self) -> Iterator[tuple[str, EncodedExample, Any]]:
        """Yield name, encoding and chunk ids [L] of each side."""
        yield "student", self.student, self.pair.student
        yield "teacher", self.teacher, self.pair.teacher

    @property
    def chunks(self) -> int:
        """C."""
        return len(self.pair.bytes)


Span = tuple[int, int, int]
"""Message, first byte, byte after the last; the first and last byte of an end-of-turn chunk are -1."""


def tokenizers(alignment: Alignment) -> list[tuple[str, TextTokenizer, TextTokenizer]]:
    """Return the pairs of tokenizers that the alignment claims to serve."""
    words, other, padded = texts.word_tokenizer(), texts.other_tokenizer(), texts.padded_tokenizer()
    pairs: list[tuple[str, TextTokenizer, TextTokenizer]] = [
        ("one vocabulary, two templates", words, padded),
        ("words and bytes", words, texts.byte_tokenizer()),
        ("bytes and words", texts.byte_tokenizer(), words),
        ("two vocabularies", words, other),
    ]
    return pairs if "chunks" in alignment.yields else [pair for pair in pairs if _served(alignment, pair[1], pair[2])]


def _served(alignment: Alignment, student: TextTokenizer, teacher: TextTokenizer) -> bool:
    try:
        return alignment.columns(student, teacher) is not None
    except AlignmentError:
        return False


def cases(alignment: Alignment, examples: list[Example] | None = None) -> Iterator[Case]:
    """Align every example under every pair of tokenizers."""
    pairs = tokenizers(alignment)
    if not pairs:
        raise CheckSkipped("it serves none of the kit's pairs of tokenizers")
    for title, student, teacher in pairs:
        for example in examples or texts.examples():
            (left,), (right,) = student.encode([example]), teacher.encode([example])
            yield Case(f"{example.key} ({title})", left, right, alignment.align(left, right))


def exercise(alignment: Alignment) -> None:
    """Align a few examples and ask for the shared columns."""
    for case in cases(alignment, [texts.chat(content) for content in texts.TEXTS.values()]):
        assert case.chunks >= 0


def check_arrays(alignment: Alignment) -> None:
    """One chunk id per token, -1 or 0..C-1, and one size and relation per chunk."""
    for case in cases(alignment):
        for side, encoded, chunk in case.sides():
            expect(
                isinstance(chunk, np.ndarray) and chunk.shape == encoded.ids.shape and chunk.dtype.kind == "i",
                f"{case.title}: the {side}'s chunk ids are not an integer array with one entry per token; return int32 [L].",
            )
            expect(
                case.chunks == len(case.pair.relation)
                and chunk.max(initial=-1) < case.chunks
                and chunk.min(initial=-1) >= -1,
                f"{case.title}: the {side}'s chunk ids do not lie in -1..C-1 for the C = {case.chunks} entries of bytes.",
            )
            present = np.unique(chunk[chunk >= 0])
            expect(
                len(present) == case.chunks,
                f"{case.title}: {case.chunks - len(present)} of {case.chunks} chunks have no {side} token, so their likelihood "
                "would be exp(0) = 1; drop chunks that either side lacks and number the rest 0..C-1.",
            )


def check_order(alignment: Alignment) -> None:
    """Chunks are numbered in text order, and a chunk's tokens are contiguous on each side."""
    for case in cases(alignment):
        for side, _, chunk in case.sides():
            inside = chunk[chunk >= 0]
            expect(
                (np.diff(inside) >= 0).all(),
                f"{case.title}: the {side}'s chunk ids go down somewhere; number chunks in text order.",
            )
            places = np.flatnonzero(chunk >= 0)
            broken = (np.diff(places) > 1) & (np.diff(inside) == 0)
            expect(not broken.any(), f"{case.title}: a chunk of the {side} has a gap; its tokens must be contiguous.")


def check_markup_is_left_out(alignment: Alignment) -> None:
    """Template markup, padding and fill belong to no chunk; an end of turn is aligned with an end of turn."""
    for case in cases(alignment):
        for side, encoded, chunk in case.sides():
            markup = (encoded.kind == TokenKind.MARKUP) | (encoded.kind == TokenKind.FILL)
            expect(
                (chunk[markup] == -1).all(),
                f"{case.title}: the {side}'s template markup lies in a chunk; align the contents of messages only.",
            )
        turns = [
            {int(c): int(m) for c, m, k in zip(chunk, encoded.message, encoded.kind, strict=True)
             if c >= 0 and k == TokenKind.END_OF_TURN}
            for _, encoded, chunk in case.sides()
        ]  # fmt: skip
        expect(
            turns[0] == turns[1],
            f"{case.title}: an end-of-turn token shares a chunk with something else; align it by role, in a chunk of its own.",
        )


def check_equal_bytes(alignment: Alignment) -> None:
    """Both sides of a chunk span the same bytes of the same message, and ``bytes`` says how many."""
    for case in cases(alignment):
        left, right = spans(case, "student"), spans(case, "teacher")
        for number, (ours, theirs) in enumerate(zip(left, right, strict=True)):
            expect(
                ours == theirs,
                f"{case.title}: chunk {number} holds bytes {_say(ours)} for the student but {_say(theirs)} for the teacher; cut "
                "only where both sides have a token boundary (EncodedExample.end).",
            )
            size = ours[2] - ours[1]
            expect(
                int(case.pair.bytes[number]) == size,
                f"{case.title}: bytes[{number}] is {int(case.pair.bytes[number])}, but the chunk spans {size}; count raw "
                "UTF-8 bytes (0 for an end of turn).",
            )


def _say(span: Span) -> str:
    return f"{span[1]}..{span[2]} of message {span[0]}" if span[1] >= 0 else f"the end of turn of message {span[0]}"


def spans(case: Case, side: str) -> list[Span]:
    """Return what each chunk of a side spans, by the offsets of its tokens."""
    _, encoded, chunk = next(entry for entry in case.sides() if entry[0] == side)
    found: list[Span] = []
    for number in range(case.chunks):
        tokens = np.flatnonzero(chunk == number)
        if len(tokens) == 0 or len(set(encoded.message[tokens].tolist())) != 1:
            raise CheckFailed(
                f"{case.title}: chunk {number} of the {side} crosses a message's border or is empty; align message by message."
            )
        found.append(_span(encoded, tokens))
    return found


def _span(encoded: EncodedExample, tokens: Any) -> Span:
    message = int(encoded.message[tokens[0]])
    if encoded.kind[tokens[-1]] == TokenKind.END_OF_TURN:
        return (message, -1, -1)
    content = (encoded.message == message) & (encoded.kind == TokenKind.CONTENT) & (encoded.end >= 0)
    before = encoded.end[: tokens[0]][content[: tokens[0]]]
    start = before[-1] if len(before) else 0
    return (message, int(start), int(encoded.end[tokens[-1]]))


def check_tiling(alignment: Alignment) -> None:
    """The chunks tile both sides: no text between two chunks is left out (or, for tokens, each chunk is one of each side)."""
    for case in cases(alignment):
        if "tokens" in alignment.yields:
            _one_token_each(case)
            continue
        reached: dict[int, int] = {}
        for message, start, end in (span for span in spans(case, "student") if span[1] >= 0):
            expect(
                start == reached.get(message, 0),
                f"{case.title}: bytes {reached.get(message, 0)}..{start} of message {message} lie in no chunk; each chunk must start "
                "where the one before it ends.",
            )
            reached[message] = end
        if "one vocabulary" in case.title:
            _complete(case, reached)


def _one_token_each(case: Case) -> None:
    for side, _, chunk in case.sides():
        expect(
            (np.bincount(chunk[chunk >= 0], minlength=case.chunks) == 1).all(),
            f"{case.title}: the alignment yields tokens, but a chunk holds several {side} tokens; leave such spans out.",
        )


def _complete(case: Case, reached: dict[int, int]) -> None:
    """The same tokenization on both sides leaves nothing unaligned."""
    for message in set(case.student.message[case.student.kind == TokenKind.CONTENT].tolist()):
        last = int(case.student.end[case.student.message == message].max())
        expect(
            reached.get(message, 0) == last,
            f"{case.title}: the chunks of message {message} end at byte {reached.get(message, 0)} of {last}, although both sides have "
            "a token boundary there; the last chunk is missing.",
        )


def check_relation(alignment: Alignment) -> None:
    """``relation`` agrees with the number of tokens of each side."""
    for case in cases(alignment):
        ours, theirs = (np.bincount(chunk[chunk >= 0], minlength=case.chunks) for _, _, chunk in case.sides())
        for number, (s, t) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
            truth = _relation(s, t)
            said = int(case.pair.relation[number])
            expect(
                said == truth,
                f"{case.title}: chunk {number} holds {s} student and {t} teacher tokens, so its relation is {truth.name}, not {said}.",
            )


def _relation(student: int, teacher: int) -> ChunkRelation:
    if student == 1:
        return ChunkRelation.ONE_TO_ONE if teacher == 1 else ChunkRelation.ONE_TO_MANY
    return ChunkRelation.MANY_TO_ONE if teacher == 1 else ChunkRelation.MANY_TO_MANY


def check_truncation(alignment: Alignment) -> None:
    """When one side is cut, only chunks that are complete on both sides remain."""
    for title, student, teacher in tokenizers(alignment):
        (left,), (right,) = (side.encode([texts.chat(texts.TEXTS["ascii"])]) for side in (student, teacher))
        for ours, theirs in (
            (len(left.ids), len(right.ids) // 2),
            (len(left.ids) // 2, len(right.ids)),
            (3, 40),
            (1, 1),
        ):
            cut = _cut(left, ours), _cut(right, theirs)
            case = Case(f"{title}, cut to {ours} and {theirs} tokens", *cut, alignment.align(*cut))
            for side, _, chunk in case.sides():
                lost = set(range(case.chunks)) - set(chunk.tolist())
                expect(
                    not lost,
                    f"{case.title}: chunk {min(lost, default=0)} has no {side} token left, so its likelihood would be exp(0) = 1; "
                    "drop what either side lacks.",
                )
            expect(
                spans(case, "student") == spans(case, "teacher"),
                f"{case.title}: a chunk lost its tail on one side but is still paired; drop chunks that are not complete on both.",
            )


def _cut(encoded: EncodedExample, length: int) -> EncodedExample:
    return replace(encoded, **{name: getattr(encoded, name)[:length] for name in EncodedExample.__dataclass_fields__})


def check_batches_equal_single_examples(alignment: Alignment) -> None:
    """``align_batch`` gives each example what ``align`` gives it alone, whatever stands beside it."""
    for title, student, teacher in tokenizers(alignment):
        left, right = student.encode(texts.examples()), teacher.encode(texts.examples())
        together = alignment.align_batch(left, right)
        expect(
            len(together) == len(left),
            f"{title}: align_batch() returns {len(together)} results for {len(left)} examples; return one for each, in order.",
        )
        for number, (pair, a, b) in enumerate(zip(together, left, right, strict=True)):
            alone = alignment.align(a, b)
            same = all(np.array_equal(getattr(pair, name), getattr(alone, name)) for name in _FIELDS)
            expect(
                same,
                f"{title}: align_batch() gives example {number} other chunks than align() does; number the chunks of every example "
                "from 0, and let no chunk reach across examples.",
            )
        expect(len(alignment.align_batch([], [])) == 0, f"{title}: align_batch() of no examples is not empty.")


_FIELDS = ("student", "teacher", "bytes", "relation")


def check_different_texts_are_refused(alignment: Alignment) -> None:
    """Two complete long messages that share no token boundary are not one text: ``AlignmentError``."""
    student, teacher = ByteTokenizer([b"ab"]), ByteTokenizer([b"ba"])
    (left,), (right,) = student.encode([texts.chat("ab" * 40)]), teacher.encode([texts.chat("a" + "ba" * 30)])
    try:
        alignment.align(left, right)
    except AlignmentError:
        return
    raise CheckFailed(
        "align() takes encodings of two different texts without a word, and would teach nonsense; raise AlignmentError when "
        "messages that are complete on both sides (their end of turn is present) share no boundary or end elsewhere."
    )


def check_columns(alignment: Alignment) -> None:
    """Shared columns name the same bytes on both sides; an alignment that yields tokens has them."""
    words, padded = texts.word_tokenizer(), texts.padded_tokenizer()
    shared = alignment.columns(words, padded)
    if shared is None:
        expect(
            "tokens" not in alignment.yields,
            "the alignment yields tokens, but columns() returns None for two paddings of one vocabulary; return SharedColumns.",
        )
        raise CheckSkipped("the alignment yields no tokens")
    for title, student, teacher in tokenizers(alignment):
        if _served(alignment, student, teacher):
            _same_bytes(title, alignment.columns(student, teacher), student, teacher)


def _same_bytes(title: str, columns: Any, student: TextTokenizer, teacher: TextTokenizer) -> None:
    every = np.arange(columns.size)
    ours = every if columns.student_ids is None else columns.student_ids
    theirs = every if columns.teacher_ids is None else columns.teacher_ids
    expect(
        len(ours) == len(theirs) == columns.size and columns.size > 0,
        f"{title}: the columns' index arrays do not have size {columns.size} (> 0) each.",
    )
    left, right = student.token_bytes(), teacher.token_bytes()
    expect(
        ours.max() < len(left) and theirs.max() < len(right),
        f"{title}: a column lies beyond a vocabulary; share only ids that both sides have.",
    )
    for s, t in zip(ours.tolist(), theirs.tolist(), strict=True):
        expect(
            left[s] == right[t],
            f"{title}: column {s} of the student means {left[s]!r}, column {t} of the teacher {right[t]!r}; compare bytes, not sizes.",
        )
