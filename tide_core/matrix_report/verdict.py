"""What the effects of one objective come to, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .comparing import Effect, Outcome
from .options import Axes
from .readings import Setting
from .wording import difference_text, interval_text, setting_text, settings_text

GROUPS: tuple[tuple[Outcome, str], ...] = (
    ("better", "helps"),
    ("worse", "hurts"),
    ("unclear", "evidence does not suffice"),
    ("few seeds", "too few seeds to say"),
    ("missing", "not measured"),
    ("impossible", "impossible"),
)
WITHOUT_NUMBERS = ("not measured", "impossible")
"""Groups whose members differ in what kept them from being measured alone."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The mean difference over settings when all those of one label are left out, for the labels that matter most."""

    axis: str
    lowest: tuple[str, float]
    highest: tuple[str, float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One objective. groups: outcome in words -> its effects, in the order of ``GROUPS``, empty ones left out.

    mean: difference averaged over the measured settings; left_out: how it depends on single teachers, students, ...
    """

    objective: str
    headline: str
    groups: tuple[tuple[str, tuple[Effect, ...]], ...]
    mean: float | None
    left_out: tuple[LeftOut, ...]


def verdict(objective: str, effects: Sequence[Effect], axes: Axes) -> Verdict:
    """Return the verdict on one objective."""
    own = [one for one in effects if one.objective == objective]
    groups = [(words, tuple(one for one in own if one.outcome == outcome)) for outcome, words in GROUPS]
    measured = [one for one in own if one.interval is not None]
    return Verdict(
        objective=objective,
        headline=headline(own),
        groups=tuple((words, found) for words, found in groups if found),
        mean=_mean(measured) if measured else None,
        left_out=tuple(found for axis in axes.setting if (found := _left_out(measured, axis))),
    )


def headline(effects: Sequence[Effect]) -> str:
    """Return the sentence that answers whether the objective generalises over the settings of this matrix."""
    count: dict[Outcome, int] = {outcome: sum(one.outcome == outcome for one in effects) for outcome, _ in GROUPS}
    whole = len(effects)
    told = ", ".join(f"{words} in {count[outcome]}" for outcome, words in GROUPS if count[outcome])
    return f"{_judgement(count, whole)} Of {whole} {'setting' if whole == 1 else 'settings'}: {told}."


def _judgement(count: dict[Outcome, int], whole: int) -> str:
    possible = whole - count["impossible"]
    every = "every setting" if possible == whole else "every setting in which it is possible"
    if not possible:
        return "Works with no setting of this matrix."
    if count["missing"] == possible:
        return "Nothing was measured."
    if count["better"] == possible:
        return f"Helps in {every}."
    if count["worse"] == possible:
        return f"Hurts in {every}."
    if count["better"] and count["worse"]:
        return "Does not generalise: it helps in some settings and hurts in others."
    if count["better"]:
        return "Helps in some settings; that it helps in the others is not shown."
    if count["worse"]:
        return "Hurts in some settings, and is not shown to help in any."
    return "Not enough evidence that it helps or hurts in any setting."


def effect_text(effect: Effect) -> str:
    """Return a measured effect as a phrase that names its setting."""
    assert effect.interval is not None
    where = f"{setting_text(effect.setting)}: {difference_text(effect.interval)}"
    between = interval_text(effect.interval)
    return f"{where} ({between})" if between else where


def reason_texts(effects: Sequence[Effect], among: Sequence[Effect]) -> list[str]:
    """Return why effects were not measured, each reason once with its settings.

    among: all effects of the objective, so that a whole row of settings can be said in few words.
    """
    settings: dict[str, list[Setting]] = {}
    for one in effects:
        reason = lacking_text(one)
        if one.outcome == "impossible":
            reason = reason.removeprefix("impossible: ")  # as the group says already
        settings.setdefault(reason, []).append(one.setting)
    every = [one.setting for one in among]
    return [f"{settings_text(found, every)}: {reason}" for reason, found in settings.items()]


def group_texts(verdict: Verdict, words: str, effects: Sequence[Effect]) -> list[str]:
    """Return the lines of one group of a verdict."""
    if words not in WITHOUT_NUMBERS:
        return [effect_text(one) for one in effects]
    return reason_texts(effects, [one for _, found in verdict.groups for one in found])


def lacking_text(effect: Effect) -> str:
    """Return why seeds are missing; seeds with one reason together, and unnamed where it is that of all."""
    seeds: dict[str, list[str]] = {}
    for one in effect.lacking:
        seeds.setdefault(one.reason, []).append(one.seed)
    if len(seeds) == 1 and not effect.seeds:
        return next(iter(seeds))
    return "; ".join(f"{reason} ({_seeds_text(found)})" for reason, found in seeds.items())


def _seeds_text(seeds: Sequence[str]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"


def _mean(effects: Sequence[Effect]) -> float:
    return sum(one.interval.value for one in effects if one.interval is not None) / len(effects)


def _left_out(effects: Sequence[Effect], axis: str) -> LeftOut | None:
    labels = list(dict.fromkeys(dict(one.setting)[axis] for one in effects))
    if len(labels) < 2:
        return None
    means = [(label, _mean([one for one in effects if dict(one.setting)[axis] != label])) for label in labels]
    lowest, highest = min(means, key=lambda item: item[1]), max(means, key=lambda item: item[1])
    return LeftOut(axis=axis, lowest=lowest, highest=highest)
