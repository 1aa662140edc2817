"""From a valid run to loaded parts: tokenizers, data, models, in the order in which they can fail cheaply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from tide_core.blame import Describe, blame
from tide_core.data import Pairing, PreparedData, prepare
from tide_core.devices import device_named
from tide_core.distillation import Distillation
from tide_core.method import Lesson, Method, RecordedTeacher, Term, terms_of
from tide_core.parallel import Engine
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import (
    Architecture,
    AttentionBackend,
    Component,
    Denoiser,
    DistributionLoss,
    Role,
    Runtime,
    SharedColumns,
    Split,
    TextTokenizer,
    TokenLoss,
    UnavailableError,
    VocabularyBridge,
)

Progress = Callable[[str, int, int | None], None]
"""Called with (what, done, total or ``None``) during long preparations."""


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """The tokenizers of student and teacher, and what the alignment says of their vocabularies, where a loss needs it."""

    student: TextTokenizer
    teacher: TextTokenizer | None
    columns: SharedColumns | None = None
    bridge: VocabularyBridge | None = None


def describer(registry: Registry) -> Describe:
    """Return a function that names a component with its plugin and distribution."""

    def describe(component: Component) -> str:
        return f"{component.kind} '{component.name}' of {registry.origin(component)}"

    return describe


def load_tokenizers(config: RunConfig, describe: Describe) -> Tokenizers:
    """Check both models' files, load both tokenizers and compare their vocabularies, before any weights load."""
    for model in filter(None, (config.student, config.teacher)):
        with blame(model, "while its files were checked", describe):
            model.check(trust_remote_code=config.trust_remote_code)
    with blame(config.student, "while its tokenizer was loaded", describe):
        student = tokenizer_of(config.student, "student", trust_remote_code=config.trust_remote_code)
    if config.teacher is None:
        return Tokenizers(student=student, teacher=None)
    with blame(config.teacher, "while its tokenizer was loaded", describe):
        teacher = tokenizer_of(config.teacher, "teacher", trust_remote_code=config.trust_remote_code)
    columns = bridge = None
    with blame(config.alignment, "while vocabularies were compared", describe):
        if any(isinstance(loss, TokenLoss) for loss in config.losses):
            columns = config.alignment.columns(student, teacher)
        if any(isinstance(loss, DistributionLoss) for loss in config.losses):
            bridge = config.alignment.bridge(student, teacher)
    return Tokenizers(student=student, teacher=teacher, columns=columns, bridge=bridge)


def load_all_tokenizers(config: RunConfig, describe: Describe) -> list[Tokenizers]:
    """Do as ``load_tokenizers`` for each teacher of the run; one entry, without a teacher, where there is none."""
    return [load_tokenizers(view, describe) for view in config.lessons() or (config,)]


def tokenizer_of(architecture: Architecture, role: Role, *, trust_remote_code: bool) -> TextTokenizer:
    """Return an architecture's tokenizer; code that comes with it runs only where that is allowed."""
    return architecture.trusted_tokenizer(role) if trust_remote_code else architecture.tokenizer(role)


def prepare_for_all(
    config: RunConfig,
    split: Split,
    tokenizers: Sequence[Tokenizers],
    cache: Path,
    describe: Describe,
    progress: Progress | None = None,
) -> PreparedData:
    """Encode and align one split for every teacher; every process calls this, one writes the cache, the others wait."""
    report = None if progress is None else (lambda done, total: progress(f"preparing {split} data", done, total))
    pairings = [
        Pairing(
            teacher=one.teacher,
            alignment=None if view.teacher is None else view.alignment,
            length_multiple=1 if view.teacher is None else view.teacher.length_multiple,
        )
        for view, one in zip(config.lessons() or (config,), tokenizers, strict=True)
    ]
    with blame(config.data, f"while its {split} examples were prepared", describe):
        return prepare(
            config.data,
            split,
            student=tokenizers[0].student,
            pairings=pairings,
            length_multiple=config.student.length_multiple,
            cache_directory=str(cache),
            workers=config.training.workers,
            progress=report,
        )


def load_model(config: RunConfig, role: Role, device: torch.device, describe: Describe) -> Denoiser:
    """Load the student (float32 masters, to be trained) or the teacher (frozen, in the run's precision)."""
    architecture = config.student if role == "student" else config.teacher
    assert architecture is not None
    low = torch.bfloat16 if config.training.precision == "bf16" else torch.float32
    refuse_unavailable(config.attention, device, low)
    runtime = Runtime(
        device=device,
        dtype=torch.float32 if role == "student" else low,
        attention=config.attention,
        gradient_checkpointing=config.training.gradient_checkpointing and role == "student",
        trust_remote_code=config.trust_remote_code,
        seed=config.training.seed,
    )
    with blame(architecture, f"while the {role} was loaded", describe):
        denoiser = architecture.load(role, runtime)
    if role == "teacher":
        denoiser.module.requires_grad_(False).eval()
    if config.training.compile:
        compile_layers(denoiser)
    return denoiser


