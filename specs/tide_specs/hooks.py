"""Every hook of TIDE. A plugin implements those it needs with ``@hookimpl`` and returns classes.

Register a distribution's plugin module under the entry point group ``tide``; a single file works with
``tide run --plugin FILE.py``. Each docstring below holds a complete plugin, which the test suite extracts and runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .alignment import Alignment
    from .architecture import Architecture
    from .attention import AttentionBackend
    from .corruption import Corruption
    from .dataset import Dataset
    from .evaluator import Evaluator
    from .events import CheckpointSaved, EvaluationFinished, MetricsLogged, RunFinished, RunStarted, StepFinished
    from .interpolation import Interpolation
    from .loss import Loss
    from .observer import Observer
    from .sampler import Sampler
    from .schedule import NoiseSchedule
    from .teacher_view import TeacherView

PROJECT = "tide"
"""Name of the pluggy project and of the entry point group."""

CONTRACT_VERSION = "1.0"
"""Version of the contract in ``tide_specs``: MAJOR changes break plugins, MINOR ones only add.

A plugin module may state ``tide_contract = "1.0"``, the version that it was written against.
"""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

COMPONENT_HOOKS = {
    "architecture": "tide_architectures",
    "attention": "tide_attention_backends",
    "alignment": "tide_alignments",
    "schedule": "tide_noise_schedules",
    "corruption": "tide_corruptions",
    "loss": "tide_losses",
    "interpolation": "tide_interpolations",
    "teacher_view": "tide_teacher_views",
    "sampler": "tide_samplers",
    "dataset": "tide_datasets",
    "evaluator": "tide_evaluators",
    "observer": "tide_observers",
}
"""Kind of component -> the hook that contributes it."""


class ComponentHooks:
    """Hooks that contribute components. Each returns a list of classes."""

    @hookspec
    def tide_architectures(self) -> Sequence[type[Architecture]]:
        """Contribute model families."""
        raise NotImplementedError

    @hookspec
    def tide_attention_backends(self) -> Sequence[type[AttentionBackend]]:
        """Contribute attention backends."""
        raise NotImplementedError

    @hookspec
    def tide_alignments(self) -> Sequence[type[Alignment]]:
        """Contribute tokenizer alignments."""
        raise NotImplementedError

    @hookspec
    def tide_noise_schedules(self) -> Sequence[type[NoiseSchedule]]:
        """Contribute noise schedules."""
        raise NotImplementedError

    @hookspec
    def tide_corruptions(self) -> Sequence[type[Corruption]]:
        """Contribute corruptions."""
        raise NotImplementedError

    @hookspec
    def tide_losses(self) -> Sequence[type[Loss]]:
        """Contribute losses."""
        raise NotImplementedError

    @hookspec
    def tide_interpolations(self) -> Sequence[type[Interpolation]]:
        """Contribute interpolations."""
        raise NotImplementedError

    @hookspec
    def tide_teacher_views(self) -> Sequence[type[TeacherView]]:
        """Contribute teacher views."""
        raise NotImplementedError

    @hookspec
    def tide_samplers(self) -> Sequence[type[Sampler]]:
        """Contribute samplers."""
        raise NotImplementedError

    @hookspec
    def tide_datasets(self) -> Sequence[type[Dataset]]:
        """Contribute datasets."""
        raise NotImplementedError

    @hookspec
    def tide_evaluators(self) -> Sequence[type[Evaluator]]:
        """Contribute evaluators."""
        raise NotImplementedError

    @hookspec
    def tide_observers(self) -> Sequence[type[Observer]]:
        """Contribute observers."""
        raise NotImplementedError


class LifecycleHooks:
    """Hooks that the object returned by ``Observer.open`` may implement."""

    @hookspec
    def tide_run_started(self, event: RunStarted) -> None:
        """Training is about to begin."""

    @hookspec
    def tide_step_finished(self, event: StepFinished) -> None:
        """An optimizer step is done."""

    @hookspec
    def tide_metrics_logged(self, event: MetricsLogged) -> None:
        """An interval's means are known."""

    @hookspec
    def tide_checkpoint_saved(self, event: CheckpointSaved) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def tide_evaluation_finished(self, event: EvaluationFinished) -> None:
        """An evaluator has finished."""

    @hookspec
    def tide_run_finished(self, event: RunFinished) -> None:
        """The run is over, however it ended."""
