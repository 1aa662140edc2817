"""From a run with a recipe to the runs of its stages, and which line of the run file each part of them comes from."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tide_core.config import config_record, validate_run
from tide_core.matrix.cell_source import with_paths
from tide_core.overrides import parse_path, put
from tide_core.problems import Problem, RunFileError
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Place, Source
from tide_specs import Architecture, PluginError, Recipe, Stage

RECIPE: Place = ("recipe",)
SEED: Place = ("training", "seed")


@dataclass(frozen=True, kw_only=True)
class StagedRun:
    """One stage as a run of its own; source: where in the run file its parts come from."""

    stage: Stage
    config: RunConfig
    source: Source


class StageSource(Source):
    """The parts of a stage's run: what the stage changes stands in the recipe, the rest where it always stood."""

    def __init__(self, base: Source, data: dict[str, Any], number: int) -> None:
        super().__init__(base.file, data=data)
        self._base, self._number = base, number
        self.overridden = dict(base.overridden)
        self._changed: dict[Place, Place] = {}

    def changed(self, place: Place, path: str) -> None:
        """Remember that the stage changes ``place``, which its recipe writes as ``path``."""
        self._changed[place] = (*RECIPE, "stages", self._number, "changes", path)

    def line(self, place: Sequence[str | int]) -> int | None:
        """Return the line of a part of the stage's run."""
        return self._base.line(self._find(tuple(place)))

    def where(self, place: Sequence[str | int]) -> str:
        """Return file and line of a part of the stage's run, or the override that supplied it."""
        return self._base.where(self._find(tuple(place)))

    def _find(self, place: Place) -> Place:
        for length in range(len(place), 0, -1):
            if place[:length] in self._changed:
                return self._changed[place[:length]]
        inside = [there for changed, there in self._changed.items() if place and changed[: len(place)] == place]
        return inside[0] if inside else place


def stages_of(recipe: Recipe) -> list[Stage]:
    """Ask a recipe for its stages. Raises ``PluginError`` when they do not follow from one another."""
    stages, known = list(recipe.compose()), list[str]()
    if not stages:
        raise PluginError(f"recipe '{recipe.name}' has no stages")
    for stage in stages:
        if stage.name in known:
            raise PluginError(f"recipe '{recipe.name}' has two stages called '{stage.name}'")
        for source in (stage.student, stage.teacher):
            if source is not None and source not in known:
                raise PluginError(
                    f"recipe '{recipe.name}': stage '{stage.name}' takes a model from '{source}', which is no earlier stage"
                )
        known.append(stage.name)
    return stages


def folder_of(config: RunConfig, name: str) -> Path:
    """The folder of a stage's run."""
    return Path(config.output) / name


def all_staged(config: RunConfig, registry: Registry, source: Source | None = None) -> list[StagedRun]:
    """Return every stage as it will run, but for the weights, which are there only when earlier stages are done.

    Raises ``RunFileError`` with what is wrong with the first stage that is no valid run.
    """
    assert config.recipe is not None
    found: list[StagedRun] = []
    models: dict[str, Architecture] = {}
    for number, stage in enumerate(stages_of(config.recipe)):
        found.append(staged_run(config, stage, number, models, registry, source))
        models[stage.name] = found[-1].config.student
    return found


def staged_run(
    config: RunConfig,
    stage: Stage,
    number: int,
    models: Mapping[str, Architecture],
    registry: Registry,
    source: Source | None = None,
) -> StagedRun:
    """Return stage ``number`` as a run; ``models``: the students of earlier stages. Raises ``RunFileError``."""
    base = source if source is not None else Source("recorded run")
    data = config_record(config)
    data.update(recipe=None, output=str(folder_of(config, stage.name)))
    data["training"]["seed"] += number  # the same noise in every round would teach the same texts again
    here = StageSource(base, data, number)
    for path, value in stage.changes.items():
        origin = f"{base.where(RECIPE)}: recipe: stage '{stage.name}'"
        place = parse_path(path, origin)
        put(data, place, with_paths(place, copy.deepcopy(value), base.directory), origin)
        here.changed(place, path)
    for role, name in (("student", stage.student), ("teacher", stage.teacher)):
        if name is not None:
            data[role] = models[name].model_dump(mode="json", serialize_as_any=True)
    try:
        run = validate_run(here, registry)
    except RunFileError as error:
        raise RunFileError([of_stage(problem, stage) for problem in error.problems]) from None
    return StagedRun(stage=stage, config=run, source=here)


def of_stage(problem: Problem, stage: Stage) -> Problem:
    """Say in which stage a problem arises."""
    return replace(problem, message=f"in stage '{stage.name}': {problem.message}")
