"""Runs over two vocabularies that compare whole distributions where chunks begin."""

from __future__ import annotations

import math
from typing import Any

import pytest
from run_files import losses, write_run

from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run

MIXES: list[tuple[Any, list[Any]]] = [
    ("vocabulary_projection", ["cross_entropy", "projected_kl"]),
    (
        {"name": "vocabulary_projection", "tail": "left_out", "top_k": 16},
        ["tidal_cross_entropy", "reverse_calm", {"name": "projected_kl", "direction": "reverse"}],
    ),
    ("minimum_edit", ["cross_entropy", {"name": "projected_kl", "interpolated": True}]),
    ("ranked", ["cross_entropy", "uld"]),
]


@pytest.mark.parametrize(("alignment", "terms"), MIXES, ids=["projection", "top-k", "minimum-edit", "ranked"])
def test_a_run_learns_from_distributions(tmp_path, alignment, terms) -> None:
    registry = Registry.discover()
    path = write_run(tmp_path, alignment=alignment, losses=terms, training={"steps": 3})
    run(load_run(path, (), registry=registry).config, registry)
    logged = losses(tmp_path)
    names = {f"loss/{term if isinstance(term, str) else term['name']}" for term in terms}
    assert sorted(logged) == [1, 2, 3]
    for values in logged.values():
        assert names <= set(values)
        assert all(math.isfinite(value) for value in values.values())
        assert all(values[name] > 0 for name in names)
