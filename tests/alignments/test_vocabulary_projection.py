"""The teacher's distribution over the student's columns, held to a projection written in loops over bytes."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from vocabulary_kit import Vocabulary, logits, probabilities, starts

from tide_plugins.alignments import VocabularyProjection
from tide_specs import AlignmentError, Outcomes, StartContext

PIECES = st.lists(st.none() | st.binary(min_size=0, max_size=3).map(lambda raw: bytes(b % 3 + 97 for b in raw)), min_size=2, max_size=9)  # fmt: skip
STUDENT = [None, b"a", b"b", b"ab", b"c", b"abc", None, b"zz"]
TEACHER = [b"a", b"ab", b"b", b"bc", b"abcd", b"x", None, b"c", None]


def image(piece: bytes | None, pieces: list[bytes | None], exact: bool) -> int | None:
    """Column of a teacher token, by looking at every student token."""
    if not piece:
        return None
    begins = [(-len(own), column) for column, own in enumerate(pieces) if own and piece.startswith(own)]
    best = min(begins, default=None)
    if best is None or (exact and -best[0] != len(piece)):
        return None
    return best[1]


def oracle(
    student: Vocabulary, teacher: Vocabulary, z: np.ndarray, q: np.ndarray, at: StartContext, row: int, **options: Any
) -> tuple[list[float], list[float]]:
    """Probabilities of student and teacher over the outcomes of one row, in loops."""
    ours, theirs = list(student.pieces), list(teacher.pieces)
    ours[student.end_of_turn_token_id] = theirs[teacher.end_of_turn_token_id] = None
    columns = len(z)
    images = [image(piece, ours, options.get("match") == "exact") for piece in theirs]
    images[teacher.end_of_turn_token_id] = student.end_of_turn_token_id
    images += [None] * (len(q) - len(images))
    given = dict(enumerate(q))
    if k := options.get("top_k"):
        best = set(sorted(range(len(q) - 1), key=lambda v: -q[v])[:k])
        given = {v: x for v, x in given.items() if v in best}
    mass, tail = [0.0] * columns, sum(q) - sum(given.values())
    for v, x in given.items():
        place = images[v]
        if place is None or place >= columns:
            tail += x
        else:
            mass[place] += x
    if options.get("correct_undershoot", True) and at.student_tokens[row] == 1 and at.teacher_tokens[row] > 1:
        first, likelihood = int(at.teacher_targets[row]), math.exp(float(at.teacher_log_likelihood[row]))
        source = images[first] if given.get(first, 0) > 0 else None
        if source is None:
            likelihood = min(likelihood, tail)
            tail -= likelihood
        else:
            likelihood = min(likelihood, mass[source])
            mass[source] -= likelihood
        mass[int(at.targets[row])] += likelihood
    p = np.exp(z - z.max())
    p /= p.sum()
    speaks = any(own and column < columns and mass[column] == 0 for column, own in enumerate(ours))
    if options.get("tail", "compared") == "compared" and speaks:
        said = [x if mass[v] > 0 else 0.0 for v, x in enumerate(p)]
        return [*said, sum(x for v, x in enumerate(p) if mass[v] == 0)], [*mass, tail]
    total = sum(x for v, x in enumerate(p) if mass[v] > 0)
    said = [x / total * sum(mass) if mass[v] > 0 else 0.0 for v, x in enumerate(p)]
    return [*said, tail], [*mass, tail]


def check(student: Vocabulary, teacher: Vocabulary, z: Tensor, q: Tensor, at: StartContext, **options: Any) -> Outcomes:
    found = VocabularyProjection(**options).bridge(student, teacher).outcomes(z, q, at)
    assert found.student.shape == found.teacher.shape == (len(z), z.shape[1] + 1)
    for row in range(len(z)):
        p, expected = oracle(student, teacher, z[row].detach().numpy(), q[row].numpy(), at, row, **options)
        np.testing.assert_allclose(found.teacher[row].numpy(), expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(found.student[row].detach().exp().numpy(), p, rtol=1e-9, atol=1e-13)
    assert (found.teacher >= 0).all()
    np.testing.assert_allclose(found.teacher.sum(1).numpy(), q.sum(1).numpy(), rtol=1e-9)
    np.testing.assert_allclose(found.student.detach().exp().sum(1).numpy(), 1, rtol=1e-9)
    return found


OPTIONS = st.fixed_dictionaries(
    {
        "match": st.sampled_from(["exact", "first_token"]),
        "tail": st.sampled_from(["compared", "left_out"]),
        "top_k": st.sampled_from([None, 1, 3]),
        "correct_undershoot": st.booleans(),
    }
)


@settings(max_examples=200, deadline=None)
@given(
    ours=PIECES, theirs=PIECES, options=OPTIONS, padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 2**31), rest=st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_any_two_vocabularies_project_as_the_loops_do(
    ours: list[bytes | None], theirs: list[bytes | None], options: dict[str, Any], padding: tuple[int, int],
    seed: int, rest: float,
) -> None:  # fmt: skip
    student, teacher = Vocabulary([None, *ours]), Vocabulary([*theirs, b"a", None], len(theirs) + 1)
    z, q = logits(3, len(ours) + 1 + padding[0], seed), probabilities(3, len(theirs) + 2 + padding[1], seed + 1)
    if rest:  # as a cache tells it: the least likely tokens are not listed
        last = q[:, :-1].argsort(1)[:, : q.shape[1] // 2]
        q[:, -1] = q.gather(1, last).sum(1)
        q.scatter_(1, last, 0.0)
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(len(theirs) + 2, (3,), generator=random)
    at = starts(
        3,
        targets=torch.randint(len(ours) + 1, (3,), generator=random),
        teacher_targets=first,
        teacher_tokens=torch.tensor([1, 2, 3]),
        teacher_log_likelihood=(q.gather(1, first[:, None])[:, 0] * torch.rand(3, generator=random)).log(),
    )
    try:
        check(student, teacher, z, q, at, **options)
    except AlignmentError:
        known = [piece for piece in ours if piece]
        fits = [p for p in [*theirs, b"a"] if p and any(p.startswith(o) for o in known)]
        assert not fits or (options["match"] == "exact" and not set(fits) & set(known))


def test_images_by_bytes_by_beginning_and_by_role() -> None:
    student, teacher = Vocabulary(STUDENT, 6, mask=0), Vocabulary(TEACHER, 8)
    column = VocabularyProjection().bridge(student, teacher).mapping.column.tolist()  # type: ignore[union-attr]
    #                  a  ab b bc abcd x  None c end
    assert column == [1, 3, 2, 2, 5, -1, -1, 4, 6]
    exact = VocabularyProjection(match="exact").bridge(student, teacher).mapping  # type: ignore[union-attr]
    assert exact.column.tolist() == [1, 3, 2, -1, -1, -1, -1, 4, 6]


def test_roles_that_a_tokenizer_spells_are_still_not_matched_by_bytes() -> None:
    student = Vocabulary([b"a", b"</s>", b"[MASK]", b"<"], 1, mask=2)
    teacher = Vocabulary([b"a", b"<end>", b"</s>", b"[MASK]"], 1, mask=3)
    column = VocabularyProjection().bridge(student, teacher).mapping.column  # type: ignore[union-attr]
    assert column.tolist() == [0, 1, 3, -1]  # "</s>" begins with "<"; the teacher's mask has no image


def test_undershoot_moves_the_chunks_likelihood_to_the_token_that_the_text_has() -> None:
    student, teacher = (
        Vocabulary([None, b"inter", b"international", b"x"]),
        Vocabulary([None, b"inter", b"national", b"x"]),
    )
    q = torch.tensor([[0.1, 0.7, 0.0, 0.2, 0.0]] * 3, dtype=torch.float64)
    at = starts(
        3,
        targets=torch.tensor([2, 2, 1]),
        teacher_targets=torch.ones(3, dtype=torch.int64),
        student_tokens=torch.tensor([1, 1, 2]),
        teacher_tokens=torch.tensor([2, 2, 2]),
        teacher_log_likelihood=torch.tensor([0.6, 0.9, 0.6], dtype=torch.float64).log(),
    )
    found = check(student, teacher, logits(3, 4, 0), q, at)
    assert found.teacher[0].tolist() == pytest.approx([0.1, 0.1, 0.6, 0.2, 0.0])
    assert found.teacher[1].tolist() == pytest.approx([0.1, 0.0, 0.7, 0.2, 0.0])  # never more than is there
    assert found.teacher[2].tolist() == pytest.approx(
        [0.1, 0.7, 0.0, 0.2, 0.0]
    )  # several student tokens: left as it is


def test_a_tail_of_special_tokens_is_never_asked_to_be_likely() -> None:
    """Every text token has an outcome, so q of the tail would fall on the mask and padding: no gradient reaches them."""
    student, teacher = Vocabulary([None, b"a", b"b", None]), Vocabulary([None, b"a", b"b", b"x"])
    z = logits(2, 6, 1).requires_grad_()
    found = check(student, teacher, z, probabilities(2, 4, 2), starts(2))
    (gradient,) = torch.autograd.grad((found.teacher * found.student)[:, -1].sum(), z, retain_graph=True)
    assert gradient.abs().max() == 0
    (gradient,) = torch.autograd.grad(-(found.teacher * found.student).sum(), z)
    assert gradient[:, 3:].abs().max() < 1e-15
    assert gradient[:, :3].abs().max() > 0


def test_equal_vocabularies_leave_both_sides_as_they_are() -> None:
    vocabulary = Vocabulary([b"a", b"b", b"ab", None, b"c"], 3)
    z, q = logits(4, 5, 3), probabilities(4, 5, 4)
    found = VocabularyProjection().bridge(vocabulary, vocabulary).outcomes(z, q, starts(4))
    torch.testing.assert_close(found.student[:, :-1], z.log_softmax(1))
    assert torch.equal(found.teacher, q)
    assert found.student[:, -1].exp().max() == 0


def test_rows_do_not_depend_on_the_rows_beside_them() -> None:
    student, teacher = Vocabulary(STUDENT, 6), Vocabulary(TEACHER, 8)
    z, q = logits(6, 9, 5), probabilities(6, 9, 6)
    bridge = VocabularyProjection(top_k=4).bridge(student, teacher)
    whole = bridge.outcomes(z, q, starts(6))
    for rows in (slice(0, 2), slice(2, 6), slice(3, 3)):
        part = bridge.outcomes(z[rows], q[rows], starts(len(z[rows])))
        torch.testing.assert_close(part.student, whole.student[rows])
        torch.testing.assert_close(part.teacher, whole.teacher[rows])


@pytest.mark.parametrize("top_k", [2, 3])
def test_a_cache_of_as_many_tokens_gives_the_same_outcomes(top_k: int) -> None:
    student, teacher = Vocabulary(STUDENT, 6), Vocabulary(TEACHER, 8)
    z, q = logits(5, 8, 7), probabilities(5, 9, 8)
    ids = q.topk(top_k, 1).indices
    cached = torch.zeros_like(q).scatter(1, ids, q.gather(1, ids))
    cached[:, -1] = 1 - cached.sum(1)
    alignment = VocabularyProjection(top_k=top_k)
    assert alignment.reads_top_k == top_k
    first = ids[:, 0]
    at = starts(5, teacher_tokens=torch.full((5,), 2), teacher_targets=torch.where(torch.arange(5) < 3, first, 5), targets=torch.full((5,), 7))  # fmt: skip
    bridge = alignment.bridge(student, teacher)
    full, known = bridge.outcomes(z, q, at), bridge.outcomes(z, cached, at)
    torch.testing.assert_close(full.teacher, known.teacher)
    torch.testing.assert_close(full.student, known.student)


@pytest.mark.parametrize("tail", ["compared", "left_out"])
def test_extreme_logits_stay_finite(tail: Any) -> None:
    student, teacher = Vocabulary([*STUDENT], 6), Vocabulary(TEACHER, 8)
    z = (torch.eye(9)[:8] * 2e4 - 1e4).requires_grad_()
    q = torch.cat([torch.eye(9)[:8], torch.zeros(8, 1)], 1)
    found = VocabularyProjection(tail=tail).bridge(student, teacher).outcomes(z, q, starts(8, torch.float32))
    (gradient,) = torch.autograd.grad((found.teacher * found.student).sum(), z)
    assert found.student.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("match", ["exact", "first_token"])
def test_vocabularies_with_nothing_in_common_are_refused(match: Any) -> None:
    with pytest.raises(AlignmentError, match=r"no token of the teacher's vocabulary .*'ranked'.*'byte_chunks'"):
        VocabularyProjection(match=match).bridge(Vocabulary([None, b"a"]), Vocabulary([None, b"b"]))


def test_the_alignment_can_be_sent_to_workers() -> None:
    alignment = VocabularyProjection(top_k=5, match="exact")
    assert pickle.loads(pickle.dumps(alignment)) == alignment
