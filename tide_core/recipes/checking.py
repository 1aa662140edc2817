"""Whether every stage of a recipe is a run that can work, found out before the first one begins."""

from __future__ import annotations

from collections.abc import Iterator

from tide_core.compatibility import check_mix
from tide_core.problems import Problem, RunFileError
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source
from tide_specs import TideError

from .staging import RECIPE, StagedRun, all_staged, of_stage


def check_stages(config: RunConfig, registry: Registry, source: Source) -> list[Problem]:
    """Return what speaks against any stage; what all of them have in common is said once, of the first."""
    try:
        staged = all_staged(config, registry, source)
    except RunFileError as error:
        return list(error.problems)
    except TideError as error:
        line = source.line(RECIPE) or 0
        return [Problem(where=source.where(RECIPE), field="recipe", message=str(error), line=line)]
    found: dict[Problem, Problem] = {}
    for one in staged:
        for problem in _of_one(one, registry):
            found.setdefault(problem, of_stage(problem, one.stage))
    return sorted(found.values(), key=lambda problem: problem.line)


def _of_one(one: StagedRun, registry: Registry) -> Iterator[Problem]:
    for problem in check_mix(one.config, registry, one.source):
        # The model that an earlier stage will have saved stands in as it was before training: what makes a student of it
        # (adapters) is no fault of the teacher that is read from the disk.
        if problem.field == "teacher" and one.stage.teacher is not None:
            continue
        yield problem
