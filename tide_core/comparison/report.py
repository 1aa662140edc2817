"""From runs to the comparison."""

from __future__ import annotations

from collections.abc import Sequence

from tide_core.registry import did_you_mean
from tide_specs import ConfigError

from .costs import cost_lines, equal_costs
from .documents import require_same_documents
from .lines import Comparison, Equality
from .measured import compare_scores
from .runs import FoundRun
from .sampling import Sampled
from .traits import equal_traits, trait_lines


def ordered(runs: Sequence[FoundRun], baseline: str | None) -> list[FoundRun]:
    """Return the baseline first. Raises ``ConfigError`` when there is nothing to compare, or no such run."""
    if len(runs) < 2:
        raise ConfigError(
            f"{runs[0].label if runs else 'nothing'}: one run alone cannot be compared; name a second one"
        )
    if baseline is None:
        return list(runs)
    labels = [run.label for run in runs]
    if baseline not in labels:
        raise ConfigError(
            f"--baseline {baseline}: is none of the runs{did_you_mean(baseline, labels)}: {', '.join(labels)}"
        )
    return sorted(runs, key=lambda run: run.label != baseline)


def build_comparison(runs: Sequence[FoundRun], sampled: Sampled | None = None) -> Comparison:
    """Compare runs with the first of them. ``sampled``: what they and their teachers wrote.

    Raises ``ConfigError`` when their held-out documents differ, and when nothing was measured of two of them.
    """
    require_same_documents(runs)
    scores = compare_scores(runs, required=sampled is None)
    labels = [run.label for run in runs]
    equal: list[Equality] = [*equal_costs(runs), *equal_traits(runs)]
    if sampled is not None:
        equal += sampled.equal
    return Comparison(
        baseline=labels[0],
        columns=[*labels, *(sampled.teachers if sampled else ())],
        lines=[*scores.lines, *(sampled.lines if sampled else ()), *trait_lines(runs), *cost_lines(runs)],
        equal=equal,
        notes=[*scores.notes, *(sampled.notes if sampled else ())],
    )
