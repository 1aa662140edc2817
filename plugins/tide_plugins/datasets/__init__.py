"""Datasets: where examples come from."""

from __future__ import annotations

from tide_specs import Dataset, hookimpl

from .huggingface import HuggingFace
from .jsonl import JsonLines
from .python_stdlib import PythonStandardLibrary

__all__ = ["HuggingFace", "JsonLines", "PythonStandardLibrary"]


@hookimpl
def tide_datasets() -> list[type[Dataset]]:
    """Contribute the bundled datasets."""
    return [HuggingFace, JsonLines, PythonStandardLibrary]
