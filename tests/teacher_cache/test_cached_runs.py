"""A run that learns from a cache is the run that asks its teacher: losses, resume, packing, views, several teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cached_runs import build, student, teacher, train, with_cache, write

from tide_core.registry import Registry

PROJECTION = {"name": "vocabulary_projection", "top_k": 16}
DOCUMENTS = {"name": "python_stdlib", "max_length": 96, "max_examples": 12, "packing": True}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def both(folder: Path, registry: Registry, **sections: Any) -> tuple[dict[int, Any], dict[int, Any]]:
    """What a run logs that asks its teacher, and what the same run logs that learns from a cache."""
    live = write(folder / "live", **sections)
    build(live, folder / "cache", registry)
    return train(live, registry), train(with_cache(live, folder / "cache"), registry)


@pytest.mark.parametrize(
    "sections",
    [
        {"losses": ["cross_entropy", "calm", {"name": "reverse_calm", "temperature": 5}]},
        {"losses": ["bernoulli_kl"], "student": student(form="bidirectional", block_size=None)},
        {"losses": ["bernoulli_kl"], "teacher_view": "complementary", "timesteps": {"per": "block"}},
        {"losses": ["cross_entropy", "reverse_calm"], "teacher": teacher(form="autoregressive")},
        {"losses": ["bernoulli_kl"], "data": DOCUMENTS},
        {"losses": ["bernoulli_kl"], "corruption": "absorbing", "schedule": "cosine"},
    ],
    ids=["calm", "bidirectional", "complementary", "autoregressive", "packed", "cosine"],
)
def test_losses_on_likelihoods_are_the_same_to_the_last_bit(
    tmp_path: Path, registry: Registry, sections: dict[str, Any]
) -> None:
    live, cached = both(tmp_path, registry, **sections)
    assert len(live) == 10
    assert live == cached
