"""The sliced step equals a straightforward one: full logits, a dense [L, C] chunk matrix, float64."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from step_toys import ToyDenoiser, micro_batch, toy_batch, toy_noise
from torch import Tensor

from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.method import Lesson, Method, terms_of
from tide_core.micro_batch import MicroBatch
from tide_core.objective import parts
from tide_core.settings import Timesteps
from tide_specs import (
    ChunkContext,
    ChunkLoss,
    Interpolation,
    PluginError,
    SelfLoss,
    SharedColumns,
    TokenContext,
    TokenLoss,
)


class NegativeLogLikelihood(SelfLoss):
    name: Literal["nll"] = "nll"

    @property
    def denominator(self):
        return "maskable_tokens"

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        picked = student.log_softmax(-1).gather(1, at.targets[:, None])[:, 0]
        return -picked * at.schedule_weight


class Divergence(TokenLoss):
    name: Literal["kl"] = "kl"

    def per_token(self, student: Tensor, teacher: Tensor, at: TokenContext) -> Tensor:
        u = teacher.log_softmax(-1)
        return (u.exp() * (u - student.log_softmax(-1))).sum(-1) * at.interpolation


class SquaredGap(ChunkLoss):
    name: Literal["gap"] = "gap"

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        return (student - teacher) ** 2 * at.student_tokens / at.teacher_tokens


class HalfTime(Interpolation):
    name: Literal["half"] = "half"

    def weight(self, progress: float, t: Tensor) -> Tensor:
        return progress * t


def distillation(losses, columns=None, slice_elements=1 << 20) -> Distillation:
    student, teacher = ToyDenoiser(seed=1), ToyDenoiser(hidden=4, seed=2)
    view = None  # type: ignore[assignment]  # the test makes passes and noise
    method = Method(
        terms=terms_of(losses),
        schedule=None,  # type: ignore[arg-type]
        corruption=None,  # type: ignore[arg-type]
        interpolation=HalfTime(),
        timesteps=Timesteps(),
        lessons=[Lesson(teacher=teacher, view=view, interpolation=HalfTime(), columns=columns)],  # type: ignore[arg-type]
    )
    return Distillation(student, method, slice_elements=slice_elements)


def work_of(columns=None, seed: int = 0) -> tuple[MicroBatch, object, object]:
    batch = toy_batch(seed=seed)
    noise = toy_noise(batch, None, SampleDraws(seed=seed, epoch=0, samples=batch.samples), mask=10)
    return micro_batch(batch, noise, columns), batch, noise


def losses_of(module: Distillation):
    return [term.loss for term in module.method.terms]


def reference(module: Distillation, batch, noise, columns: SharedColumns | None, progress: float):
    """The whole step in float64 with every tensor in full; returns total and terms."""
    student, teacher = module.student, module.teachers[0]
    s = student.head().logits(student.hidden(noise.student.noised, batch.student.ids, batch.student.lengths)).double()
    u = teacher.head().logits(teacher.hidden(noise.teacher.noised, batch.teacher.ids, batch.teacher.lengths)).double()
    u = u.detach()
    token_s = s.log_softmax(-1).gather(2, batch.student.ids[..., None])[..., 0]
    token_u = u.log_softmax(-1).gather(2, batch.teacher.ids[..., None])[..., 0]
    membership = [
        torch.stack([(side.chunk == c) & noised.masked for c in range(batch.chunks)]).double()
        for side, noised in ((batch.student, noise.student), (batch.teacher, noise.teacher))
    ]
    chunk_s = torch.einsum("cbl,bl->c", membership[0], token_s)
    chunk_u = torch.einsum("cbl,bl->c", membership[1], token_u)
    sizes = [m.sum((1, 2)) for m in membership]
    active = sizes[0] > 0
    terms = []
    for loss in losses_of(module):
        if isinstance(loss, NegativeLogLikelihood):
            terms.append((-token_s * noise.student.weight).sum() / batch.student.maskable.sum())
        elif isinstance(loss, SquaredGap):
            gap = (chunk_s - chunk_u)[active] ** 2 * sizes[0][active] / sizes[1][active]
            terms.append(gap.mean())
        else:
            terms.append(_reference_divergence(s, u, batch, noise, membership, sizes, columns, progress))
    terms = torch.stack([t * loss.weight for t, loss in zip(terms, losses_of(module), strict=True)])
    return terms.sum(), terms


def _reference_divergence(s, u, batch, noise, membership, sizes, columns, progress):
    values = []
    for c in range(batch.chunks):
        if sizes[0][c] == 1 and sizes[1][c] == 1:
            at_s, at_u = membership[0][c].nonzero()[0], membership[1][c].nonzero()[0]
            logits_s, logits_u = s[at_s[0], at_s[1]], u[at_u[0], at_u[1]]
            target = int(batch.student.ids[at_s[0], at_s[1]])
            ids_s = np.arange(columns.size) if columns.student_ids is None else columns.student_ids
            ids_u = np.arange(columns.size) if columns.teacher_ids is None else columns.teacher_ids
            if target not in ids_s:
                continue
            q, p = logits_s[ids_s].log_softmax(-1), logits_u[ids_u].log_softmax(-1)
            values.append((p.exp() * (p - q)).sum() * progress * noise.t[at_s[0], at_s[1]].double())
    return torch.stack(values).mean()


COLUMNS = [
    SharedColumns(size=10),
    SharedColumns(size=4, student_ids=np.array([7, 1, 3, 5]), teacher_ids=np.array([2, 1, 9, 4])),
]


@pytest.mark.parametrize("columns", COLUMNS, ids=["prefix", "indexed"])
@pytest.mark.parametrize("slice_elements", [1, 40, 1 << 20])
def test_the_sliced_step_equals_the_straightforward_one(columns: SharedColumns, slice_elements: int) -> None:
    losses = [NegativeLogLikelihood(), SquaredGap(weight=0.5), Divergence(weight=2.0)]
    module = distillation(losses, columns, slice_elements)
    work, batch, noise = work_of(columns)
    total, terms = module(work, module.counts(work), 0.25)
    total.backward()
    gradients = {n: p.grad.clone() for n, p in module.named_parameters()}
    module.zero_grad()
    expected, expected_terms = reference(module, batch, noise, columns, 0.25)
    expected.backward()
    torch.testing.assert_close(terms.double(), expected_terms.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_teacher_has_no_gradient_and_is_no_parameter() -> None:
    module = distillation([SquaredGap()])
    work, *_ = work_of()
    total, _ = module(work, module.counts(work), 0.5)
    total.backward()
    assert all(p.grad is None for p in module.teachers[0].module.parameters())
    assert sum(1 for _ in module.parameters()) == sum(1 for _ in module.student.module.parameters())


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1000])
def test_slices_cover_every_position_once_and_cut_no_chunk(rows: int) -> None:
    work, *_ = work_of(SharedColumns(size=10))
    cut = list(parts(work, rows))
    positions = [i for part in cut for i in range(part.start, part.stop)]
    assert positions == list(range(work.counts["masked_tokens"]))
    for part in cut:
        (taught,) = work.taught
        inside = taught.chunk[part.rows]
        assert set(inside[inside >= 0].tolist()) == set(range(part.chunks[0].start, part.chunks[0].stop))
        shared = taught.shared[part.shared[0]]
        assert bool(((shared >= part.start) & (shared < part.stop)).all())


def test_a_batch_without_masked_positions_costs_nothing_and_reaches_every_parameter() -> None:
    module = distillation([NegativeLogLikelihood()])
    batch = toy_batch()
    noise = toy_noise(batch, None, SampleDraws(seed=0, epoch=0, samples=batch.samples), mask=10, rate=0.0)
    work = micro_batch(batch, noise, None)
    total, terms = module(work, module.counts(work), 0.0)
    total.backward()
    assert total.item() == 0.0
    assert terms.tolist() == [0.0]
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


class WrongShape(SelfLoss):
    name: Literal["wrong_shape"] = "wrong_shape"
    version: ClassVar[int] = 1

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        return student.log_softmax(-1)


class Raises(SelfLoss):
    name: Literal["raises"] = "raises"

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        raise ZeroDivisionError("no tokens")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (WrongShape(), r"loss 'wrong_shape' returned a tensor of shape \[\d+, 11\]; one number per position"),
        (Raises(), r"loss 'raises' failed while it was evaluated: ZeroDivisionError: no tokens"),
    ],
)
def test_a_broken_loss_is_named(loss: SelfLoss, message: str) -> None:
    module = distillation([loss])
    work, *_ = work_of()
    with pytest.raises(PluginError, match=message):
        module(work, module.counts(work), 0.0)
