"""The bundled datasets keep what the contract promises of any dataset."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest

from tide_plugins.datasets import HuggingFace, JsonLines, PythonStandardLibrary
from tide_specs import Dataset
from tide_specs.testing import checks_for

CHECKS = [check.name for check in checks_for(PythonStandardLibrary())]


@pytest.fixture(scope="module")
def bundled() -> Iterator[dict[str, Dataset]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.jsonl")
        path.write_text("\n".join(json.dumps({"prompt": f"q{n}", "response": f"a{n}"}) for n in range(200)))
        yield {
            "jsonl": JsonLines(path=str(path)),
            "huggingface": HuggingFace(path=str(path)),
            "python_stdlib": PythonStandardLibrary(max_examples=100),
        }


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["jsonl", "huggingface", "python_stdlib"])
def test_conformance(
    bundled: dict[str, Dataset], name: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    found = {one.name: one for one in checks_for(bundled[name])}
    found[check](bundled[name])
