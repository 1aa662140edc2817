"""The figures of a teacher's pass in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .lines import Figure


def how_asked(how: Mapping[str, Any]) -> str:
    """Say how the teacher read the text."""
    rows = f"in rows of at most {how['length']:,} tokens"
    if how["masking"] is None:
        return f"{how['model']}, {how['form']}: every token given the text before it, {rows}"
    return (
        f"{how['model']}, {how['form']}: {how['masking']:.0%} of the chunks hidden at once (seed {how['seed']}), {rows}; "
        "figures count hidden chunks only"
    )


def teacher_groups(how: Mapping[str, Any]) -> dict[str, list[Figure]]:
    """Return the groups of figures that a teacher's pass adds."""
    return {
        "teacher's pass": [
            _figure("chunks asked", "chunks that the teacher was asked about", "chunks"),
            _figure("log-likelihood", "mean log-likelihood of a chunk, in nats", "log_likelihood"),
        ],
        "teacher's mass kept": _kept(how),
        "projection": _projection(how),
        "undershoot": _undershoot(how),
        "gradient vanishes": _vanishing(how),
    }


def _figure(label: str, meaning: str, *place: str, digits: int = 3) -> Figure:
    return Figure(label, meaning, ("teacher_pass", *place), digits)


def _kept(how: Mapping[str, Any]) -> list[Figure]:
    return [
        _figure("mass m", "probability that the teacher gives to tokens that the student has too", "covered", "mass"),
        _figure(
            "-log m",
            f"mean of it, in nats; m below {how['floor']:g} counts as that",
            "covered",
            "minus_log",
        ),
        _figure("m < 0.5", "share of chunks where most of it is dropped", "covered", "below_half", digits=4),
        _figure("top-1", "share of chunks whose most likely teacher token the student has too", "covered", "top1_kept"),
        _figure(
            "dropped entropy",
            "entropy among the dropped tokens times their mass, in nats: what one common tail forgets",
            "covered",
            "dropped_entropy",
        ),
    ]


def _projection(how: Mapping[str, Any]) -> list[Figure]:
    name = how["projection"]["name"]
    return [
        _figure("entropy", "of the teacher where chunks begin, in nats", "entropy", "teacher"),
        _figure("projected", f"the same after {name}", "entropy", "projected"),
        _figure("lost, %", "of the teacher's entropy that the projection loses", "entropy", "lost_percent", digits=2),
    ]


def _undershoot(how: Mapping[str, Any]) -> list[Figure]:
    return [
        _figure("chunks", "share of chunks with one student and several teacher tokens", "undershoot", "chunks"),
        _figure(
            "log mass",
            f"on such chunks: mean log of the projected mass on the student's token (at least {how['floor']:g})",
            "undershoot",
            "log_mass_before",
        ),
        _figure("corrected", "the same once the chunk's likelihood is moved to it", "undershoot", "log_mass_after"),
        _figure("log-likelihood", "mean log-likelihood of such a chunk", "undershoot", "log_likelihood"),
    ]


def _vanishing(how: Mapping[str, Any]) -> list[Figure]:
    less = f"share of chunks that pull on an untaught student less than {how['vanishing']:g} times as hard as cross-entropy"
    return [
        _figure("CALM, T = 1", f"{less}, under CALM", "vanishing", "calm_1"),
        _figure("CALM, T = 2", "the same at T = 2", "vanishing", "calm_2"),
        _figure("projected KL", "the same under the forward KL to the projection", "vanishing", "projected"),
        _figure("corrected KL", "the same with undershoot corrected", "vanishing", "corrected"),
    ]
