"""Who sits where when a student is evaluated: each teacher with the held-out data as it pairs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tide_core.assembly import Tokenizers
from tide_core.data import PreparedData
from tide_core.evaluation import HeldOut, writing_sampler
from tide_core.feeder import joiner
from tide_core.method import RecordedTeacher
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Denoiser


def held_out_seats(
    config: RunConfig,
    data: PreparedData,
    tokenizers: Sequence[Tokenizers],
    student: Denoiser,
    teachers: Sequence[Denoiser | RecordedTeacher],
    device: torch.device,
    registry: Registry,
) -> list[tuple[Denoiser | None, HeldOut]]:
    """Return each teacher with its view of the held-out data; one entry, without a teacher, where there is none.

    A recorded teacher has no model to ask, so evaluators get ``None`` for it.
    """
    sampler = writing_sampler(config.student, registry, config.sampler)
    return [
        (
            teacher if isinstance(teacher, Denoiser) else None,
            HeldOut(
                dataset=config.data,
                data=data,
                join=joiner(student, teacher),
                seed=config.training.seed,
                device=device,
                columns=tokenizers[number].columns,
                teacher=number,
                sampler=sampler,
            ),
        )
        for number, teacher in enumerate(teachers or [None])
    ]
