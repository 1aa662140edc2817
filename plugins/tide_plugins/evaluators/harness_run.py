"""Running tasks of the harness, and keeping their scores."""

# lm-eval publishes no types worth the name.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingImports=false

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import random
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from tide_specs import ConfigError, Denoiser, Estimate, Evaluation, EvaluationContext

from .fingerprints import of_denoiser
from .harness_tasks import Prepared, prepare, task_names
from .intervals import ratio
from .writing import sampler_for

if TYPE_CHECKING:
    from .harness import LmEval

Samples = Mapping[str, Sequence[Mapping[str, Any]]]


def evaluate(options: LmEval, student: Denoiser, context: EvaluationContext) -> Evaluation:
    """Return the scores of all tasks, kept ones where there are any."""
    tasks = [prepare(name, options.path, options.shots) for name in options.tasks]
    model = of_denoiser(student)
    kept = (
        None
        if options.results is None
        else Path(options.results) / model / f"{_key(options, tasks, student, context)}.json"
    )
    if kept is not None and kept.is_file():
        return _restored(json.loads(kept.read_text("utf-8")), model)
    evaluation = _evaluate(options, tasks, student, context, model)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.partial")  # several processes may evaluate the same model
        partial.write_text(json.dumps(asdict(evaluation)), encoding="utf-8")
        partial.replace(kept)
    return evaluation


def _key(options: LmEval, tasks: Sequence[Prepared], student: Denoiser, context: EvaluationContext) -> str:
    """Return the hash of everything but the model that scores depend on."""
    sampler = sampler_for(options.sampler, context, student)
    record = {
        "options": options.model_dump(mode="json", exclude={"results", "path", "every", "sampler"}),
        "version": type(options).version,
        "sampler": [sampler.model_dump(mode="json"), type(sampler).version],
        "tasks": [task.record for task in tasks],
        "seed": context.seed,
        "lm_eval": importlib.metadata.version("lm-eval"),
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def _restored(record: Mapping[str, Any], model: str) -> Evaluation:
    metrics = {name: Estimate(**estimate) for name, estimate in record["metrics"].items()}
    rest = {name: record[name] for name in ("tables", "per_example", "better")}
    found = Evaluation(metrics=metrics, **rest)
    (row,) = found.tables["model"]
    if row["sha256"] != model:
        raise ConfigError(
            f"lm_eval: results: the scores kept for model {model[:12]} are of {row['sha256']!r}; delete them"
        )
    return found


def _evaluate(
    options: LmEval, tasks: Sequence[Prepared], student: Denoiser, context: EvaluationContext, model: str
) -> Evaluation:
    from lm_eval.evaluator import evaluate as run_tasks
    from lm_eval.tasks import TaskManager

    from .harness_model import HarnessModel, Reading

    if any(task.runs_programs for task in tasks):
        from .code_scoring import require_sandbox

        require_sandbox("namespaces")
    reading = Reading(
        forwards=options.forwards,
        rows=max(1, options.batch_size),
        seed=context.seed,
        device=context.device,
        new_tokens=options.max_new_tokens,
    )
    wrapped = HarnessModel(student, sampler_for(options.sampler, context, student), reading)
    own = all(not isinstance(task.spec, str) or Path(task.spec).is_file() for task in tasks)
    with _untouched_randomness():
        loaded = _loaded(TaskManager(include_defaults=not own), tasks)
        _require_defined(loaded["tasks"].values(), student)
        for task in loaded["tasks"].values():
            _set_shots(task, options.shots, context.seed)
        found: Any = run_tasks(
            wrapped,
            loaded,
            limit=options.limit or None,
            apply_chat_template=options.chat,
            fewshot_as_multiturn=options.chat,
            system_instruction=options.system,
            bootstrap_iters=0,
        )
    return _summary(found, model, wrapped.forwards, wrapped.tokens)


@contextlib.contextmanager
def _untouched_randomness() -> Generator[None]:
    """Leave the global random generators, which training draws from, as they are."""
    held = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(held[0])
            np.random.set_state(held[1])


def _loaded(manager: Any, tasks: Sequence[Prepared]) -> Any:
    """Build the tasks. Raises ``ConfigError`` for one that nobody knows."""
    for task in tasks:
        if isinstance(task.spec, str) and not Path(task.spec).is_file() and task.spec not in manager.task_index:
            raise ConfigError(
                f"lm_eval: tasks: '{task.name}' is no task of lm-evaluation-harness; those of ours: {', '.join(task_names())}"
            )
    return manager.load([task.spec for task in tasks])


def _set_shots(task: Any, shots: int | None, seed: int) -> None:
    """Say how many worked examples a task shows, and which."""
    if shots is not None:
        task.set_config(key="num_fewshot", value=shots)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=seed)


