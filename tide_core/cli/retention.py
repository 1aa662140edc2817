"""The tables of ``tide evaluate --retention``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from tide_specs import Evaluation

    from ..registry import Registry
    from ..retention import Costs, Retained
    from ..run_schema import RunConfig

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Retention:
    """A student beside one of its teachers."""

    title: str
    scores: Sequence[Retained]
    costs: Costs

    def record(self) -> dict[str, Any]:
        """Return plain data."""
        from ..retention import record

        return {"teacher": self.title, **record(self.scores, self.costs)}

    def print(self, out: Console) -> None:
        """Print scores, and what they cost."""
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=None, pad_edge=False, header_style="bold", title=Text(f"kept of {self.title}"), title_justify="left"
        )
        columns = (
            "evaluator",
            "metric",
            "student",
            "teacher",
            "kept",
            "95 % interval",
            "kept x memory",
            "kept x speed",
        )
        for column in columns:
            table.add_column(column, justify="left" if column in {"evaluator", "metric", "95 % interval"} else "right")
        for score in self.scores:
            table.add_row(Text(score.evaluator), Text(score.metric), *_cells(score))
        out.print()
        out.print(table)
        for line in self.sentences():
            out.print(Text(line))

    def sentences(self) -> list[str]:
        """Return what both cost in words."""
        ours, theirs = self.costs.student, self.costs.teacher
        return [
            f"memory: {_mib(ours.bytes)} against {_mib(theirs.bytes)}, {_times(self.costs.memory)} less",
            f"latency of {theirs.new_tokens} tokens: {ours.seconds:.3g} s against {theirs.seconds:.3g} s, "
            f"{_times(self.costs.latency)} faster for each token (medians, batch 1)",
        ]


def retentions(
    config: RunConfig,
    registry: Registry,
    plugins: Sequence[str],
    student: Mapping[str, Evaluation],
    new_tokens: int,
    repetitions: int,
    announce: Callable[[str], None],
) -> list[Retention]:
    """Evaluate each teacher of the run, measure both, and compare."""
    from ..retention import evaluate_teacher, measure_costs, retained

    found: list[Retention] = []
    for number, view in enumerate(config.lessons(), 1):
        teacher = evaluate_teacher(view, registry, announce)
        costs = measure_costs(
            view, registry, plugins, new_tokens=new_tokens, repetitions=repetitions, announce=announce
        )
        name = str(getattr(view.teacher, "model", None) or view.teacher.name) if view.teacher else ""
        title = f"teacher {number}, {name}" if len(config.lessons()) > 1 else f"the teacher, {name}"
        found.append(Retention(title=title, scores=retained(student, teacher, costs), costs=costs))
    return found


def _cells(score: Retained) -> list[str]:
    known = score.low is not None and score.high is not None
    return [
        f"{score.student:.4f}",
        f"{score.teacher:.4f}",
        f"{score.share:.1%}",
        f"{score.low:.1%} to {score.high:.1%}" if known else "",
        _times(score.per_memory),
        _times(score.per_latency),
    ]


def _times(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}x"


def _mib(value: int | None) -> str:
    return "unknown" if value is None else f"{value / MIB:.1f} MiB"
