"""What a teacher answers to a noised batch, as a cache keeps it.

Shapes: M teacher positions, H hidden size, V_T columns of the teacher's head, k tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tide_core.micro_batch import KnownAnswers, Taught
from tide_core.recording.rows import by_sample
from tide_core.teacher_cache import Record
from tide_specs import Denoiser, Head

_LOOKED_AT = 1024  # numbers of each weight that its fingerprint reads


@torch.no_grad()
def answer(teacher: Denoiser, taught: Taught, top_k: int, elements: int) -> KnownAnswers:
    """Run the teacher on all passes of its part of a batch, on the device of ``taught``, as training does.

    top_k: how many tokens of each distribution to keep; 0: the likelihoods alone. elements: logits that exist at once.
    """
    rows, side = taught.rows, taught.side
    hidden = teacher.hidden_views(rows.noised, side.ids, side.lengths, side.documents)
    answered, head = hidden.flatten(0, 2)[rows.index], teacher.head()
    likelihood = head.log_likelihood(answered, rows.target, elements=elements)
    if not top_k:
        return KnownAnswers(likelihood=likelihood)
    return KnownAnswers(likelihood=likelihood, **_most_likely(answered, head, top_k, elements))


def _most_likely(answered: Tensor, head: Head, top_k: int, elements: int) -> dict[str, Tensor]:
    """Hidden states [M, H] -> ids and log_p [M, k], rest [M]."""
    count, device = len(answered), answered.device
    ids = torch.empty(count, top_k, dtype=torch.int32, device=device)
    log_p = torch.empty(count, top_k, dtype=torch.float32, device=device)
    rest = torch.empty(count, dtype=torch.float32, device=device)
    for part in head.slices(count, elements=elements):
        logs = head.logits(answered[part]).log_softmax(1)
        log_p[part], best = logs.topk(top_k, dim=1)
        ids[part] = best.to(torch.int32)
        # Not 1 - sum(p): that would round to zero where the teacher is sure.
        rest[part] = logs.scatter(1, best, float("-inf")).logsumexp(1).exp()
    return {"ids": ids, "log_p": log_p, "rest": rest}


def records(samples: Tensor, taught: Taught, known: KnownAnswers) -> Iterator[Record]:
    """Cut the answers to a batch into one record for each sample; all on the CPU."""
    found = by_sample(taught.rows, taught.side)

    def cut(values: Tensor) -> list[Any]:
        return [part.numpy() for part in values[found.order].split(found.counts)]

    absent: list[Any] = [None] * len(found.counts)
    likelihood = cut(known.likelihood)
    others = (absent if values is None else cut(values) for values in (known.ids, known.log_p, known.rest))
    for sample, mask, *fields in zip(samples.tolist(), found.masks, likelihood, *others, strict=True):
        yield Record(sample, mask, *fields)


def weights_fingerprint(teacher: Denoiser) -> str:
    """Return a hash over the names, shapes and dtypes of all weights, and over numbers spread evenly in each of them."""
    digest = hashlib.sha256()
    for name, weight in teacher.module.state_dict().items():
        if not isinstance(weight, Tensor):
            continue
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        flat = weight.detach().reshape(-1)
        step = max(1, len(flat) // _LOOKED_AT)
        digest.update(flat[::step].contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