def save_student(
    config: RunConfig, engine: Engine, describe: Describe, path: str, tensors: Mapping[str, Tensor]
) -> None:
    """Write the student in its family's format. Only the main process calls this.

    A sharded student cannot write itself: its whole weights go into a second copy on the CPU, which can.
    """
    if not engine.sharded:
        engine.module.student.save(path)
        return
    copy = load_model(config, "student", torch.device("cpu"), describe)
    weights = {name.removeprefix("weight/student_module."): value for name, value in tensors.items()}
    copy.module.load_state_dict(
        {name: weights[name] for name in weights if not name.startswith("optimizer/")}, strict=False
    )
    copy.save(path)


def refuse_unavailable(attention: AttentionBackend, device: torch.device, dtype: torch.dtype) -> None:
    """Raise ``UnavailableError`` when the attention backend cannot work with this device and dtype."""
    reason = attention.available(device, dtype)
    if reason is not None:
        raise UnavailableError(f"attention: '{attention.name}' cannot be used on {device} in {dtype}: {reason}")


def compile_layers(denoiser: Denoiser) -> None:
    """Compile each repeated layer: one graph serves them all, and compilation stays short."""
    for child in denoiser.module.modules():
        if isinstance(child, torch.nn.ModuleList) and len({type(layer) for layer in child}) == 1:
            for layer in child:
                layer.compile()


def load_distillation(
    config: RunConfig,
    device: torch.device,
    tokenizers: Sequence[Tokenizers],
    describe: Describe,
    recorded: Sequence[RecordedTeacher | None] = (),
) -> Distillation:
    """Load student and teachers and put them together with the method; ``recorded`` teachers stand in for models."""
    torch.manual_seed(config.training.seed)
    views = config.lessons()
    lessons = [
        load_lesson(view, device, one, describe, teacher)
        for view, one, teacher in zip(views, tokenizers, recorded or [None] * len(views), strict=False)
    ]
    student = load_model(config, "student", device, describe)
    method = method_of(config, terms_of_run(config), lessons, describe)
    torch.manual_seed(config.training.seed)  # projections of feature losses start alike, whatever loaded before
    module = Distillation(student, method, slice_elements=config.training.slice_elements)
    return module.to(device)


def load_lesson(
    config: RunConfig,
    device: torch.device,
    tokenizers: Tokenizers,
    describe: Describe,
    recorded: RecordedTeacher | None = None,
) -> Lesson:
    """Load the one teacher of ``config``, unless its answers are ``recorded``, and put it together with what it needs."""
    return Lesson(
        teacher=recorded or load_model(config, "teacher", device, describe),
        view=config.teacher_view,
        interpolation=config.interpolation,
        columns=tokenizers.columns,
        bridge=tokenizers.bridge,
        weighting=config.weighting,
    )


def terms_of_run(config: RunConfig) -> list[Term]:
    """Return the terms of the total loss, those of several teachers behind those that all share."""
    return [*terms_of(config.losses), *(t for k, one in enumerate(config.teachers) for t in terms_of(one.losses, k))]


def method_of(config: RunConfig, terms: Sequence[Term], lessons: Sequence[Lesson], describe: Describe) -> Method:
    """Return the components that define the run's objective, around the teachers of ``lessons``."""
    return Method(
        terms=terms,
        schedule=config.schedule,
        corruption=config.corruption,
        interpolation=config.interpolation,
        timesteps=config.timesteps,
        lessons=lessons,
        describe=describe,
    )


def build_accelerator(config: RunConfig) -> Accelerator:
    """Build the Accelerate engine for the run's device, precision and strategy."""
    training = config.training
    device = device_named(training.device, "training.device")
    if device.index is not None:
        torch.cuda.set_device(device)
    # Accelerate keeps its precision in a process-wide singleton; a second run in one process may want another.
    AcceleratorState._reset_state()
    low = training.precision == "bf16"
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="bf16" if low else "no")
    if training.strategy != "auto" and accelerator.num_processes == 1:
        raise UnavailableError(
            f"training.strategy: '{training.strategy}' needs several processes; start them with "
            "torchrun --nproc-per-node N -m tide_core.cli.main run FILE, or leave the strategy at auto"
        )
    return accelerator
