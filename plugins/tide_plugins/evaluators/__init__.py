"""Bundled evaluators: how well a student models text, what it can do, and how far it is from its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Evaluator, hookimpl

from .bits_per_byte import BitsPerByte
from .code import Code
from .generation import Generation
from .harness import LmEval
from .teacher_divergence import TeacherDivergence


@hookimpl
def tide_evaluators() -> Sequence[type[Evaluator]]:
    """Contribute the bundled evaluators."""
    return [BitsPerByte, Code, Generation, LmEval, TeacherDivergence]
