"""Lifecycle events: frozen, keyword-only records; observers receive them, none carries a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .evaluator import Evaluation

RunStatus = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """Training is about to begin. ``config``: the resolved run file; ``facts``: versions, data hash, parameter counts."""

    run_id: str
    directory: str
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    components: Sequence[Mapping[str, Any]]
    """One record per component: kind, name, version, distribution, distribution_version."""
    total_steps: int
    first_step: int = 0
    """Steps already done, when a run resumes."""


@dataclass(frozen=True, kw_only=True)
class StepFinished:
    """One optimizer step is done. Sent every step, so it carries nothing that would need a device synchronisation."""

    step: int
    total_steps: int


@dataclass(frozen=True, kw_only=True)
class MetricsLogged:
    """Means since the last logged step: ``loss``, ``loss/<name>``, ``tokens_per_second``, ``learning_rate``, ..."""

    step: int
    total_steps: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint directory is complete on disk."""

    step: int
    path: str


@dataclass(frozen=True, kw_only=True)
class EvaluationFinished:
    """One evaluator has finished."""

    step: int
    evaluator: str
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The run is over. ``error``: the message when it failed. ``artifacts``: files worth keeping, name -> path."""

    status: RunStatus
    step: int
    error: str | None = None
    artifacts: Mapping[str, str] = field(default_factory=lambda: {})
