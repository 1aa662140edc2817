"""How much of its teacher's scores a student keeps, and what it costs beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_core.assembly import Tokenizers, build_accelerator, describer, load_model, prepare_for_all, tokenizer_of
from tide_core.bench.processes import run_job
from tide_core.bench.prompts import PROMPTS
from tide_core.bench.protocol import Contender, Job, Protocol, Row
from tide_core.blame import blame
from tide_core.evaluation import evaluate_all, writing_sampler
from tide_core.held_out import held_out_seats
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Architecture, Evaluation, Sampler

RESAMPLES = 2000
Numbers = NDArray[np.float64]
Announce = Callable[[str], None]
STUDENT, TEACHER = "student", "teacher"


@dataclass(frozen=True, kw_only=True)
class Retained:
    """One score of both: ``share`` is the student's over the teacher's, or the other way round where lower is better.

    ``low``, ``high``: 95 % bootstrap interval over the examples that both were asked; ``None`` where the score is no mean of
    numbers of examples. ``per_memory``, ``per_latency``: the share, times the teacher's bytes (weights and working memory) or
    seconds over the student's; ``None`` where they are not known.
    """

    evaluator: str
    metric: str
    better: str
    student: float
    teacher: float
    share: float
    low: float | None
    high: float | None
    per_memory: float | None
    per_latency: float | None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What writing costs both, in the same protocol, and how many times less the student takes."""

    student: Row
    teacher: Row

    @property
    def memory(self) -> float | None:
        """The teacher's bytes over the student's."""
        ours, theirs = self.student.bytes, self.teacher.bytes
        return theirs / ours if ours and theirs else None

    @property
    def latency(self) -> float | None:
        """The teacher's seconds for a token over the student's; rows may have ended early."""
        ours, theirs = self.student, self.teacher
        if not ours.tokens or not theirs.tokens or not ours.seconds:
            return None
        return (theirs.seconds / theirs.tokens) / (ours.seconds / ours.tokens)


def evaluate_teacher(
    config: RunConfig, registry: Registry, announce: Announce = lambda text: None
) -> dict[str, Evaluation]:
    """Evaluate the one teacher of ``config`` as its student is evaluated, by evaluators that need no teacher themselves."""
    teacher, describe = config.teacher, describer(registry)
    assert teacher is not None
    accelerator = build_accelerator(config)
    with blame(teacher, "while its tokenizer was loaded", describe):
        own = tokenizer_of(teacher, "teacher", trust_remote_code=config.trust_remote_code)
    tokenizers = [Tokenizers(student=own, teacher=None)]
    sampler = sampler_beside(config, teacher, registry)
    alone = config.model_copy(update={"student": teacher, "teacher": None, "teachers": (), "sampler": sampler})
    announce("preparing the teacher's data")
    data = prepare_for_all(alone, "evaluation", tokenizers, Path(config.output).parent / ".tide-cache", describe)
    announce("loading the teacher")
    model = load_model(config, "teacher", accelerator.device, describe)
    announce("evaluating the teacher")
    seats = held_out_seats(alone, data, tokenizers, model, [], accelerator.device, registry)
    evaluators = [evaluator for evaluator in config.evaluation if not evaluator.needs_teacher]
    return evaluate_all(evaluators, model, seats, describe)


def sampler_beside(config: RunConfig, architecture: Architecture, registry: Registry) -> Sampler:
    """Return how a model writes beside the run's student: with the run's sampler where it decodes in the same way."""
    alike = (architecture.denoiser_form == "autoregressive") == (config.student.denoiser_form == "autoregressive")
    return writing_sampler(architecture, registry, config.sampler if alike else None)


