"""A run that learns from a cache is the run that asks its teacher: losses, resume, packing, views, several teachers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cached_runs import OWN, build, load, logged, student, teacher, train, with_cache, write

from tide_core.registry import Registry
from tide_core.run import run
from tide_plugins.architectures.adapter.denoiser import TransformersDenoiser

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


@pytest.mark.parametrize(
    "sections",
    [
        {
            "teacher": teacher(tokenizer_from=OWN),
            "alignment": "shared_vocabulary",
            "losses": [{"name": "top_k_kl", "k": 8}, {"name": "top_k_kl", "k": 20, "direction": "reverse"}],
        },
        {"alignment": PROJECTION, "losses": ["projected_kl", "bernoulli_kl"]},
        {"alignment": {"name": "ranked", "top_k": 12}, "losses": ["cross_entropy", "uld"]},
    ],
    ids=["top_k_kl", "projected", "ranked"],
)
def test_losses_on_the_most_likely_tokens_are_the_same_but_for_rounding(
    tmp_path: Path, registry: Registry, sections: dict[str, Any]
) -> None:
    live, cached = both(tmp_path, registry, **sections)
    for step, terms in live.items():
        # After the first step rounding goes through the weights as well.
        assert cached[step] == pytest.approx(terms, rel=1e-5 if step == 1 else 1e-3, abs=1e-6)


def test_in_batches_too_losses_are_those_of_the_run_that_asks(tmp_path: Path, registry: Registry) -> None:
    live, cached = both(tmp_path, registry, losses=["bernoulli_kl"], training={"batch_size": 3, "accumulate": 2})
    for step, terms in live.items():
        assert cached[step] == pytest.approx(terms, rel=1e-4)


def test_a_cached_run_resumes_exactly(tmp_path: Path, registry: Registry) -> None:
    live = write(tmp_path / "live", losses=["cross_entropy", "bernoulli_kl"], training={"batch_size": 2})
    build(live, tmp_path / "cache", registry)
    whole = train(with_cache(live, tmp_path / "cache", "whole"), registry)
    parts = with_cache(live, tmp_path / "cache", "parts", checkpoint_every=5, keep_checkpoints=9)
    train(parts, registry)
    shutil.rmtree(tmp_path / "parts" / "out" / "checkpoints" / "step-000010")
    assert train(parts, registry) == whole


def test_the_cache_says_how_often_the_noise_repeats_and_fewer_draws_are_fine(
    tmp_path: Path, registry: Registry
) -> None:
    live = write(tmp_path / "live", losses=["bernoulli_kl"], training={"noise_draws": 1})
    build(live, tmp_path / "cache", registry)
    two = train(with_cache(live, tmp_path / "cache", "two"), registry)
    one = train(with_cache(live, tmp_path / "cache", "one", noise_draws=1), registry)
    assert one == train(live, registry)
    assert one != two


def two_teachers() -> dict[str, Any]:
    first = {"teacher": teacher(), "losses": ["bernoulli_kl"], "weighting": "by_confidence"}
    second = {
        "teacher": teacher(tokenizer_from=OWN),
        "alignment": "shared_vocabulary",
        "losses": ["bernoulli_kl", "hidden_state"],
        "weighting": "by_confidence",
    }
    return {"teacher": None, "teachers": [first, second], "losses": ["cross_entropy"]}


def test_one_of_several_teachers_may_be_a_cache(tmp_path: Path, registry: Registry) -> None:
    live = write(tmp_path / "live", **two_teachers())
    build(live, tmp_path / "cache", registry, teacher=0)
    mixed = with_cache(live, tmp_path / "cache", number=0)
    assert load(mixed, registry).config.teachers[0].teacher.cache_path == str(tmp_path / "cache")
    assert train(mixed, registry) == train(live, registry)


def test_ten_epochs_from_two_draws_need_a_fifth_of_the_teacher(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    hidden_views = TransformersDenoiser.hidden_views

    def counted(self: TransformersDenoiser, noised: Any, *sides: Any) -> Any:
        asked.append(noised.shape[1])
        return hidden_views(self, noised, *sides)

    monkeypatch.setattr(TransformersDenoiser, "hidden_views", counted)
    live = write(tmp_path / "live", losses=["bernoulli_kl"], training={"batch_size": 2})
    built = build(live, tmp_path / "cache", registry)
    rows = built.identity.samples
    assert rows % 2 == 0
    assert (len(asked), sum(asked)) == (built.forwards, built.rows) == (rows, 2 * rows)
    asked.clear()
    epochs = {"training.steps": 10 * rows // 2}
    overrides = [f"{key}={value}" for key, value in epochs.items()]
    train(with_cache(live, tmp_path / "cache"), registry, overrides)
    assert asked == [], "a run that learns from a cache asks no teacher"
    train(live, registry, overrides)
    assert (len(asked), sum(asked)) == (5 * built.forwards, 5 * built.rows)


def test_a_student_from_a_cache_is_evaluated_on_held_out_text(tmp_path: Path, registry: Registry) -> None:
    live = write(tmp_path / "live", losses=["bernoulli_kl"], evaluation=["bits_per_byte"])
    build(live, tmp_path / "cache", registry)
    outcome = run(load(with_cache(live, tmp_path / "cache"), registry).config, registry)
    assert set(outcome.evaluations) == {"bits_per_byte"}
    assert logged(tmp_path / "cached" / "run.yaml")
