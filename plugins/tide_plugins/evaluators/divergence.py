"""Comparing student and teacher on chunks of text that both see hidden.

Shapes: B rows, L tokens of a side, C chunks of a batch, N predicted positions, H hidden size, K shared columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tide_specs import (
    Batch,
    ChunkRelation,
    ConfigError,
    Denoiser,
    Draws,
    Estimate,
    Evaluation,
    EvaluationContext,
    Head,
    SharedColumns,
    Side,
)

from .intervals import ratio

if TYPE_CHECKING:
    from .teacher_divergence import TeacherDivergence


@dataclass
class Sums:
    """Sum of a metric over the comparisons of each example, and their number."""

    totals: list[float] = field(default_factory=list[float])
    counts: list[float] = field(default_factory=list[float])

    def add(self, values: Tensor, rows: Tensor, examples: int) -> None:
        """Add values [n] that belong to ``rows`` [n] of a batch of so many examples."""
        zeros = torch.zeros(examples, dtype=torch.float64, device=values.device)
        self.totals += zeros.index_add(0, rows, values.double()).tolist()
        self.counts += zeros.index_add(0, rows, torch.ones_like(values, dtype=torch.float64)).tolist()


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one side predicts: hidden states [N, H] at the masked chunk tokens, and their log-likelihoods [N]."""

    states: Tensor
    chunk: Tensor
    likelihood: Tensor
    head: Head


def evaluate(
    options: TeacherDivergence, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext
) -> Evaluation:
    """Compare the two models over the held-out batches."""
    if teacher is None:
        raise ConfigError(
            "evaluator 'teacher_divergence' compares with a teacher: add one to the run, or drop the evaluator"
        )
    sums: dict[tuple[str, float], Sums] = {}
    for batch in context.batches(max(1, options.batch_size), options.limit or None):
        if batch.teacher is None:
            raise ConfigError("evaluator 'teacher_divergence' got batches without a teacher's side")
        draws, rows = context.draws(batch), row_of_chunk(batch.student, batch.chunks)
        for t in options.ratios:
            active = hidden_chunks(batch, draws, t)
            ours = predict(student, batch.student, active, draws, t, "student")
            theirs = predict(teacher, batch.teacher, active, draws, t, "teacher")
            for name, (values, chunks) in compare(ours, theirs, batch, active, context.columns, options).items():
                sums.setdefault((name, t), Sums()).add(values, rows[chunks], len(batch.samples))
    return _summary(sums, options.ratios)


def row_of_chunk(side: Side, chunks: int) -> Tensor:
    """Return the row [C] that each chunk belongs to."""
    row, token = (side.chunk >= 0).nonzero(as_tuple=True)
    return torch.zeros(chunks, dtype=torch.int64, device=side.ids.device).scatter(0, side.chunk[row, token], row)


def hidden_chunks(batch: Batch, draws: Draws, t: float) -> Tensor:
    """Return which chunks [C] are hidden: each with probability t, from its row's own random numbers."""
    row = row_of_chunk(batch.student, batch.chunks)
    numbers = torch.arange(batch.chunks, device=row.device)
    first = torch.full((len(batch.samples),), batch.chunks, dtype=torch.int64, device=row.device)
    place = numbers - first.scatter_reduce(0, row, numbers, "amin")[row]
    width = int(place.max()) + 1 if batch.chunks else 0
    return draws.uniform(f"teacher_divergence/chunks/{t}", width).to(row.device)[row, place] < t


def predict(denoiser: Denoiser, side: Side, active: Tensor, draws: Draws, t: float, name: str) -> Predictions:
    """Hide the active chunks, and other maskable tokens with probability t; predict the hidden chunks' tokens."""
    inside = side.chunk >= 0
    counted = inside & active[side.chunk.clamp(min=0)] if len(active) else torch.zeros_like(inside)
    loose = draws.uniform(f"teacher_divergence/{name}/{t}", side.ids.shape[1]).to(side.ids.device) < t
    masked = counted | (side.maskable & ~inside & loose)
    mask = denoiser.mask_token_id
    if mask is None and denoiser.form != "autoregressive":
        raise ConfigError(
            "teacher_divergence needs models with a mask token; this one's corruption replaces tokens by others"
        )
    noised = side.ids if mask is None else torch.where(masked, mask, side.ids)
    states = denoiser.hidden(noised, side.ids, side.lengths, side.documents)[counted]
    head = denoiser.head()
    likelihood = head.log_likelihood(states, side.ids[counted])
    return Predictions(states=states, chunk=side.chunk[counted], likelihood=likelihood, head=head)


