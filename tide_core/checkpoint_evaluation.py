"""The evaluators of a run on a student that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tide_core.assembly import build_accelerator, describer, load_all_tokenizers, load_model, prepare_for_all
from tide_core.evaluation import evaluate_all
from tide_core.held_out import held_out_seats
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
        config = config.model_copy(update={"teacher": None, "teachers": ()})
    accelerator, describe = build_accelerator(config), describer(registry)
    tokenizers = load_all_tokenizers(config, describe)
    announce("preparing held-out data")
    data = prepare_for_all(config, "evaluation", tokenizers, Path(config.output).parent / ".tide-cache", describe)
    announce("loading models")
    device = accelerator.device
    teachers = [load_model(view, "teacher", device, describe) for view in config.lessons()]
    student = load_model(config, "student", device, describe)
    announce("evaluating")
    seats = held_out_seats(config, data, tokenizers, student, teachers, device, registry)
    return evaluate_all(config.evaluation, student, seats, describe)
