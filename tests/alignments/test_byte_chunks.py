"""Chunks tile equal bytes of the same message on both sides, and are minimal: real tokenizers, hostile text."""

from __future__ import annotations

import numpy as np
import pytest
from alignment_oracle import as_chunks, chunks_of, synthetic, truncated
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_kit import TEXTS, conversation, encode, plain, real, spells

from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_specs import AlignedPair, AlignmentError, ChunkRelation, EncodedExample, Example, TokenKind

PAIRS = [
    ("qwen", "deepseek"),
    ("qwen", "tekken"),
    ("qwen", "mistral-sp"),
    ("qwen", "minilm"),
    ("smollm2", "deepseek"),
    ("tekken", "mistral-sp"),
    ("minilm", "mistral-sp"),
    ("smollm2", "qwen"),
]

ENDS = st.lists(st.integers(1, 30), max_size=12, unique=True).map(sorted)
SIDES = st.lists(st.tuples(ENDS, ENDS), max_size=4)


def align(student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
    return ByteChunks().align(student, teacher)


def spell(pair: AlignedPair) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    return as_chunks(pair.student, pair.teacher, pair.bytes)


def example_of(names: tuple[str, str], *contents: str) -> Example:
    return plain(*contents) if "minilm" in names else conversation(*contents)


def check_invariants(student: EncodedExample, teacher: EncodedExample, pair: AlignedPair) -> None:
    for side, chunk in ((student, pair.student), (teacher, pair.teacher)):
        inside = chunk[chunk >= 0]
        assert (np.diff(inside) >= 0).all()  # text order, so the tokens of a chunk are together ...
        assert sorted(set(inside.tolist())) == list(range(len(pair.bytes)))  # ... and no chunk is empty
        for c in range(len(pair.bytes)):
            places = np.flatnonzero(chunk == c)
            assert (np.diff(places) == 1).all()
            assert len(set(side.message[places].tolist())) == 1
        assert not (side.kind[chunk >= 0] == TokenKind.MARKUP).any()
    for tokens, others, size in spell(pair):
        relation = ChunkRelation(int(pair.relation[pair.student[tokens[0]]]))
        assert relation == (len(tokens) > 1) + 2 * (len(others) > 1)
        if student.kind[tokens[-1]] == TokenKind.END_OF_TURN:
            assert size == 0
            assert teacher.kind[others[-1]] == TokenKind.END_OF_TURN
        else:
            assert student.end[tokens[-1]] == teacher.end[others[-1]] >= size > 0


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
@settings(max_examples=30, deadline=None)
@given(prompt=TEXTS, answer=TEXTS, again=st.booleans())
def test_real_tokenizers_agree_with_the_obvious_way(
    names: tuple[str, str], prompt: str, answer: str, again: bool
) -> None:
    example = example_of(names, f"{answer} {prompt} {answer}" if again else prompt, answer)
    student, teacher = encode(names[0], example), encode(names[1], example)
    pair = align(student, teacher)
    check_invariants(student, teacher, pair)
    assert spell(pair) == chunks_of(student, teacher)


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
@settings(max_examples=30, deadline=None)
@given(answer=TEXTS)
def test_chunks_hold_the_same_text_on_both_sides(names: tuple[str, str], answer: str) -> None:
    """Where both tokenizers spell their bytes, the pieces of a chunk are the text of the chunk."""
    example = example_of(names, "?", answer)
    student, teacher = encode(names[0], example), encode(names[1], example)
    raw, before = answer.encode(), 0
    for tokens, others, size in spell(align(student, teacher)):
        if student.message[tokens[-1]] != 1 or not size:
            continue
        text = raw[before : before + size]
        before += size
        for name, side, places in ((names[0], student, tokens), (names[1], teacher, others)):
            pieces = [real(name).token_bytes()[i] or b"" for i in side.ids[list(places)].tolist()]
            assert not spells(name, answer) or b"".join(pieces) in (text, b" " + text)


@settings(max_examples=150, deadline=None)
@given(sides=SIDES)
def test_any_boundaries_agree_with_the_obvious_way(sides: list[tuple[list[int], list[int]]]) -> None:
    student, teacher = synthetic([own for own, _ in sides]), synthetic([other for _, other in sides])
    pair = align(student, teacher)
    assert spell(pair) == chunks_of(student, teacher)


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(st.tuples(SIDES, st.integers(0, 40), st.integers(0, 40)), max_size=6))
def test_a_batch_aligns_like_its_examples(
    batch: list[tuple[list[tuple[list[int], list[int]]], int, int]],
) -> None:
    students = [truncated(synthetic([own for own, _ in sides]), length) for sides, length, _ in batch]
    teachers = [truncated(synthetic([other for _, other in sides]), length) for sides, _, length in batch]
    together = ByteChunks().align_batch(students, teachers)
    assert len(together) == len(batch)
    for student, teacher, pair in zip(students, teachers, together, strict=True):
        assert spell(pair) == chunks_of(student, teacher)
        assert [a.dtype for a in (pair.student, pair.teacher, pair.bytes, pair.relation)] == [
            np.int32,
            np.int32,
            np.int32,
            np.int8,
        ]
        assert (len(pair.student), len(pair.teacher)) == (len(student.ids), len(teacher.ids))