def _require_defined(tasks: Iterable[Any], student: Denoiser) -> None:
    """Refuse what has no meaning here, before anything runs."""
    for task in tasks:
        name = task.config.task
        if getattr(task, "UNSAFE_CODE", False):
            raise ConfigError(
                f"lm_eval: tasks: {name}: runs a model's programs without protection; use tide_humaneval, tide_mbpp or evaluator 'code'"
            )
        if task.OUTPUT_TYPE == "loglikelihood" and student.form != "autoregressive":
            raise ConfigError(
                f"lm_eval: tasks: {name}: asks whether greedy decoding would write a text, which is not defined for a model of "
                f"form {student.form}; use a multiple-choice or generating task"
            )


def _summary(found: Mapping[str, Any], model: str, forwards: int, tokens: int) -> Evaluation:
    samples = cast("Samples", found["samples"])
    metrics: dict[str, Estimate] = {}
    better: dict[str, Any] = {}
    first: dict[str, float] = {}
    for task, metric, kind, values in _values(samples):
        name = f"{task}/{metric}" if kind == "none" else f"{task}/{metric}/{kind}"
        metrics[name] = ratio(values, [1.0] * len(values))
        first.setdefault(task, metrics[name].value)
        higher = found["higher_is_better"].get(task, {}).get(metric)
        if higher is not None:
            better[name] = "higher" if higher else "lower"
    metrics |= _whole(found, metrics)
    metrics["average"] = Estimate(value=math.fsum(first.values()) / len(first)) if first else Estimate(value=math.nan)
    metrics["tokens_per_forward"] = Estimate(value=tokens / forwards if forwards else 0.0)
    if not math.isfinite(metrics["average"].value):
        del metrics["average"]
    elif all(way == "higher" for way in better.values()):
        better["average"] = "higher"
    return Evaluation(
        metrics=metrics,
        per_example=_per_example(samples),
        tables={"model": [{"sha256": model}], "answers": list(_answers(samples))},
        better=better,
    )


def _values(samples: Samples) -> Iterator[tuple[str, str, str, list[float]]]:
    """Yield task, metric, filter and the number of each example."""
    for task, rows in samples.items():
        for metric, kind in dict.fromkeys((m, row["filter"]) for row in rows for m in row["metrics"]):
            values = [row[metric] for row in rows if row["filter"] == kind]
            if all(isinstance(value, int | float) for value in values):
                yield task, metric, kind, [float(value) for value in values]


def _whole(found: Mapping[str, Any], known: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return metrics that only all examples together have, such as perplexities."""
    made: dict[str, Estimate] = {}
    for task, row in found["results"].items():
        for name, value in row.items():
            metric, _, kind = name.partition(",")
            full = f"{task}/{metric}" if kind == "none" else f"{task}/{metric}/{kind}"
            if kind and not metric.endswith("_stderr") and full not in known and isinstance(value, int | float):
                made[full] = Estimate(value=float(value))
    return made


def _per_example(samples: Samples) -> dict[str, list[float]]:
    """Return each metric's numbers in one order over all tasks, NaN at other tasks' examples."""
    places = [
        (task, row["doc_id"]) for task, rows in samples.items() for row in rows if row["filter"] == rows[0]["filter"]
    ]
    made: dict[str, list[float]] = {}
    for task, metric, kind, values in _values(samples):
        name = f"{task}/{metric}" if kind == "none" else f"{task}/{metric}/{kind}"
        ids = [row["doc_id"] for row in samples[task] if row["filter"] == kind]
        numbers = dict(zip(ids, values, strict=True))
        made[name] = [numbers[doc] if of == task else math.nan for of, doc in places]
    return made


def _answers(samples: Samples) -> Iterator[dict[str, float | str]]:
    for task, rows in samples.items():
        for row in rows:
            said = json.dumps(row["filtered_resps"], default=str)
            yield {
                "task": task,
                "example": row["doc_id"],
                "filter": row["filter"],
                "target": str(row["target"]),
                "answer": said,
            }
