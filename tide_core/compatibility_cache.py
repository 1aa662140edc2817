"""The rules about teachers whose answers were written down, and about noise that repeats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tide_specs import TideError

from .problems import Problem
from .recording.identity import local_facts
from .recording.needs import dependent_times, needed_top_k, obstacles
from .run_schema import CACHED
from .teacher_cache.directory import BUILD, read_manifest
from .teacher_cache.identity import CacheIdentity, differences

if TYPE_CHECKING:
    from .compatibility import Checker


def cache_problems(checker: Checker) -> Iterator[Problem]:
    """A cache can give what the run reads, and was built for noise like the run's."""
    config = checker.config
    path = None if config.teacher is None else config.teacher.cache_path
    if path is None:
        if config.training.noise_draws is not None:
            for found in dependent_times(config, "training.noise_draws repeats the noise of each sample"):
                yield checker.problem(found.place, found.why, found.remedy)
        return
    for found in obstacles(config):
        yield checker.problem(found.place, found.why, found.remedy)
    yield from _evaluators(checker)
    try:
        built = read_manifest(Path(path)).identity
    except TideError:
        return  # said where the architecture is asked about itself
    yield from _values(checker, path, built)
    yield from _draws(checker, path, built)
    for line in differences(built, local_facts(config, built)):
        yield checker.problem(
            ("teacher", "cache"),
            f"cache {path}: was built with {line}",
            f"rebuild it with {BUILD} RUN.yaml, or use the run file that it was built from",
        )


def _evaluators(checker: Checker) -> Iterator[Problem]:
    for index, evaluator in enumerate(checker.config.evaluation):
        if evaluator.needs_teacher:
            yield checker.problem(
                ("evaluation", index),
                f"'{evaluator.name}' runs the teacher on held-out text, and '{CACHED}' has no model",
                "leave it out, and evaluate with  tide evaluate  and a run file that names the teacher's model",
            )


def _values(checker: Checker, path: str, built: CacheIdentity) -> Iterator[Problem]:
    needed = needed_top_k(checker.config)
    if needed > built.k:
        holds = f"the {built.k} most likely tokens" if built.k else "likelihoods alone"
        yield checker.problem(
            ("teacher", "cache"),
            f"cache {path}: holds {holds}, and the losses read the {needed} most likely tokens",
            f"rebuild it with {BUILD} RUN.yaml, which sees what the losses read, or lower their k",
        )


def _draws(checker: Checker, path: str, built: CacheIdentity) -> Iterator[Problem]:
    wanted = checker.config.training.noise_draws
    if wanted is not None and wanted > built.draws:
        yield checker.problem(
            ("training", "noise_draws"),
            f"{wanted} noisings of each example, but cache {path} has {built.draws}",
            f"use at most {built.draws}, or rebuild the cache with {BUILD} RUN.yaml --draws {wanted}",
        )
