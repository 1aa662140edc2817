"""What a matrix file may hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, create_model

from tide_core.registry import Registry
from tide_core.settings import Settings
from tide_specs import Launcher

Filter = dict[str, Any]


class MatrixFile(Settings):
    """A matrix: one run, and the values that parts of it take in turn."""

    file_title: ClassVar[str] = "a matrix"

    base: str | dict[str, Any] = Field(description="the run that all cells start from: a run file, or its content")
    axes: dict[str, list[Any] | dict[str, Any]] = Field(
        min_length=1, description="axis -> its values; the cells are all combinations of one value of each axis"
    )
    derived: dict[str, str] = Field(
        default_factory=dict,
        description="field -> text in which {AXIS} stands for the cell's label: values that several axes make together",
    )
    include: tuple[Filter, ...] = Field(
        default=(), description="keep only the cells that one of these describes: axis -> label, or list of labels"
    )
    exclude: tuple[Filter, ...] = Field(
        default=(), description="leave out the cells that one of these describes: axis -> label, or list of labels"
    )
    workers: PositiveInt = Field(default=1, description="cells that run at once")
    threads: PositiveInt | None = Field(
        default=None, description="processor cores of a cell; default: those that there are, divided by workers"
    )
    launcher: Launcher = Field(default="local", validate_default=True, description="where cells run")  # type: ignore[assignment]
    retries: NonNegativeInt = Field(default=1, description="how often a cell whose process died is started again")
    flops_per_second: PositiveFloat | None = Field(
        default=None, description="what one worker computes, for the estimate of hours while no cell is finished"
    )
    output: str = Field(
        default="", description="the matrix' folder, from the current directory; default: runs/<name of the file>"
    )


@lru_cache(maxsize=4)
def build_matrix_model(registry: Registry) -> type[MatrixFile]:
    """Return ``MatrixFile`` whose ``launcher`` accepts the launchers of ``registry``."""
    info = MatrixFile.model_fields["launcher"]
    launcher: Any = (
        registry.annotation("launcher"),
        Field(default=info.default, validate_default=True, description=info.description),
    )
    return create_model("MatrixFile", __base__=MatrixFile, __doc__=MatrixFile.__doc__, launcher=launcher)
