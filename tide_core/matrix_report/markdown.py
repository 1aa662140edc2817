"""The report as Markdown: verdicts, tables of effects and ranks, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparing import Effect
from .ranking import Ranking
from .report import MetricReport, Report
from .verdict import Verdict, group_texts
from .wording import WORDS, difference_text, first_few, interval_text, number, probability, setting_text


def markdown(report: Report) -> str:
    """Return the summary."""
    blocks = [f"# {escaped(report.title)}", _facts(report)]
    for metric in report.metrics:
        blocks += list(_metric(report, metric))
    blocks += list(_unfinished(report))
    if report.undirected:
        names = ", ".join(f"`{name}`" for name in report.undirected)
        blocks += ["## Metrics that were not compared", f"Nobody said which way they are better: {names}."]
    return "\n\n".join(blocks) + "\n"


def _facts(report: Report) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items() if count)
    axes = "; ".join(f"{escaped(axis)}: {', '.join(map(escaped, labels))}" for axis, labels in report.labels.items())
    return "\n".join(
        [
            f"- Cells: {counts}.",
            f"- Axes: {axes}.",
            f"- Baseline: {escaped(report.axes.objective)} {escaped(report.baseline)}, with everything else the same "
            f"{'but ' + ', '.join(report.axes.teachers) if report.axes.teachers else ''}".rstrip()
            + ".",
        ]
    )


def _metric(report: Report, metric: MetricReport) -> Iterator[str]:
    yield f"## {escaped(metric.name)} ({metric.better} is better)"
    weighing = f" Documents are weighed by `{metric.weights}`." if metric.weights else ""
    yield (
        f"Differences from {escaped(report.baseline)}, with 95 % intervals. p is corrected for the number of comparisons "
        f"of this metric (Holm; {metric.compared}); {report.level} or less counts as evidence.{weighing}"
    )
    if metric.notes:
        yield "\n".join(f"- {escaped(note)}" for note in metric.notes)
    for verdict in metric.verdicts:
        yield _verdict(verdict)
    yield "### Effects"
    yield _table(EFFECT_COLUMNS, [_effect_row(one) for one in metric.effects])
    yield "### Ranks"
    yield from _ranks(metric.ranking)
    if metric.missing:
        yield f"### Finished cells without a number: {len(metric.missing)}"
        yield "\n".join(f"- `{one.cell}`: {escaped(one.reason)}" for one in metric.missing)


def _verdict(verdict: Verdict) -> str:
    lines = [f"**{escaped(verdict.objective)}.** {verdict.headline}", ""]
    for words, effects in verdict.groups:
        texts = group_texts(verdict, words, effects)
        lines.append(f"- {words[0].upper()}{words[1:]}: {first_few([escaped(text) for text in texts])}.")
    if verdict.mean is not None:
        lines.append(f"- Mean over the settings: {mean_text(verdict)}.")
    return "\n".join(lines)


def mean_text(verdict: Verdict) -> str:
    """Return the mean difference, and how far it moves when a label is left out."""
    parts = [
        f"from {number(one.lowest[1], sign=True)} (without {one.axis} {one.lowest[0]}) to "
        f"{number(one.highest[1], sign=True)} (without {one.axis} {one.highest[0]})"
        for one in verdict.left_out
    ]
    return "; ".join([number(verdict.mean, sign=True), *parts])


EFFECT_COLUMNS = (
    "objective",
    "setting",
    "value",
    "baseline",
    "difference",
    "95 % interval",
    "p",
    "outcome",
    "seeds",
    "documents",
)


def _effect_row(effect: Effect) -> list[str]:
    head = [effect.objective, setting_text(effect.setting)]
    if effect.interval is None:
        return [*head, "", "", "", "", "", WORDS[effect.outcome], "0", ""]
    return [
        *head,
        number(effect.value),
        number(effect.baseline),
        difference_text(effect.interval),
        interval_text(effect.interval) or "none",
        probability(effect.adjusted),
        WORDS[effect.outcome],
        str(len(effect.seeds)),
        str(effect.documents or ""),
    ]


def _ranks(found: Ranking) -> Iterator[str]:
    if found.ranks is None:
        yield f"Not ranked: {found.reason}."
    else:
        yield "\n".join(f"- {line}" for line in ranking_lines(found))
        columns = ["objective", "mean rank", "95 % interval", *(setting_text(one) for one in found.settings)]
        yield _table(columns, [rank_row(found, index) for index in rank_order(found)])
    if found.left_out or found.dropped:
        yield "Not ranked:"
        yield "\n".join(f"- {escaped(what)}: {escaped(why)}" for what, why in unranked(found))


def unranked(found: Ranking) -> list[tuple[str, str]]:
    """Return the objectives and settings that are not ranked, with what they lack."""
    settings = [(setting_text(setting), why) for setting, why in found.left_out.items()]
    return [*found.dropped.items(), *settings]


def ranking_lines(found: Ranking) -> list[str]:
    """Return what is to be said of the agreement of settings."""
    lines = [
        f"Kendall's tau, {one.name} ({one.pairs}): {number(one.tau)} ({number(one.span[0])} to {number(one.span[1])})."
        for one in found.agreements
    ]
    if found.w is None:
        lines.append("There is one setting, so that ranks cannot be compared.")
    else:
        lines.append(f"Kendall's W: {number(found.w)}.")
    if not found.seeds_resampled:
        lines.append("Some settings have fewer than 3 seeds: intervals of ranks are over documents only there.")
    return lines


def rank_order(found: Ranking) -> list[int]:
    """Return the objectives' places, best mean rank first."""
    return sorted(range(len(found.objectives)), key=lambda index: found.mean[index])


def rank_row(found: Ranking, index: int) -> list[str]:
    """Return an objective's row of the table of ranks."""
    low, high = found.span[index]
    own = [] if found.ranks is None else [f"{rank:g}" for rank in found.ranks[index]]
    return [found.objectives[index], f"{found.mean[index]:.2f}", f"{low:.2f} to {high:.2f}", *own]


def _unfinished(report: Report) -> Iterator[str]:
    if report.unfinished:
        yield f"## Cells that are not finished: {len(report.unfinished)}"
        yield _table(
            ("status", "reason", "cells"), [(*one[:2], first_few(one[2], ", ", " and")) for one in report.reasons]
        )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(escaped(cell) for cell in line) + " |" for line in lines)


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    for character in "\\`*_|<>[":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
