"""The head and all losses of a run, evaluated in slices: no tensor of [batch, length, vocabulary] ever exists.

An autograd function evaluates every loss of the run on one slice of positions at a time, differentiates it there, keeps
the gradients of the hidden states and of the head, and drops the logits. Losses are ordinary differentiable functions of
a slice's logits; they neither know nor care.

Shapes: N masked student positions, n of a slice, H hidden size, C student columns, K loss terms, A active chunks of a
teacher, a of a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tide_core.blame import Describe, blame
from tide_core.micro_batch import MicroBatch
from tide_core.objective import Objective, Part, parts
from tide_core.slice_view import SliceView
from tide_core.teacher_answers import TeacherAnswers
from tide_specs import ChunkLoss, FeatureLoss, Head, Loss, PluginError, SelfLoss


def sliced_losses(
    hidden: Tensor, head: Head, work: MicroBatch, answers: Sequence[TeacherAnswers], objective: Objective
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
        answers: Sequence[TeacherAnswers],
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
        isinstance(term.loss, ChunkLoss | FeatureLoss)
        or (isinstance(term.loss, SelfLoss) and term.loss.likelihood_only)
        for term in objective.terms
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
        answers: Sequence[TeacherAnswers],
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
    logits: Tensor,
    part: Part,
    buffers: _Buffers,
    work: MicroBatch,
    answers: Sequence[TeacherAnswers],
    objective: Objective,
) -> Tensor:
    """Student logits [n, C] of one slice -> sums of the K terms over it, before scaling; zero for terms on hidden states."""
    # log_softmax subtracts the maximum first: near certainty, gather - logsumexp would round.
    targets, space = work.student.target[part.rows], buffers.shares
    view = SliceView(
        logits, part, work, answers, objective, lambda: _LogLikelihood.apply(logits, targets, space[: len(logits)])
    )
    sums: list[Tensor] = []
    for term in objective.terms:
        if isinstance(term.loss, FeatureLoss):
            sums.append(logits.new_zeros(()))
            continue
        with blame(term.loss, "while it was evaluated", objective.describe):
            values, expected = view.evaluate(term)
        require_one_each(values, expected, term.loss, objective.describe)
        factor = view.factor(term)
        sums.append(values.sum() if factor is None else (values * factor).sum())
    return torch.stack(sums)


def require_one_each(values: Tensor, expected: int, loss: Loss, describe: Describe) -> None:
    """Raise ``PluginError`` unless a loss returned one number for each position or chunk."""
    if tuple(values.shape) != (expected,):
        raise PluginError(
            f"{describe(loss)} returned a tensor of shape {list(values.shape)}; "
            f"one number per position or chunk was expected: [{expected}]"
        )
