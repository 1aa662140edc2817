"""What a run reads of a teacher, and why a cache may not be able to give it; known before anything loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Place
from tide_specs import DistributionLoss, FeatureLoss, Loss, SequentialTeacherView, TokenLoss

TOP_K_LOSSES = "top_k_kl, or projected_kl with alignment: {name: vocabulary_projection, top_k: 64}"


@dataclass(frozen=True)
class Obstacle:
    """Why no cache serves a run: where in the run, why, and what to do."""

    place: Place
    why: str
    remedy: str


def obstacles(config: RunConfig) -> Iterator[Obstacle]:
    """Yield what keeps any cache from standing in for the one teacher of ``config`` (an entry of ``RunConfig.lessons``)."""
    yield from dependent_times(config, "a cache repeats the noise of each sample")
    view = config.teacher_view
    if isinstance(view, SequentialTeacherView):
        yield Obstacle(
            ("teacher_view",),
            f"'{view.name}' shows the teacher what it wrote itself, so that it must run, and a cache has no model",
            "use teacher_view: plain or complementary, or name the teacher's model",
        )
    for index, loss in enumerate(config.losses):
        place = ("losses", index)
        if isinstance(loss, FeatureLoss):
            yield Obstacle(
                place,
                f"'{loss.name}' compares hidden states, and a cache holds none",
                "use a loss on likelihoods or on the most likely tokens, or name the teacher's model",
            )
        elif reads_all(config, loss):
            yield Obstacle(
                place,
                f"'{loss.name}' reads the teacher's whole distribution, and a cache holds its most likely tokens",
                f"use a loss that reads no more ({TOP_K_LOSSES}), or name the teacher's model",
            )


def dependent_times(config: RunConfig, why: str) -> Iterator[Obstacle]:
    """Yield an obstacle where the times of a sample depend on the batch that it is in."""
    sampling = config.timesteps.sampling
    if sampling != "independent":
        yield Obstacle(
            ("timesteps", "sampling"),
            f"{why}, and with {sampling} times the noise of a sample depends on the batch that it is in",
            "use  sampling: independent",
        )


def top_k_of(config: RunConfig, loss: Loss) -> int | None:
    """Return how many of the teacher's most likely tokens a loss reads: 0 for likelihoods alone, ``None`` for all."""
    if isinstance(loss, TokenLoss):
        return loss.reads_top_k
    if isinstance(loss, DistributionLoss):
        return config.alignment.reads_top_k
    return 0


def reads_all(config: RunConfig, loss: Loss) -> bool:
    """Whether a loss reads the teacher's whole distribution."""
    return top_k_of(config, loss) is None


def needed_top_k(config: RunConfig) -> int:
    """Return how many of the teacher's most likely tokens the losses of ``config`` read; 0: likelihoods suffice."""
    return max((top_k_of(config, loss) or 0 for loss in config.losses), default=0)
