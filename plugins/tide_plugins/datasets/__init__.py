"""Datasets: where examples come from."""

from __future__ import annotations

from tide_specs import Dataset, hookimpl

from .python_stdlib import PythonStandardLibrary

__all__ = ["PythonStandardLibrary"]


@hookimpl
def tide_datasets() -> list[type[Dataset]]:
    """Contribute the bundled datasets."""
    return [PythonStandardLibrary]