def measure_costs(
    config: RunConfig,
    registry: Registry,
    plugins: Sequence[str],
    *,
    new_tokens: int,
    repetitions: int,
    announce: Announce = lambda text: None,
) -> Costs:
    """Let both write a text of ``new_tokens`` tokens, each in a process of its own, as ``tide bench`` does."""
    assert config.teacher is not None
    protocol = Protocol(
        prompts=PROMPTS,
        chat=False,
        batch_sizes=(1,),
        new_tokens=(new_tokens,),
        caches=(True,),
        warmups=1,
        repetitions=repetitions,
        seed=config.training.seed,
        device=config.training.device,
        dtype="bfloat16" if config.training.precision == "bf16" else "float32",
        attention=config.attention.name,
        trust_remote_code=config.trust_remote_code,
    )
    rows: list[Row] = []
    for label, architecture in ((STUDENT, config.student), (TEACHER, config.teacher)):
        announce(f"measuring the {label}")
        sampler = sampler_beside(config, architecture, registry)
        contender = Contender(
            label=label,
            path=str(getattr(architecture, "model", "") or ""),
            form=architecture.denoiser_form,
            architecture=architecture.model_dump(mode="json"),
            sampler=sampler.model_dump(mode="json"),
        )
        job = Job(protocol=protocol, contender=contender, plugins=list(plugins))
        rows += [found for found in run_job(job) if isinstance(found, Row)]
    return Costs(student=rows[0], teacher=rows[1])


def retained(
    student: Mapping[str, Evaluation], teacher: Mapping[str, Evaluation], costs: Costs | None = None
) -> list[Retained]:
    """Compare every score that both have and whose evaluator says which way is better."""
    found: list[Retained] = []
    for name, ours in student.items():
        theirs = teacher.get(name)
        for metric, better in ours.better.items():
            if theirs is not None and metric in ours.metrics and metric in theirs.metrics:
                found.append(_compared(name, metric, better, ours, theirs, costs))
    return found


def _compared(
    evaluator: str, metric: str, better: str, ours: Evaluation, theirs: Evaluation, costs: Costs | None
) -> Retained:
    values = ours.metrics[metric].value, theirs.metrics[metric].value
    share = _share(*values, better)
    low, high = _interval(ours, theirs, metric, better)
    memory, latency = (None, None) if costs is None else (costs.memory, costs.latency)
    return Retained(
        evaluator=evaluator,
        metric=metric,
        better=better,
        student=values[0],
        teacher=values[1],
        share=share,
        low=low,
        high=high,
        per_memory=None if memory is None else share * memory,
        per_latency=None if latency is None else share * latency,
    )


def _share(student: float, teacher: float, better: str) -> float:
    above, below = (student, teacher) if better == "higher" else (teacher, student)
    return above / below if below else math.nan


def _interval(
    ours: Evaluation, theirs: Evaluation, metric: str, better: str
) -> tuple[float, float] | tuple[None, None]:
    """Resample examples, the same for both; only for a score that is a mean of its examples' numbers."""
    found = [_terms(evaluation, metric) for evaluation in (ours, theirs)]
    if any(terms is None for terms in found):
        return None, None
    (student, weight), (teacher, other) = [terms for terms in found if terms is not None]
    if len(student) != len(teacher):
        return None, None
    known = np.isfinite(student) & np.isfinite(teacher) & np.isfinite(weight) & np.isfinite(other)
    count = int(known.sum())
    if count < 2:
        return None, None
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    means = [(times @ (v * w)[known]) / (times @ w[known]) for v, w in ((student, weight), (teacher, other))]
    above, below = means if better == "higher" else means[::-1]
    if not (below > 0).all():
        return None, None
    low, high = np.quantile(above / below, [0.025, 0.975])
    return float(low), float(high)


def _terms(found: Evaluation, metric: str) -> tuple[Numbers, Numbers] | None:
    """Return the numbers of the examples and the weights with which their mean is the score: equal ones, or their bytes."""
    values = np.asarray(found.per_example.get(metric, ()), np.float64)
    for weights in (np.ones_like(values), np.asarray(found.per_example.get("bytes", ()), np.float64)):
        if len(weights) == len(values) and (known := np.isfinite(values)).any():
            mean = float((values * weights)[known].sum() / weights[known].sum())
            if math.isclose(mean, found.metrics[metric].value, rel_tol=1e-6, abs_tol=1e-12):
                return values, weights
    return None


def record(found: Sequence[Retained], costs: Costs) -> dict[str, Any]:
    """Return everything as plain data."""
    from dataclasses import asdict

    return {
        "scores": [asdict(score) for score in found],
        "costs": {STUDENT: asdict(costs.student), TEACHER: asdict(costs.teacher)},
        "times_less_memory": costs.memory,
        "times_faster": costs.latency,
    }
