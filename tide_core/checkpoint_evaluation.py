"""The evaluators of a run on a student that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tide_core.assembly import build_accelerator, describer, load_model, load_tokenizers, prepare_split
from tide_core.evaluation import HeldOut, evaluate_all, writing_sampler
from tide_core.feeder import joiner
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Evaluation

Announce = Callable[[str], None]


def evaluate_student(
    config: RunConfig, registry: Registry, announce: Announce = lambda text: None
) -> Mapping[str, Evaluation]:
    """Evaluate ``config.student`` as a run of ``config`` would after its last step; evaluator -> result.

    The teacher loads only where an evaluator looks at it. ``announce`` is told what is going on. Raises the errors of
    ``tide_specs.errors``.
    """
    if not any(evaluator.uses_teacher for evaluator in config.evaluation):
        config = config.model_copy(update={"teacher": None})
    accelerator, describe = build_accelerator(config), describer(registry)
    tokenizers = load_tokenizers(config, describe)
    announce("preparing held-out data")
    data = prepare_split(config, "evaluation", tokenizers, Path(config.output).parent / ".tide-cache", describe)
    announce("loading models")
    teacher = load_model(config, "teacher", accelerator.device, describe) if config.teacher else None
    student = load_model(config, "student", accelerator.device, describe)
    held_out = HeldOut(
        dataset=config.data,
        data=data,
        join=joiner(student, teacher),
        seed=config.training.seed,
        device=accelerator.device,
        columns=tokenizers.columns,
        sampler=writing_sampler(config.student, registry, config.sampler),
    )
    announce("evaluating")
    return evaluate_all(config.evaluation, student, teacher, held_out, describe)
