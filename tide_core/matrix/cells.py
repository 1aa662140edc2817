"""The cells of a matrix: what each one runs, or why it cannot. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tide_core.problems import Problem
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a matrix.

    id: its labels, readable and unique in the matrix; labels: axis -> label; config: its run, whose ``output`` is
    ``directory``; identity: hash of everything that its numbers depend on; problems: why it is impossible, empty when
    it is not.
    """

    id: str
    labels: Mapping[str, str]
    config: RunConfig
    source: Source
    identity: str
    directory: Path
    problems: Sequence[Problem] = ()

    @property
    def possible(self) -> bool:
        """Whether the components of this cell work together."""
        return not self.problems

    @property
    def reason(self) -> str:
        """Why the cell is impossible: one sentence for each problem, without the place in the file."""
        return "; ".join(f"{problem.field}: {problem.message.splitlines()[0]}" for problem in self.problems)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A valid matrix file. axes: axis -> its labels, in the order of the file; cells: all that the filters keep.

    directory: where everything is kept; record: the file's content as plain data.
    """

    file: str
    axes: Mapping[str, Sequence[str]]
    cells: Sequence[Cell]
    directory: Path
    record: Mapping[str, Any]
