"""Projection between real vocabularies, over real text."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tokenizer_kit import conversation, encode, plain, real
from vocabulary_kit import probabilities, starts

from tide_plugins.alignments import ByteChunks, MinimumEdit, SharedVocabulary, VocabularyProjection
from tide_plugins.alignments.projection import ProjectionBridge
from tide_plugins.losses import ForwardKL, ProjectedKL, ReverseKL
from tide_specs import ChunkRelation, TokenContext

PAIRS = [
    ("qwen", "smollm2"),
    ("smollm2", "qwen"),
    ("qwen", "deepseek"),
    ("qwen", "tekken"),
    ("deepseek", "mistral-sp"),
    ("qwen", "minilm"),
    ("minilm", "tekken"),
]
TEXT = (
    "Internationalisation of bioinformatics pipelines requires careful normalisation: `df.groupby('naïve').agg(np.mean)`.\n"
    "東京の猫は、とても可愛いです。Электростанции 🐈\u200d⬛ 1234567\n"
) * 3


@cache
def bridge(student: str, teacher: str) -> ProjectionBridge:
    built = VocabularyProjection().bridge(real(student), real(teacher))
    assert isinstance(built, ProjectionBridge)
    return built


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
def test_every_image_begins_what_it_stands_for(names: tuple[str, str]) -> None:
    student, teacher = (real(name) for name in names)
    ours, theirs, found = student.token_bytes(), teacher.token_bytes(), bridge(*names).mapping
    turn = teacher.end_of_turn_token_id
    assert found.column[turn] == student.end_of_turn_token_id
    known = set(ours)
    for index, column in enumerate(found.column.tolist()):
        own = ours[column] if column >= 0 else None
        if index == turn:
            continue
        if theirs[index] is None:
            assert column == -1
        elif own is not None:
            assert (theirs[index] or b"").startswith(own)
            assert found.exact[index] == (theirs[index] == own)
        else:
            assert column == -1
            assert not any((theirs[index] or b"")[:size] in known for size in (1, 2, 3))
    inexact = np.flatnonzero((found.column >= 0) & ~found.exact)
    for index in np.random.default_rng(0).choice(inexact, 200).tolist() if len(inexact) else ():
        piece = theirs[index] or b""
        longest = next(piece[:size] for size in range(len(piece), 0, -1) if piece[:size] in known)
        assert ours[found.column[index]] == longest


@pytest.mark.parametrize("names", PAIRS, ids="/".join)
def test_mass_is_conserved_with_padded_heads(names: tuple[str, str]) -> None:
    student, teacher = (real(name) for name in names)
    z = torch.randn(2, student.vocabulary_size + 37, generator=torch.Generator().manual_seed(0))
    q = probabilities(2, teacher.vocabulary_size + 5, 1).float()
    found = bridge(*names).outcomes(z, q, starts(2, torch.float32))
    assert (found.teacher >= 0).all()
    np.testing.assert_allclose(found.teacher.double().sum(1).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(found.student.double().exp().sum(1).numpy(), 1, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_one_vocabulary_gives_the_kl_over_shared_columns(direction: Any, temperature: float) -> None:
    """Heads of 151,646 and 152,064 columns; special tokens, which the projection counts in the tail, are unlikely."""
    qwen = real("qwen")
    columns = SharedVocabulary().columns(qwen, qwen)
    random = torch.Generator().manual_seed(3)
    s, u = (torch.randn(2, 151_646, generator=random, dtype=torch.float64) * 3 for _ in range(2))
    special = [i for i, piece in enumerate(qwen.token_bytes()) if piece is None and i != qwen.end_of_turn_token_id]
    s[:, special] = u[:, special] = -200
    teacher = torch.cat([u.softmax(1), torch.zeros(2, 418 + 1, dtype=torch.float64)], 1)
    found = ProjectedKL(direction=direction, temperature=temperature).per_start(
        *bridge("qwen", "qwen").outcomes(s, teacher, starts(2)), starts(2)
    )
    at: Any = TokenContext.__new__(TokenContext)
    sibling = {"forward": ForwardKL, "reverse": ReverseKL}[direction](temperature=temperature)
    expected = sibling.per_token(s[:, : columns.size], u[:, : columns.size], at)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def first_tokens(names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First student token, first teacher token and relation of each chunk of the text."""
    example = plain("", TEXT) if "minilm" in names else conversation("?", TEXT)
    student, teacher = encode(names[0], example), encode(names[1], example)
    pair = ByteChunks().align(student, teacher)
    firsts = [np.unique(chunk, return_index=True) for chunk in (pair.student, pair.teacher)]
    own, other = (at[number >= 0] for number, at in firsts)
    return student.ids[own], teacher.ids[other], pair.relation


@pytest.mark.parametrize("names", [("qwen", "smollm2"), ("qwen", "deepseek"), ("qwen", "tekken")], ids="/".join)
def test_a_sure_teacher_leaves_nothing_on_undershot_tokens_unless_corrected(names: tuple[str, str]) -> None:
    own, other, relation = first_tokens(names)
    rows = np.flatnonzero(relation == ChunkRelation.ONE_TO_MANY)[:16]
    assert len(rows)
    targets, first = (torch.from_numpy(ids[rows].astype(np.int64)) for ids in (own, other))
    columns = real(names[1]).vocabulary_size
    q = torch.full((len(rows), columns + 1), 0.1 / (columns - 1)).scatter(1, first[:, None], 0.9)
    q[:, -1] = 0
    at = starts(
        len(rows),
        torch.float32,
        targets=targets,
        teacher_targets=first,
        teacher_tokens=torch.full((len(rows),), 2),
        teacher_log_likelihood=torch.full((len(rows),), 0.6).log(),
    )
    z = torch.zeros(len(rows), real(names[0]).vocabulary_size)
    plain_bridge = VocabularyProjection(correct_undershoot=False).bridge(*map(real, names))
    before, after = (one.outcomes(z, q, at).teacher for one in (plain_bridge, bridge(*names)))
    assert before.gather(1, targets[:, None]).max() < 1e-3
    torch.testing.assert_close(after.gather(1, targets[:, None])[:, 0], before.gather(1, targets[:, None])[:, 0] + 0.6)
    torch.testing.assert_close(after.sum(1), before.sum(1))


def test_minimum_edit_gives_every_token_of_text_an_image() -> None:
    student, teacher = real("qwen"), real("smollm2")
    found: Any = MinimumEdit().bridge(student, teacher)
    exact: Any = VocabularyProjection(match="exact").bridge(student, teacher)
    spelled = np.array([bool(piece) for piece in teacher.token_bytes()])
    spelled[teacher.end_of_turn_token_id] = True
    assert ((found.mapping.column >= 0) == spelled).all()
    same = exact.mapping.column >= 0
    assert (found.mapping.column[same] == exact.mapping.column[same]).all()
