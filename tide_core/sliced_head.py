"""The head and all losses of a run, evaluated in slices: no tensor of [batch, length, vocabulary] ever exists.

An autograd function evaluates every loss of the run on one slice of positions at a time, differentiates it there, keeps
the gradients of the hidden states and of the head, and drops the logits. Losses are ordinary differentiable functions of
a slice's logits; they neither know nor care.

Shapes: N masked student positions, n of a slice, M teacher positions, H hidden size, C student columns, K loss terms,
A active chunks, a of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tide_core.blame import Describe, blame
from tide_core.blame import describe as describe_component
from tide_core.micro_batch import MicroBatch
from tide_specs import (
    ChunkContext,
    ChunkLoss,
    Head,
    Loss,
    PluginError,
    SelfLoss,
    SharedColumns,
    TokenContext,
    TokenLoss,
)


@dataclass(frozen=True, kw_only=True)
class TeacherAnswers:
    """What the teacher said, as little of it as the run's losses need.

    likelihoods [A]: log-likelihood of each active chunk in nats, for chunk losses. hidden [M, H] and head: to compute
    the logits of a slice, for token losses.
    """

    likelihoods: Tensor | None = None
    hidden: Tensor | None = None
    head: Head | None = None


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The losses of a run and what they may know beside logits.

    ``scales`` [K]: weight of each term divided by its denominator over the effective batch. ``interpolation_tokens``
    [N] and ``interpolation_chunks`` [A]: lambda.
    """

    losses: Sequence[Loss]
    scales: Tensor
    progress: float
    interpolation_tokens: Tensor
    interpolation_chunks: Tensor
    columns: SharedColumns | None
    slice_elements: int
    describe: Describe = describe_component


@dataclass(frozen=True, kw_only=True)
class Part:
    """One slice: positions [start, stop), the chunks inside it, and its range of ``MicroBatch.shared``."""

    start: int
    stop: int
    chunk_start: int
    chunk_stop: int
    shared_start: int
    shared_stop: int

    @property
    def rows(self) -> slice:
        """Positions."""
        return slice(self.start, self.stop)

    @property
    def chunks(self) -> slice:
        """Active chunks."""
        return slice(self.chunk_start, self.chunk_stop)

    @property
    def shared(self) -> slice:
        """Positions with an answer over shared columns, as a range of ``MicroBatch.shared``."""
        return slice(self.shared_start, self.shared_stop)


