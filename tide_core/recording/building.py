"""``tide cache build``: the teacher answers a run's training data once per draw, on one process or several."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tide_core.assembly import (
    Progress,
    Tokenizers,
    build_accelerator,
    describer,
    load_all_tokenizers,
    load_model,
    method_of,
    prepare_for_all,
)
from tide_core.blame import Describe
from tide_core.config import config_record
from tide_core.data import PreparedData
from tide_core.distillation import Distillation
from tide_core.method import Lesson, terms_of
from tide_core.recording.answering import weights_fingerprint
from tide_core.recording.asking import Asker, Report
from tide_core.recording.identity import record, run_identity
from tide_core.recording.measuring import Measure, measure
from tide_core.recording.needs import needed_top_k, obstacles
from tide_core.recording.stand_in import StandIn
from tide_core.registry import Registry
from tide_core.run_schema import CACHED, RunConfig
from tide_core.teacher_cache import CacheIdentity, CacheWriter, create, seal
from tide_core.teacher_cache.directory import MANIFEST, read_manifest, require
from tide_core.teacher_cache.locks import being_written
from tide_specs import Architecture, ConfigError, Denoiser, FeatureLoss

WAIT = 0.5
"""Seconds between two looks at whether other processes have finished."""
KEPT_SECTIONS = ("data", "student", "teacher", "teachers", "alignment", "teacher_view", "schedule", "corruption")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to build. teacher: number of the teacher, from 0; top_k: 0 for likelihoods, ``None``: what the losses read."""

    path: Path
    draws: int
    teacher: int = 0
    top_k: int | None = None
    batch_size: int | None = None
    run_file: str = "RUN.yaml"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What this process did. forwards: calls of the teacher; rows: samples, once per draw, that it answered in them."""

    path: Path
    identity: CacheIdentity
    measure: Measure
    forwards: int
    rows: int
    seconds: float


def build_cache(
    config: RunConfig,
    registry: Registry,
    order: Order,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Built:
    """Write down what a teacher of ``config`` answers; goes on where an earlier call stopped.

    Raises ``ConfigError`` when no cache can serve the run or the directory holds another cache, ``DataError`` when the disk
    refuses or an answer is not a number, and the errors of whatever loads.
    """
    view, describe = teacher_of(config, order), describer(registry)
    strategy = config.training.model_copy(update={"strategy": "auto"})
    accelerator = build_accelerator(config.model_copy(update={"training": strategy}))
    tokenizers = load_all_tokenizers(config, describe)
    prepared = Path(config.output).parent / ".tide-cache"
    shown = progress if accelerator.is_main_process else None
    data = prepare_for_all(config, "train", tokenizers, prepared, describe, shown)
    identity = _identity(config, order, tokenizers, data, view)
    _refuse_early(order, identity)
    teacher = load_model(view, "teacher", accelerator.device, describe)
    identity.teacher["weights"] = weights_fingerprint(teacher)
    _begin(config, registry, order, identity, teacher, tokenizers[order.teacher], view)
    module = _noising(config, tokenizers, order.teacher, describe)
    asker = Asker(
        identity,
        module,
        data,
        teacher,
        accelerator,
        lesson=order.teacher,
        batch_size=order.batch_size or config.training.batch_size,
        slice_elements=config.training.slice_elements,
    )
    started = time.monotonic()
    with contextlib.closing(asker):
        with CacheWriter(order.path, writer=accelerator.process_index, writers=accelerator.num_processes) as writer:
            accelerator.wait_for_everyone()  # whoever is waited for at the end has begun
            asker.fill(writer, report)
    seconds = time.monotonic() - started
    if accelerator.is_main_process:
        while being_written(order.path):
            time.sleep(WAIT)
        seal(order.path, data.samples())
    return Built(
        path=order.path,
        identity=identity,
        measure=measure(order.path),
        forwards=asker.forwards,
        rows=asker.rows,
        seconds=seconds,
    )


def teacher_of(config: RunConfig, order: Order) -> RunConfig:
    """Return the run as the teacher that is to answer sees it. Raises ``ConfigError`` where no cache can serve that."""
    views = config.lessons()
    if not 0 <= order.teacher < len(views):
        count = "no teacher" if not views else "one teacher" if len(views) == 1 else f"{len(views)} teachers"
        raise ConfigError(f"{order.run_file}: has {count}, so there is no teacher {order.teacher + 1} to ask")
    view = views[order.teacher]
    assert view.teacher is not None
    if view.teacher.cache_path is not None:
        raise ConfigError(
            f"{order.run_file}: this teacher is a cache already ({view.teacher.cache_path}); "
            "build from the run file that names the model"
        )
    if all(loss.compares == "student" for loss in view.losses):
        raise ConfigError(f"{order.run_file}: no loss learns from this teacher, so that there is nothing to ask it")
    for found in obstacles(view):
        place = ".".join(map(str, found.place))
        raise ConfigError(f"{order.run_file}: {place}: {found.why}; {found.remedy}")
    return view


def _identity(
    config: RunConfig, order: Order, tokenizers: Sequence[Tokenizers], data: PreparedData, view: RunConfig
) -> CacheIdentity:
    assert view.teacher is not None
    needed = needed_top_k(view)
    if order.top_k is not None and order.top_k < needed:
        raise ConfigError(
            f"{order.run_file}: its losses read the {needed} most likely tokens, so that --top-k {order.top_k} is too few"
        )
    return run_identity(
        config,
        order.teacher,
        tokenizers,
        data,
        teacher={**record(view.teacher), "precision": view.training.precision},
        draws=order.draws,
        top_k=needed if order.top_k is None else order.top_k,
    )


def _refuse_early(order: Order, identity: CacheIdentity) -> None:
    """Refuse a directory that holds another cache before the teacher's weights are read."""
    if (order.path / MANIFEST).exists():
        there = read_manifest(order.path).identity
        teacher = {**identity.teacher, "weights": there.teacher.get("weights")}
        wanted = replace(identity, teacher=teacher)
        require(order.path, there, wanted, run_file=order.run_file, or_else="or name another directory with --path")


