"""Which cache serves a run: everything that decides what the teacher is asked, and how often the noise repeats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tide_core.run_schema import RunConfig
from tide_core.teacher_cache import CacheIdentity
from tide_core.teacher_cache.directory import read_manifest
from tide_specs import Architecture, Component

if TYPE_CHECKING:
    from tide_core.assembly import Tokenizers
    from tide_core.data import PreparedData

OTHERS = "other_teachers"
"""Names, in the record of an alignment, the alignments of the run's other teachers, which mask together with it."""


def noise_draws(config: RunConfig) -> int | None:
    """Return how often a run noises each sample anew: what the file says, else as often as its caches were; or ``None``.

    Raises ``ConfigError`` and ``DataError`` where a cache cannot be read.
    """
    if config.training.noise_draws is not None:
        return config.training.noise_draws
    known = [read_manifest(Path(path)).identity.draws for path in cache_paths(config) if path is not None]
    return min(known, default=None)


def cache_paths(config: RunConfig) -> list[str | None]:
    """Return the cache of each teacher of a run; ``None`` for those that are models."""
    return [None if view.teacher is None else view.teacher.cache_path for view in config.lessons()]


def local_facts(config: RunConfig, built: CacheIdentity) -> CacheIdentity:
    """Return ``built`` with everything that the run file alone says, for one teacher of the run."""
    alignment = record(config.alignment)
    if isinstance(built.alignment, dict) and OTHERS in built.alignment:
        alignment[OTHERS] = built.alignment[OTHERS]
    return replace(
        built,
        alignment=alignment,
        view=record(config.teacher_view),
        corruption=record(config.corruption),
        schedule=noise_record(config),
        seed=config.training.seed,
    )


def run_identity(
    config: RunConfig,
    lesson: int,
    tokenizers: Sequence[Tokenizers],
    data: PreparedData,
    *,
    teacher: Any,
    draws: int,
    top_k: int,
) -> CacheIdentity:
    """Return what a cache must have been built with to serve teacher number ``lesson`` of a run."""
    views, own = config.lessons(), tokenizers[lesson].teacher
    assert own is not None
    view = views[lesson]
    alignment = record(view.alignment)
    if len(views) > 1:
        others = [
            [record(views[n].alignment), "" if one.teacher is None else one.teacher.fingerprint()]
            for n, one in enumerate(tokenizers)
            if n != lesson
        ]
        alignment[OTHERS] = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:16]
    return CacheIdentity(
        tokenizer=own.fingerprint(),
        student_tokenizer=tokenizers[lesson].student.fingerprint(),
        alignment=alignment,
        teacher=teacher,
        view=record(view.teacher_view),
        corruption=record(config.corruption),
        schedule=noise_record(config),
        seed=config.training.seed,
        data=data.fingerprint,
        samples=len(data),
        draws=draws,
        values="top_k" if top_k else "likelihoods",
        k=top_k,
    )


def record(component: Component) -> dict[str, Any]:
    """Return a component's options and the version of its numbers."""
    return {**component.model_dump(mode="json"), "version": component.version}


def noise_record(config: RunConfig) -> dict[str, Any]:
    """Return the schedule, and over how many tokens one time holds."""
    times = config.timesteps.per
    span = block_of(config.student) if times == "block" else None
    return {**record(config.schedule), "times_per": times, "block": span}


def block_of(architecture: Architecture) -> int | None:
    """Return the block size of a model that is not loaded."""
    return architecture.length_multiple if architecture.denoiser_form.startswith("block") else None
