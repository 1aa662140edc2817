"""Probabilities by rank, and the minimum edit distance, against sorted lists and the textbook's dynamic programme."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabulary_kit import Vocabulary, logits, probabilities, starts

from tide_plugins.alignments import MinimumEdit, Ranked
from tide_plugins.alignments.spelling import Candidates, edit_distances
from tide_plugins.losses import UniversalLogit
from tide_specs import AlignmentError, Outcomes

SMALL = Vocabulary([None])


def ranked(z: torch.Tensor, q: torch.Tensor, top_k: int | None) -> Outcomes:
    return Ranked(top_k=top_k).bridge(SMALL, SMALL).outcomes(z, q, starts(len(z)))


@settings(max_examples=80, deadline=None)
@given(
    columns=st.tuples(st.integers(1, 9), st.integers(1, 9)), top_k=st.sampled_from([None, 1, 3, 8, 20]),
    listed=st.integers(1, 9), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_each_side_is_sorted_by_itself(columns: tuple[int, int], top_k: int | None, listed: int, seed: int) -> None:
    z, q = logits(3, columns[0], seed), probabilities(3, columns[1], seed + 1)
    lost = q[:, :-1].argsort(1, descending=True)[:, listed:]
    q[:, -1] = q.gather(1, lost).sum(1)
    q.scatter_(1, lost, 0.0)
    found = ranked(z, q, top_k)
    ranks = max(columns) if top_k is None else top_k
    for row in range(3):
        for side, values, rest in (
            (found.student[row].exp(), z[row].softmax(0).tolist(), 0.0),
            (found.teacher[row], q[row, :-1].tolist(), float(q[row, -1])),
        ):
            ordered = sorted(values, reverse=True)
            first = [*ordered[:ranks], *[0.0] * (ranks - len(ordered))]
            np.testing.assert_allclose(side.tolist(), [*first, rest + sum(ordered[ranks:])], rtol=1e-9, atol=1e-13)


def test_uld_over_all_ranks_is_that_of_the_paper() -> None:
    """Sorted probabilities, the shorter vocabulary filled up with zeros, absolute differences."""
    z, q = logits(4, 5, 0), probabilities(4, 8, 1)
    found = UniversalLogit().per_start(*ranked(z, q, None), starts(4))
    for row in range(4):
        own = [*sorted(z[row].softmax(0).tolist(), reverse=True), 0.0, 0.0, 0.0]
        other = sorted(q[row, :-1].tolist(), reverse=True)
        assert float(found[row]) == pytest.approx(sum(abs(a - b) for a, b in zip(own, other, strict=True)))


@settings(max_examples=40, deadline=None)
@given(top_k=st.sampled_from([None, 1, 3]), seed=st.integers(0, 2**31))
def test_uld_does_not_know_which_column_is_which(top_k: int | None, seed: int) -> None:
    z, q = logits(3, 6, seed), probabilities(3, 7, seed + 1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    values = [UniversalLogit().per_start(*ranked(side, q, top_k), starts(3)) for side in (z, z[:, order])]
    torch.testing.assert_close(*values)
    assert (values[0] <= 2).all()


@pytest.mark.parametrize("top_k", [None, 3])
def test_uld_through_ranks_has_the_gradient_of_finite_differences(top_k: int | None) -> None:
    z, q = logits(3, 6, 2).requires_grad_(), probabilities(3, 7, 3)
    assert torch.autograd.gradcheck(lambda x: UniversalLogit().per_start(*ranked(x, q, top_k), starts(3)), (z,))


def levenshtein(a: bytes, b: bytes) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        previous, row = row, [i + 1]
        for j, y in enumerate(b):
            row.append(min(previous[j] + (x != y), previous[j + 1] + 1, row[j] + 1))
    return row[-1]


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=12).map(lambda raw: bytes(b % 4 for b in raw)), min_size=1, max_size=5),
    others=st.lists(st.binary(min_size=1, max_size=80).map(lambda raw: bytes(b % 4 for b in raw)), min_size=1, max_size=5),
    long=st.booleans(),
)  # fmt: skip
def test_distances_are_those_of_the_textbook(pieces: list[bytes], others: list[bytes], long: bool) -> None:
    pieces = [*pieces, bytes(range(64))] if long else pieces  # a full machine word
    every = np.tile(np.arange(len(others)), (len(pieces), 1))
    expected = [[levenshtein(piece, other) for other in others] for piece in pieces]
    assert edit_distances(pieces, others, every).tolist() == expected


def test_a_small_vocabulary_is_searched_whole() -> None:
    """Where the dictionaries hold fewer tokens than are looked at, the image is the nearest of all."""
    draw = random.Random(0)
    known = {bytes(draw.choices(b"abcd", k=draw.randint(1, 8))): index for index, _ in enumerate(range(12))}
    pieces = [bytes(draw.choices(b"abcd", k=draw.randint(1, 8))) for _ in range(40)]
    expected = [min((levenshtein(piece, own), index) for own, index in known.items())[1] for piece in pieces]
    assert Candidates(known).nearest(pieces).tolist() == expected


def mapping(student: Vocabulary, teacher: Vocabulary) -> list[int]:
    bridge: Any = MinimumEdit().bridge(student, teacher)
    return bridge.mapping.column.tolist()


def test_minimum_edit_maps_meaning_by_spelling() -> None:
    student = Vocabulary([None, b" car", b" dog", b"cat", b" cot"])
    # " cat" is one byte from " car", "cat" and " cot": the lowest id wins; ends of turn by role, "cat" by its bytes.
    assert mapping(student, Vocabulary([None, b" cat", b" dogs", b"cat", None])) == [0, 1, 2, 3, -1]


def test_vocabularies_that_spell_nothing_are_refused() -> None:
    with pytest.raises(AlignmentError, match="'ranked'"):
        mapping(Vocabulary([None, None]), Vocabulary([None, b"a"]))
