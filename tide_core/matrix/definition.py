"""From a matrix file to its cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tide_core.compatibility import check_mix
from tide_core.config import validate_run
from tide_core.config_errors import explain_all
from tide_core.problems import Problem, RunFileError
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source, path_text, read_source
from tide_specs import ConfigError

from .axes import Setting, read_axes, settings_of
from .cell_source import Base, CellSource
from .cells import Cell, Matrix
from .filters import Combination, combinations
from .identity import Identities
from .schema import MatrixFile, build_matrix_model

LONGEST_NAME = 100
"""Characters of a cell's id; file systems take 255 bytes."""


@dataclass(frozen=True, kw_only=True)
class LoadedMatrix:
    """A valid matrix file: its cells, its options, and warnings about the cells' mixes."""

    matrix: Matrix
    options: MatrixFile
    warnings: Sequence[Problem]


def load_matrix(path: str | Path, *, registry: Registry) -> LoadedMatrix:
    """Read a matrix file and work out its cells; no model is loaded.

    Cells whose components do not work together are kept with their reasons. Raises ``RunFileError`` with everything
    that is wrong with the file, by line.
    """
    source = read_source(path)
    options = _options(source, registry)
    _require_base(source)
    axes, derived = read_axes(source)
    base = Base(source)
    chosen = combinations(axes, source)
    runs = _runs(base, source, chosen, derived, registry)
    directory = Path(options.output or Path("runs") / Path(path).stem)
    cells, warnings = _cells(chosen, runs, directory, registry)
    _require_different(cells, source)
    labels = {axis: tuple(value.label for value in values) for axis, values in axes.items()}
    record = options.model_dump(mode="json", serialize_as_any=True)
    matrix = Matrix(file=str(path), axes=labels, cells=cells, directory=directory, record=record)
    return LoadedMatrix(matrix=matrix, options=options, warnings=warnings)


def _options(source: Source, registry: Registry) -> MatrixFile:
    model = build_matrix_model(registry)
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        raise RunFileError(explain_all(error, source.data, registry, source=source, model=model)) from None


def _require_base(source: Source) -> None:
    given = source.data["base"]
    if isinstance(given, str) and not (source.directory / given).exists() and not Path(given).exists():
        where, line = source.where(("base",)), source.line(("base",)) or 0
        raise RunFileError([Problem(where=where, field="base", message=f"there is no run file '{given}'", line=line)])


def _runs(
    base: Base,
    matrix: Source,
    chosen: Iterable[Combination],
    derived: Sequence[Setting],
    registry: Registry,
) -> list[tuple[RunConfig, CellSource]]:
    """Validate every cell's run; what is wrong with several of them is said once."""
    runs: list[tuple[RunConfig, CellSource]] = []
    problems: dict[str, Problem] = {}
    for combination in chosen:
        try:
            source = CellSource(base, matrix, settings_of(combination, derived))
            runs.append((validate_run(source, registry), source))
        except RunFileError as error:
            problems |= {str(problem): problem for problem in error.problems}
        except ConfigError as error:
            problems[str(error)] = Problem(where="", field="", message=str(error))
    if problems:
        raise RunFileError(list(problems.values()))
    return runs


def _cells(
    chosen: Sequence[Combination],
    runs: Sequence[tuple[RunConfig, CellSource]],
    directory: Path,
    registry: Registry,
) -> tuple[list[Cell], list[Problem]]:
    identities = Identities(registry)
    cells: list[Cell] = []
    warnings: dict[str, Problem] = {}
    names: set[str] = set()
    for combination, (config, source) in zip(chosen, runs, strict=True):
        labels = {axis: value.label for axis, value in combination.items()}
        found = [*check_mix(config, registry, source), *_several_runs(config, source)]
        errors = [problem for problem in found if problem.severity == "error"]
        warnings |= {str(problem): problem for problem in found if problem.severity == "warning"}
        name = _free_name(labels.values(), names)
        identity = identities.of(config, source, data=not errors)
        folder = directory / "cells" / f"{name}-{identity[:8]}"
        cells.append(
            Cell(
                id=name,
                labels=labels,
                config=config.model_copy(update={"output": str(folder)}),
                source=source,
                identity=identity,
                directory=folder,
                problems=errors,
            )
        )
    return cells, list(warnings.values())


def _several_runs(config: RunConfig, source: CellSource) -> list[Problem]:
    """A cell is one run: its numbers come from one log, and its costs are those of one objective."""
    if config.recipe is None:
        return []
    place = ("recipe",)
    message = f"recipe '{config.recipe.name}' is several runs, and a cell of a matrix is one"
    hint = "tide run  the recipe, and give the models that it made to the matrix"
    return [
        Problem(where=source.where(place), field="recipe", message=message, hints=(hint,), line=source.line(place) or 0)
    ]


def _free_name(labels: Iterable[str], taken: set[str]) -> str:
    """Return a cell's id: its labels, in characters that every file system takes."""
    name = "--".join(re.sub(r"[^A-Za-z0-9._+=-]+", "_", label).strip("_") or "_" for label in labels)[:LONGEST_NAME]
    free, number = name, 1
    while free.lower() in taken:
        number += 1
        free = f"{name}~{number}"
    taken.add(free.lower())
    return free


def _require_different(cells: Sequence[Cell], source: Source) -> None:
    """Two cells that run the same are one too many."""
    seen: dict[str, Cell] = {}
    problems: list[Problem] = []
    for cell in cells:
        first = seen.setdefault(cell.identity, cell)
        if first is not cell:
            axes = [axis for axis, label in cell.labels.items() if first.labels[axis] != label]
            place = ("axes", axes[0])
            message = (
                f"cells '{first.id}' and '{cell.id}' are the same run: what {_spelled(axes)} sets makes no difference; "
                "change a value, or leave one of them out with exclude"
            )
            where, line = source.where(place), source.line(place) or 0
            problems.append(Problem(where=where, field=path_text(place), message=message, line=line))
    if problems:
        raise RunFileError(problems)


def _spelled(axes: Sequence[str]) -> str:
    return " and ".join(f"axis '{axis}'" for axis in axes)