def compare(
    student: Predictions,
    teacher: Predictions,
    batch: Batch,
    active: Tensor,
    columns: SharedColumns | None,
    options: TeacherDivergence,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return metric -> (values [n], the chunk [n] that each belongs to)."""
    chunks = active.nonzero()[:, 0]
    ours, theirs = (_sum_chunks(side, batch.chunks)[chunks] for side in (student, teacher))
    results = {
        "bernoulli_kl": (bernoulli_kl(theirs / options.temperature, ours / options.temperature), chunks),
        "log_likelihood_gap": ((ours - theirs).abs(), chunks),
    }
    if columns is not None:
        single = batch.chunk_relation == ChunkRelation.ONE_TO_ONE
        of_student, of_teacher = single[student.chunk], single[teacher.chunk]
        # Chunks are numbered in text order on both sides, so that the two selections pair up.
        paired = token_kl(student.states[of_student], student.head, teacher.states[of_teacher], teacher.head, columns)
        results["token_kl"] = (paired, student.chunk[of_student])
    return results


def _sum_chunks(side: Predictions, chunks: int) -> Tensor:
    zeros = torch.zeros(chunks, dtype=torch.float64, device=side.likelihood.device)
    return zeros.index_add(0, side.chunk, side.likelihood.double())


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0 without cancellation; -inf at 0."""
    return torch.where(x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))


def bernoulli_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(Bernoulli(exp teacher) || Bernoulli(exp student)) of log-probabilities [n] <= 0, in nats; zero where equal."""
    # A likelihood that rounds to 1 leaves the other event no probability at all; the smallest one keeps the KL finite.
    teacher, student = (x.double().clamp(max=-1e-12) for x in (teacher, student))
    other = log1mexp(teacher)
    return teacher.exp() * (teacher - student) + other.exp() * (other - log1mexp(student))


def token_kl(
    student: Tensor, student_head: Head, teacher: Tensor, teacher_head: Head, columns: SharedColumns
) -> Tensor:
    """Hidden states [n, H] of the same tokens -> KL(teacher || student) [n] over the shared columns, in slices."""
    out = torch.empty(len(student), dtype=torch.float32, device=student.device)
    ours, theirs = (_index(ids, columns.size, student.device) for ids in (columns.student_ids, columns.teacher_ids))
    for part in student_head.slices(len(student)):
        q = student_head.logits(student[part])[:, ours].log_softmax(1)
        p = teacher_head.logits(teacher[part])[:, theirs].log_softmax(1)
        out[part] = torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(1)
    return out


def _index(ids: object, size: int, device: torch.device) -> slice | Tensor:
    return slice(0, size) if ids is None else torch.as_tensor(ids, device=device)


def _summary(sums: dict[tuple[str, float], Sums], ratios: Sequence[float]) -> Evaluation:
    metrics: dict[str, Estimate] = {}
    per_example: dict[str, Sequence[float]] = {}
    table: list[dict[str, float | str]] = []
    for name in dict.fromkeys(name for name, _ in sums):
        parts = [sums[name, t] for t in ratios]
        totals = [sum(values) for values in zip(*(part.totals for part in parts), strict=True)]
        counts = [sum(values) for values in zip(*(part.counts for part in parts), strict=True)]
        metrics[name] = ratio(totals, counts)
        per_example[name] = [total / count if count else math.nan for total, count in zip(totals, counts, strict=True)]
        for t, part in zip(ratios, parts, strict=True):
            at_t = metrics[f"{name}_t{t:g}"] = ratio(part.totals, part.counts)
            table.append({"metric": name, "t": t, "value": at_t.value, "comparisons": sum(part.counts)})
    return Evaluation(metrics=metrics, per_example=per_example, tables={"ratios": table})
