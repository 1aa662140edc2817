"""Teacher views: what the teacher gets to see of the masked text."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import TeacherView, hookimpl

from .complementary import Complementary
from .nested import Nested
from .plain import Plain
from .sampler_steps import SamplerSteps


@hookimpl
def tide_teacher_views() -> Sequence[type[TeacherView]]:
    """Contribute the bundled teacher views."""
    return [Plain, Complementary, Nested, SamplerSteps]
