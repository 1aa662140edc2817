"""What a run costs before it is started: parameters, memory, arithmetic. Estimates for one process; no weights load.

L tokens of a row, V views (passes of the teacher), b block length, H hidden size, C vocabulary columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tide_specs import Architecture, Component, NoiseSchedule, SequentialTeacherView, TeacherView

from .blame import Describe, blame
from .registry import Registry
from .run_schema import RunConfig

Sizes = Callable[[Architecture], Mapping[str, Any]]

ACTIVATION_BYTES = 34
"""Bytes kept for the backward pass per position, unit of width and layer in 16 bit, attention scores not among them
(Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", without their scores)."""
BACKWARD = 2.0
"""A backward pass costs twice its forward pass."""


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """One model. ``known`` is false where the architecture cannot tell its sizes; the numbers are then 0.

    flops: of one optimizer step, backward pass included for the student. loads: false for a teacher whose answers were
    written down: it costs neither memory nor arithmetic.
    """

    name: str
    form: str
    known: bool
    parameters: int
    trainable: int
    flops: float
    loads: bool = True


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """The whole run. ``memory``: what -> bytes. ``tokens``: upper bounds, since rows may be shorter than the longest.

    teacher_passes: over a batch, of all teachers together.
    """

    student: ModelCost
    teachers: tuple[ModelCost, ...]
    steps: int
    tokens_per_step: int
    masked_share: float
    teacher_passes: int
    memory: Mapping[str, float]

    @property
    def tokens(self) -> int:
        """Student tokens of the whole run, at most."""
        return self.tokens_per_step * self.steps

    @property
    def flops_per_step(self) -> float:
        """All models."""
        return self.student.flops + sum(teacher.flops for teacher in self.teachers)

    @property
    def flops(self) -> float:
        """All models, the whole run."""
        return self.flops_per_step * self.steps

    @property
    def teacher_share(self) -> float:
        """The teachers' part of all arithmetic, in [0, 1]."""
        return 1 - self.student.flops / self.flops_per_step if self.teachers and self.flops_per_step else 0.0

    @property
    def known(self) -> bool:
        """Whether every architecture said how large it is."""
        return all(cost.known for cost in (self.student, *self.teachers))

    @property
    def bytes(self) -> float:
        """Memory of everything listed."""
        return sum(self.memory.values())


def ask(model: Architecture) -> Mapping[str, Any]:
    """Return what an architecture says of its sizes."""
    return model.plan()


def plan_run(config: RunConfig, registry: Registry, sizes_of: Sizes = ask) -> RunPlan:
    """Estimate a run's cost from what its architectures say of themselves.

    ``sizes_of`` asks them; whoever plans many runs of the same models need not ask each time. Raises ``PluginError``
    naming the component that fails to say it.
    """

    def describe(component: Component) -> str:
        return f"{component.kind} '{component.name}' of {registry.origin(component)}"

    training, data = config.training, config.data
    rows = training.batch_size * training.accumulate
    with blame(config.schedule, "in alpha()", describe):
        masked = masked_share(config.schedule)
    with blame(config.student, "in plan()", describe):
        sizes = dict(sizes_of(config.student))
    student = _cost(
        config.student,
        sizes,
        rows=rows,
        length=data.max_length,
        masked=masked,
        passes=1,
        factor=1 + BACKWARD + (1.0 if training.gradient_checkpointing else 0.0),
        head_factor=1 + BACKWARD,
    )
    taught = [_teacher_cost(view, rows, masked, describe, sizes_of) for view in config.lessons()]
    teachers = tuple(cost for cost, _ in taught)
    return RunPlan(
        student=student,
        teachers=teachers,
        steps=training.steps,
        tokens_per_step=rows * data.max_length,
        masked_share=masked,
        teacher_passes=sum(passes for _, passes in taught),
        memory=_memory(config, student, teachers, sizes),
    )


def _teacher_cost(
    config: RunConfig, rows: int, masked: float, describe: Describe, sizes_of: Sizes
) -> tuple[ModelCost, int]:
    """Return what the one teacher of ``config`` costs, and its passes over a batch."""
    teacher, data = config.teacher, config.data
    assert teacher is not None
    with blame(config.teacher_view, "in passes()", describe):
        passes = teacher_passes(config.teacher_view)
    with blame(teacher, "in plan()", describe):
        sizes = dict(sizes_of(teacher))
    if teacher.cache_path is not None:
        return _recorded_cost(teacher, sizes), 0
    # The same text in the teacher's tokens: about as many as the student's, unless the file says otherwise.
    length = data.teacher_max_length or data.max_length
    # Passes that follow each other share nothing, and each but the last reaches the head once more, to draw tokens.
    turns = config.teacher_view.sub_steps if isinstance(config.teacher_view, SequentialTeacherView) else 1
    head = 2 if turns > 1 else 1
    cost = _cost(teacher, sizes, rows=rows, length=length, masked=masked, passes=passes, factor=turns, head_factor=head)
    return cost, passes * turns


def teacher_forwards(config: RunConfig) -> int:
    """Return how often the one teacher of ``config`` runs over a batch: never where its answers are recorded."""
    assert config.teacher is not None
    if config.teacher.cache_path is not None:
        return 0
    view = config.teacher_view
    return teacher_passes(view) * (view.sub_steps if isinstance(view, SequentialTeacherView) else 1)


def positions(form: str, length: int, passes: int = 1) -> int:
    """Positions that a model computes for one row of L tokens and V passes."""
    if form == "block_diffusion":
        return (passes + 1) * length
    return length if form == "autoregressive" else passes * length


def visible_pairs(form: str, length: int, block: int, passes: int = 1) -> float:
    """Pairs of positions that see each other in one row: what attention computes when it skips the rest."""
    block_causal = length * (length + block) / 2
    if form == "autoregressive":
        return length * (length + 1) / 2
    if form == "block_causal":
        return passes * block_causal
    if form == "block_diffusion":
        return passes * (length * block + length * (length - block) / 2) + block_causal
    return passes * float(length * length)


def masked_share(schedule: NoiseSchedule) -> float:
    """Return the share of maskable tokens that are masked, in the mean over training times."""
    import torch

    low, high = schedule.interval()
    times = torch.linspace(low, high, 1001, dtype=torch.float64)
    return float((1 - schedule.alpha(times)).mean())


def teacher_passes(view: TeacherView) -> int:
    """Return how many passes a view makes, by asking it about one small row."""
    import torch

    from tide_specs import Side

    from .draws import SampleDraws

    length = 16
    row = torch.arange(length)[None]
    side = Side(ids=row, maskable=torch.ones_like(row, dtype=torch.bool), lengths=torch.tensor([length]), chunk=row)
    draws = SampleDraws(seed=0, epoch=0, samples=torch.tensor([0]))
    return len(view.passes(side, side.maskable, draws))


def _cost(
    model: Architecture,
    sizes: Mapping[str, Any],
    *,
    rows: int,
    length: int,
    masked: float,
    passes: int,
    factor: float,
    head_factor: float,
) -> ModelCost:
    form = model.denoiser_form
    parameters = int(sizes.get("parameters", 0))
    hidden, layers, columns = (int(sizes.get(key, 0)) for key in ("hidden_size", "layers", "vocabulary"))
    # An embedding is a look-up, not a product; the head is counted by itself, at masked positions only.
    body = max(0, int(sizes.get("active_parameters", parameters)) - hidden * columns)
    products = 2.0 * body * positions(form, length, passes)
    attention = 4.0 * hidden * layers * visible_pairs(form, length, model.length_multiple, passes)
    head = 2.0 * hidden * columns * masked * length
    return ModelCost(
        name=model.name,
        form=form,
        known=parameters > 0,
        parameters=parameters,
        trainable=int(sizes.get("trainable_parameters", parameters)),
        flops=rows * (factor * (products + attention) + head_factor * head),
    )


def _recorded_cost(teacher: Architecture, sizes: Mapping[str, Any]) -> ModelCost:
    parameters = int(sizes.get("parameters", 0))
    return ModelCost(
        name=teacher.name,
        form=teacher.denoiser_form,
        known=True,
        parameters=parameters,
        trainable=0,
        flops=0.0,
        loads=False,
    )


def _memory(
    config: RunConfig, student: ModelCost, teachers: Sequence[ModelCost], sizes: Mapping[str, Any]
) -> dict[str, float]:
    training = config.training
    width = 2 if training.precision == "bf16" else 4
    kept = width if training.gradient_checkpointing else ACTIVATION_BYTES * width / 2
    cells = int(sizes.get("hidden_size", 0)) * int(sizes.get("layers", 0))
    rows = training.batch_size * positions(student.form, config.data.max_length)
    logits = training.batch_size * config.data.max_length * int(sizes.get("vocabulary", 0)) or training.slice_elements
    memory = {
        "student weights (float32 masters)": 4.0 * student.parameters,
        "gradients": 4.0 * student.trainable,
        "AdamW moments": 8.0 * student.trainable,
        "student activations": kept * cells * rows,
        # Student's logits, teacher's, and a gradient; never more than the positions that there are.
        "head slices (logits, float32)": 3 * 4.0 * min(training.slice_elements, logits),
    }
    if training.ema_decay is not None:
        memory["average of the weights"] = 4.0 * student.trainable
    loaded = [teacher.parameters for teacher in teachers if teacher.loads]
    if loaded:
        whose = "teacher weights" if len(loaded) == 1 else f"weights of {len(loaded)} teachers"
        memory[whose] = float(width) * sum(loaded)
    return memory