def _begin(
    config: RunConfig,
    registry: Registry,
    order: Order,
    identity: CacheIdentity,
    teacher: Denoiser,
    tokenizers: Tokenizers,
    view: RunConfig,
) -> None:
    """Make the directory, and see that the tokenizer which it holds is the teacher's."""
    assert view.teacher is not None and tokenizers.teacher is not None
    columns, own = int(teacher.head().weight.shape[0]), tokenizers.teacher
    if identity.k > columns:
        raise ConfigError(f"--top-k {identity.k}: the teacher has only {columns} columns")
    facts = {
        "name": view.teacher.name,
        "form": view.teacher.denoiser_form,
        "length_multiple": view.teacher.length_multiple,
        "block_size": teacher.block_size,
        "columns": columns,
        "mask_token_id": own.mask_token_id,
        "end_of_turn_token_id": own.end_of_turn_token_id,
        "plan": view.teacher.plan(),
    }
    sections = config_record(config)
    kept = {name: sections[name] for name in KEPT_SECTIONS}
    create(
        order.path,
        identity,
        config={"teacher": facts, "run": kept},
        save_tokenizer=own.save,
        run_file=order.run_file,
    )
    cached = registry.build("architecture", {"name": CACHED, "cache": str(order.path)})
    assert isinstance(cached, Architecture)
    again = cached.tokenizer("teacher")
    if again.fingerprint() != own.fingerprint():
        raise ConfigError(
            f"cache {order.path}: the teacher's tokenizer ({type(own).__name__}) does not come back the same from the files "
            "that it saves, so that a run could not read it; only tokenizers of transformers can be kept in a cache"
        )


def _noising(config: RunConfig, tokenizers: Sequence[Tokenizers], teacher: int, describe: Describe) -> Distillation:
    """Return what noises batches exactly as training does, without any weights."""
    views = config.lessons()
    lessons: list[Lesson] = []
    for view, one in zip(views, tokenizers, strict=True):
        assert view.teacher is not None and one.teacher is not None
        stand_in = StandIn(view.teacher, one.teacher)
        lessons.append(Lesson(teacher=stand_in, view=view.teacher_view, interpolation=view.interpolation))
    terms = terms_of([loss for loss in views[teacher].losses if not isinstance(loss, FeatureLoss)], teacher)
    student = StandIn(config.student, tokenizers[0].student)
    return Distillation(student, method_of(config, terms, lessons, describe))
