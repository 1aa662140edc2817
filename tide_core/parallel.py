"""Several processes: replicated (DDP, through Accelerate) or sharded (FSDP2), with one face for the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from tide_core.averaging import Average
from tide_core.distillation import Distillation
from tide_core.optimization import build_optimizer
from tide_core.settings import Training
from tide_specs import Denoiser


@dataclass(kw_only=True)
class Engine:
    """The module as processes share it: ``wrapped`` is called, ``module`` is what lies inside.

    average: of its weights, which is saved and evaluated where there is one.
    """

    accelerator: Accelerator
    module: Distillation
    wrapped: nn.Module
    optimizer: Any
    average: Average | None = None

    @property
    def sharded(self) -> bool:
        """Whether each process holds only its shard of every weight."""
        return isinstance(self.module, FSDPModule)

    @contextlib.contextmanager
    def synchronise(self, wanted: bool) -> Iterator[None]:
        """Reduce gradients over processes in this backward pass only if ``wanted``: once per optimizer step."""
        if isinstance(self.module, FSDPModule):
            self.module.set_requires_gradient_sync(wanted)
            yield
        elif wanted:
            yield
        else:
            with self.accelerator.no_sync(self.wrapped):
                yield

    def clip(self, limit: float | None) -> Tensor:
        """Clip the global gradient norm and return what it was, as a scalar on the device."""
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit or float("inf"))
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Let the average of the weights stand in their place, where one is kept."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Make the weights outside the layers usable without the wrapped forward, for evaluation."""
        if not isinstance(self.module, FSDPModule):
            yield
            return
        self.module.unshard()
        try:
            yield
        finally:
            self.module.reshard()


def build_engine(accelerator: Accelerator, module: Distillation, training: Training) -> Engine:
    """Distribute ``module`` as ``training.strategy`` says, and build its optimizer."""
    if training.strategy == "fsdp" and accelerator.num_processes > 1:
        shard(module, module.student, training)
        optimizer = accelerator.prepare(build_optimizer(module, training))
        return _engine(accelerator, module, module, optimizer, training)
    wrapped, optimizer = accelerator.prepare(module, build_optimizer(module, training))
    return _engine(accelerator, module, wrapped, optimizer, training)


def _engine(
    accelerator: Accelerator, module: Distillation, wrapped: nn.Module, optimizer: Any, training: Training
) -> Engine:
    average = None if training.ema_decay is None else Average(module, training.ema_decay)
    return Engine(accelerator=accelerator, module=module, wrapped=wrapped, optimizer=optimizer, average=average)


def shard(module: Distillation, student: Denoiser, training: Training) -> None:
    """Shard every layer of the student, then the rest (embeddings, head) with the module that calls them."""
    low = torch.bfloat16 if training.precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for child in student.module.modules():
        if isinstance(child, nn.ModuleList):
            for layer in child:
                fully_shard(layer, mp_policy=policy)
    fully_shard(module, mp_policy=policy, reshard_after_forward=False)