def test_tokens_without_an_end_join_the_chunk_around_them() -> None:
    pair = align(synthetic([[-1, 3, -1, 6]]), synthetic([[3, 6]]))
    assert pair.student.tolist() == [-1, 0, 0, 1, 1, 2]
    assert pair.bytes.tolist() == [3, 3, 0]


def test_the_tail_behind_the_last_common_boundary_is_dropped() -> None:
    pair = align(synthetic([[2, 5, 9], [4]]), synthetic([[2, 6, 8], [4]]))
    assert pair.student.tolist() == [-1, 0, -1, -1, 1, -1, 2, 3]
    assert pair.bytes.tolist() == [2, 0, 4, 0]


@settings(max_examples=30, deadline=None)
@given(answer=TEXTS, keep=st.integers(0, 30))
def test_truncation_of_one_side_only_takes_chunks_off_the_end(answer: str, keep: int) -> None:
    example = conversation("a question", answer)
    student, teacher = encode("deepseek", example), encode("qwen", example)
    whole, cut = align(student, teacher), align(student, truncated(teacher, keep))
    kept = len(cut.bytes)
    assert cut.bytes.tolist() == whole.bytes[:kept].tolist()
    assert spell(cut) == spell(whole)[:kept]


def test_empty_texts_align_by_their_ends_of_turn_alone() -> None:
    example = conversation("", "")
    pair = align(encode("qwen", example), encode("smollm2", example))
    assert pair.bytes.tolist() == [0, 0]


def test_nothing_aligns_with_nothing() -> None:
    assert list(ByteChunks().align_batch([], [])) == []
    pair = align(synthetic([]), synthetic([]))
    assert len(pair.bytes) == len(pair.student) == 0


def test_an_answer_that_occurs_in_the_prompt_is_aligned_at_its_own_place() -> None:
    example = conversation("Answer Yes or No: Yes?", "Yes")
    student, teacher = encode("qwen", example), encode("deepseek", example)
    pair = align(student, teacher)
    answer = [c for c in spell(pair) if student.message[c[0][-1]] == 1]
    assert [size for *_, size in answer] == [3, 0]
    assert student.trainable[list(answer[0][0])].all()
    assert teacher.trainable[list(answer[0][1])].all()


def test_end_of_turn_is_aligned_by_role_across_templates() -> None:
    example = conversation("Hi", "Hello", "Bye", "Bye!")
    student, teacher = encode("smollm2", example), encode("tekken", example)
    pair = align(student, teacher)
    ends = [(student.message[s[0]], teacher.message[t[0]]) for s, t, size in spell(pair) if size == 0]
    assert ends == [(1, 1), (3, 3)]  # tekken's template ends only the assistant's turns


def test_relations_are_named() -> None:
    pair = align(synthetic([[1, 2, 3, 5, 7]]), synthetic([[1, 3, 4, 5, 6, 7]]))
    expected = [
        ChunkRelation.ONE_TO_ONE,
        ChunkRelation.MANY_TO_ONE,
        ChunkRelation.ONE_TO_MANY,
        ChunkRelation.ONE_TO_MANY,
        ChunkRelation.ONE_TO_ONE,
    ]
    assert pair.relation.tolist() == expected
    assert align(synthetic([[1, 4]]), synthetic([[2, 4]])).relation[0] == ChunkRelation.MANY_TO_MANY


def test_encodings_of_different_texts_are_refused() -> None:
    student = synthetic([[1], list(range(1, 60, 2))])
    teacher = synthetic([[1], list(range(2, 60, 2))])
    with pytest.raises(AlignmentError, match=r"message 1 of example 0 .* not of the same text"):
        align(student, teacher)


def test_ends_that_fall_are_refused() -> None:
    with pytest.raises(AlignmentError, match="token 2 of encoding 0 ends at or before"):
        align(synthetic([[5, 4]]), synthetic([[5]]))


def test_unequal_batches_are_refused() -> None:
    with pytest.raises(AlignmentError, match="1 student encodings cannot be aligned with 0"):
        ByteChunks().align_batch([synthetic([[1]])], [])
