"""The whole report as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tide_specs import Alignment, AlignmentError

from .figures import Vocabulary, figures, vocabularies
from .sides import Side
from .tables import Progress, Tables, tabulate
from .texts import Texts

if TYPE_CHECKING:
    from .teachers import Answered


@dataclass(frozen=True, kw_only=True)
class Report:
    """``data``: what ``--json`` prints; ``tables``: what it was counted from."""

    data: dict[str, Any]
    tables: Tables


def report(
    student: Side,
    teacher: Side,
    alignment: Alignment,
    texts: Texts,
    *,
    masking: float = 0.5,
    progress: Progress | None = None,
    asked: Callable[[Tables], Answered] | None = None,
) -> Report:
    """Encode the texts with both tokenizers, align them and count.

    ``masking``: the probability of the masking ratio, between 0 and 1. ``asked``: lets a teacher read what was aligned, which adds
    its figures. Raises ``AlignmentError`` when nothing is left to align.
    """
    tables = tabulate(texts.documents, student.tokenizer, teacher.tokenizer, alignment, progress)
    both = vocabularies(student.tokenizer.token_bytes(), teacher.tokenizer.token_bytes())
    total = figures(tables, both, masking)
    _require_overlap(total)
    data = {
        "student": _side(student, both[0]),
        "teacher": _side(teacher, both[1]),
        "alignment": alignment.model_dump(mode="json"),
        "text": {"source": texts.source, "cut": list(texts.cut)},
        "total": total,
        "domains": {name: figures(tables, both, masking, name) for name in _domains(tables)},
    }
    if asked is not None:
        _add_teacher(data, tables, asked(tables))
    return Report(data=data, tables=tables)


def _add_teacher(data: dict[str, Any], tables: Tables, answered: Answered) -> None:
    """Add how the teacher was asked as ``pass``, and its figures to every domain as ``teacher_pass``."""
    from .teacher_figures import teacher_figures

    data["pass"] = answered.how
    data["total"]["teacher_pass"] = teacher_figures(tables, answered.answers)
    for name, one in data["domains"].items():
        one["teacher_pass"] = teacher_figures(tables, answered.answers, name)


def _domains(tables: Tables) -> Sequence[str]:
    return list(dict.fromkeys(tables.domains))


def _side(side: Side, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "source": side.source,
        "describe": dict(side.tokenizer.describe()),
        "fingerprint": side.tokenizer.fingerprint(),
        "ids": side.tokenizer.vocabulary_size,
        "vocabulary_shared": vocabulary.share,
    }


def _require_overlap(total: dict[str, Any]) -> None:
    if total["chunks"]:
        return
    lost = {name: total["round_trip"][name]["lost"] or 0.0 for name in ("student", "teacher")}
    raise AlignmentError(
        "no chunk of the text can be compared: the two tokenizers share no token boundary in text that both keep "
        f"(lost: {lost['student']:.0%} by the student's, {lost['teacher']:.0%} by the teacher's); check that both tokenizers "
        "are meant for this text"
    )