def parts(work: MicroBatch, rows: int) -> Iterator[Part]:
    """Cut the N positions into slices of like size, about ``rows`` at most, and never through a chunk.

    A slice that would end inside a chunk takes in the rest of it.
    """
    begin, last = work.cuts[0], work.cuts[-1]
    # Even slices: a short one at the end would cost nearly as much as a full one, since each reads the whole head.
    size = -(-last.position // max(1, -(-last.position // rows)))
    for cut in work.cuts[1:]:
        if cut is last or cut.position - begin.position >= size:
            yield Part(
                start=begin.position,
                stop=cut.position,
                chunk_start=begin.chunk,
                chunk_stop=cut.chunk,
                shared_start=begin.shared,
                shared_stop=cut.shared,
            )
            begin = cut


def sliced_losses(
    hidden: Tensor, head: Head, work: MicroBatch, answers: TeacherAnswers, objective: Objective
) -> tuple[Tensor, Tensor]:
    """Hidden states [N, H] -> (total loss, scalar with gradient; sums of the K terms times their scales, detached [K])."""
    return _SlicedLosses.apply(hidden, head.weight, head.bias, head, work, answers, objective)


class _SlicedLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        head: Head,
        work: MicroBatch,
        answers: TeacherAnswers,
        objective: Objective,
    ) -> tuple[Tensor, Tensor]:
        accumulator = _Accumulator(hidden, weight, bias, ctx.needs_input_grad[:3])
        compute = Head(
            weight.detach().to(hidden.dtype), None if bias is None else bias.detach(), head.scale, head.softcap
        )
        cut = list(parts(work, max(1, objective.slice_elements // weight.shape[0])))
        longest = max((part.stop - part.start for part in cut), default=0)
        buffers = _Buffers(hidden.new_empty(longest, weight.shape[0]), in_place=_overwrites_logits(compute, objective))
        with torch.autocast(hidden.device.type, enabled=False):
            for part in cut:
                accumulator.add(part, compute, buffers, work, answers, objective)
        terms = accumulator.terms * objective.scales
        ctx.mark_non_differentiable(terms)
        # An attribute, not a saved tensor: ``backward`` lets go of it, so that the parameter keeps it without a copy.
        ctx.gradients = accumulator.gradients
        return terms.sum(), terms

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # The gradients were computed for a factor of one, in the forward pass; scaling in place spares a copy of the head.
        kept, ctx.gradients = ctx.gradients, None
        if kept is None:
            raise RuntimeError("the sliced losses were differentiated twice; their gradients are kept for one pass")
        scaled = [None if gradient is None else gradient.mul_(gradients[0]) for gradient in kept]
        return (*scaled, None, None, None, None)


class _Buffers:
    """Memory for one slice's products [n, C] and for their log-softmax; all slices use it in turn.

    Fresh memory for each would cost a third of the matrix products' time on a CPU. ``in_place``: the log-softmax is
    written over the products.
    """

    def __init__(self, products: Tensor, *, in_place: bool) -> None:
        self.products = products
        self._in_place = in_place and products.dtype == torch.float32

    @cached_property
    def shares(self) -> Tensor:
        """[n, C] float32, made for the first loss that asks for likelihoods."""
        return self.products if self._in_place else torch.empty_like(self.products, dtype=torch.float32)


def _overwrites_logits(head: Head, objective: Objective) -> bool:
    """Whether the products are the logits, and every loss reads them through the likelihood of the target alone."""
    plain = head.scale == 1.0 and head.softcap is None
    return plain and all(
        isinstance(loss, ChunkLoss) or (isinstance(loss, SelfLoss) and loss.likelihood_only)
        for loss in objective.losses
    )


class _LogLikelihood(torch.autograd.Function):
    """Logits [n, C], targets [n] -> log p(target) [n]; its gradient, onehot - p, is built where log p lay."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, buffer: Tensor) -> Tensor:
        torch.log_softmax(logits, 1, out=buffer)
        ctx.buffer, ctx.targets = buffer, targets[:, None]
        return buffer.gather(1, ctx.targets)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        column = gradient[:, None]
        return ctx.buffer.exp_().mul_(-column).scatter_add_(1, ctx.targets, column), None, None


class _Accumulator:
    """The running sums of one pass over the slices: K terms, and the gradients of hidden states, weight and bias."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, wanted: Sequence[bool]) -> None:
        self.hidden = hidden.detach()
        inputs = (hidden, weight, bias)
        self.gradients = [
            torch.zeros_like(x) if x is not None and w else None for x, w in zip(inputs, wanted, strict=True)
        ]
        self.terms: Tensor = hidden.new_zeros((), dtype=torch.float32)

    def add(
        self,
        part: Part,
        head: Head,
        buffers: _Buffers,
        work: MicroBatch,
        answers: TeacherAnswers,
        objective: Objective,
    ) -> None:
        """Evaluate every loss on one slice and, where gradients are wanted, differentiate it there."""
        wanted = any(gradient is not None for gradient in self.gradients)
        rows = self.hidden[part.rows]
        raw = head.project(rows, buffers.products[: len(rows)]).detach().requires_grad_(wanted)
        with torch.set_grad_enabled(wanted):
            terms = slice_terms(head.finish(raw), part, buffers, work, answers, objective)
            total = (terms * objective.scales).sum()
        self.terms = self.terms + terms.detach()
        if total.requires_grad:
            self._differentiate(part, rows, torch.autograd.grad(total, raw)[0], head)

    def _differentiate(self, part: Part, rows: Tensor, grad_raw: Tensor, head: Head) -> None:
        """Gradient of the slice's raw products [n, C] -> gradients of hidden states, weight and bias."""
        hidden, weight, bias = self.gradients
        if hidden is not None:
            torch.mm(grad_raw, head.weight, out=hidden[part.rows])
        if weight is not None and weight.dtype == grad_raw.dtype:
            weight.addmm_(grad_raw.T, rows)
        elif weight is not None:  # a float32 master under bfloat16 products
            weight.add_(grad_raw.T @ rows)
        if bias is not None:
            bias.add_(grad_raw.sum(0))


def slice_terms(
    logits: Tensor, part: Part, buffers: _Buffers, work: MicroBatch, answers: TeacherAnswers, objective: Objective
) -> Tensor:
    """Student logits [n, C] of one slice -> sums of the K terms over it, before scaling."""
    view = _SliceView(logits, part, buffers, work, answers, objective)
    sums: list[Tensor] = []
    for loss in objective.losses:
        with blame(loss, "while it was evaluated", objective.describe):
            values, expected = view.evaluate(loss)
        if tuple(values.shape) != (expected,):
            raise PluginError(
                f"{objective.describe(loss)} returned a tensor of shape {list(values.shape)}; "
                f"one number per position or chunk was expected: [{expected}]"
            )
        sums.append(values.sum())
    return torch.stack(sums)


@dataclass(frozen=True, kw_only=True)
class _SharingContext(TokenContext):
    """A context whose ``log_likelihood`` is computed once for all losses that ask about the slice's own logits."""

    logits: Tensor
    shared: Callable[[], Tensor]

    def log_likelihood(self, student: Tensor) -> Tensor:
        """Log-likelihoods [n]; logits that a loss changed are evaluated by themselves."""
        return self.shared() if student is self.logits else super().log_likelihood(student)


class _SliceView:
    """What the losses of one slice share: each quantity is computed once, when the first loss asks for it."""

    def __init__(
        self,
        logits: Tensor,
        part: Part,
        buffers: _Buffers,
        work: MicroBatch,
        answers: TeacherAnswers,
        objective: Objective,
    ) -> None:
        self.logits, self.part, self.buffers = logits, part, buffers
        self.work, self.answers, self.objective = work, answers, objective

    def evaluate(self, loss: Loss) -> tuple[Tensor, int]:
        """Return the loss's values and how many there should be."""
        if isinstance(loss, SelfLoss):
            return loss.per_token(self.logits, self._own_context()), self.logits.shape[0]
        if isinstance(loss, TokenLoss):
            context = TokenContext(**self._token_facts(self._shared_rows, shared=True))
            return loss.per_token(*self._shared_logits, context), self._shared_rows.shape[0]
        assert isinstance(loss, ChunkLoss)
        assert self.answers.likelihoods is not None
        taught = self.answers.likelihoods[self.part.chunks]
        return loss.per_chunk(self._likelihoods, taught, self._chunk_context()), taught.shape[0]

    @cached_property
    def _shared_rows(self) -> Tensor:
        """Which of the N positions lie in the slice and are answered by the teacher over shared columns."""
        return self.work.shared[self.part.shared]

    @cached_property
    def _shared_logits(self) -> tuple[Tensor, Tensor]:
        """Student and teacher logits over the shared columns, at ``_shared_rows``."""
        columns, answers, rows = self.objective.columns, self.answers, self._shared_rows
        assert columns is not None and answers.hidden is not None  # the assembly saw to it for every token loss
        assert answers.head is not None
        whole = rows.shape[0] == self.logits.shape[0]
        student = self.logits if whole else self.logits[rows - self.part.start]
        with torch.no_grad():
            teacher = answers.head.logits(answers.hidden[self.work.student.teacher[rows]])
        if columns.student_ids is None or columns.teacher_ids is None:
            return student[:, : columns.size], teacher[:, : columns.size]
        ids = (torch.from_numpy(columns.student_ids), torch.from_numpy(columns.teacher_ids))
        return student[:, ids[0].to(student.device)], teacher[:, ids[1].to(teacher.device)]

    @cached_property
    def _log_likelihood(self) -> Tensor:
        """Log-likelihoods [n] of the slice's targets, in float32."""
        # log_softmax subtracts the maximum first: near certainty, gather - logsumexp would round.
        buffer = self.buffers.shares[: self.logits.shape[0]]
        return _LogLikelihood.apply(self.logits, self.work.student.target[self.part.rows], buffer)

    @cached_property
    def _likelihoods(self) -> Tensor:
        """Student log-likelihoods [a] of the slice's chunks: sums over their tokens, in float32."""
        rows, start = self.work.student, self.part.chunk_start
        token = self._log_likelihood
        count = self.part.chunk_stop - start
        # Positions outside every chunk are summed into one extra entry, which is cut off: no selection, no host sync.
        chunk = rows.chunk[self.part.rows]
        place = torch.where(chunk >= 0, chunk - start, count)
        return token.new_zeros(count + 1).index_add(0, place, token)[:count]

    def _own_context(self) -> TokenContext:
        # Not kept: a view that holds a context that holds the view would hold the slice's memory, too.
        facts = self._token_facts(self.part.rows)
        return _SharingContext(**facts, logits=self.logits, shared=lambda: self._log_likelihood)

    def _token_facts(self, rows: slice | Tensor, *, shared: bool = False) -> dict[str, Any]:
        student = self.work.student
        return {
            "targets": (student.column if shared else student.target)[rows],
            "t": student.t[rows],
            "schedule_weight": student.weight[rows],
            "interpolation": self.objective.interpolation_tokens[rows],
            "maskable_in_sequence": student.maskable[rows],
            "progress": self.objective.progress,
        }

    def _chunk_context(self) -> ChunkContext:
        chunks, at = self.work.chunks, self.part.chunks
        return ChunkContext(
            t=chunks.t[at],
            schedule_weight=chunks.weight[at],
            interpolation=self.objective.interpolation_chunks[at],
            student_tokens=chunks.student_tokens[at],
            teacher_tokens=chunks.teacher_tokens[at],
            bytes=chunks.bytes[at],
            relation=chunks.relation[at],
            progress=self.objective.progress,
        )
