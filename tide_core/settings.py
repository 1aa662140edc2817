"""The parts of a run file that are not components: training, timesteps, and where the run lives."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


def device_name(name: str) -> str:
    """Refuse what is no device's name; whether the device is there is found out when it is needed."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f"must be auto, cpu, cuda or cuda:N; it is {name!r}")
    return name


Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
DeviceName = Annotated[str, AfterValidator(device_name)]


class Settings(BaseModel):
    """Base of the plain sections of a run file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Timesteps(Settings):
    """How the times t of a batch are drawn."""

    sampling: Literal["independent", "stratified", "lattice"] = Field(
        default="independent",
        description="independent per sequence; stratified (u_i + i)/n or lattice (u + i/n) mod 1 over the effective batch",
    )
    per: Literal["sequence", "block"] = Field(
        default="sequence",
        description="one t per sequence (as the BD3LM trainer does) or per block (as its paper does)",
    )


class Training(Settings):
    """The loop."""

    steps: PositiveInt = Field(default=1000, description="optimizer steps")
    batch_size: PositiveInt = Field(default=8, description="sequences of a micro-batch on one process")
    accumulate: PositiveInt = Field(default=1, description="micro-batches of an optimizer step on one process")
    learning_rate: PositiveFloat = Field(default=5e-5, description="peak learning rate of AdamW")
    warmup_steps: NonNegativeInt = Field(default=0, description="steps of linear warm-up")
    decay: Literal["constant", "linear", "cosine"] = Field(
        default="cosine", description="what the learning rate does after the warm-up, until the last step"
    )
    weight_decay: NonNegativeFloat = Field(default=0.0, description="decoupled; not applied to vectors (norms, biases)")
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.999), description="AdamW moments")
    max_gradient_norm: PositiveFloat | None = Field(default=1.0, description="clip the global norm; null: never")
    ema_decay: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="save and evaluate a moving average of the student's weights with this decay; null: the weights",
    )
    precision: Literal["float32", "bf16"] = Field(
        default="float32", description="of the computation; the student's weights stay float32 masters in both"
    )
    seed: NonNegativeInt = Field(default=0, description="seeds initialisation, data order, noise and samplers")
    noise_draws: PositiveInt | None = Field(
        default=None,
        description="noisings of each example: epoch e repeats those of epoch e mod this; null: new ones in every epoch",
    )
    device: DeviceName = Field(default="auto", description="auto, cpu, cuda, or cuda:N")
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        default="auto", description="auto: DDP when several processes were launched, nothing otherwise"
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations in the backward pass")
    compile: bool = Field(default=False, description="torch.compile the student's and the teacher's layers")
    slice_elements: PositiveInt = Field(
        default=1 << 24, description="logits that exist at once: rows of a head slice times vocabulary columns"
    )
    log_every: PositiveInt = Field(default=10, description="steps between logged metrics")
    checkpoint_every: NonNegativeInt = Field(default=0, description="steps between checkpoints; 0: only at the end")
    keep_checkpoints: PositiveInt = Field(default=2, description="how many of the newest checkpoints stay on disk")
    workers: NonNegativeInt = Field(default=1, description="processes that tokenise and align; 0: in this process")
