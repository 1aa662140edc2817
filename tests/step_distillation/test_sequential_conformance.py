"""Views with sub-steps are held to the kit with options at which they reveal much, and the kit sees what is wrong."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from tide_plugins.teacher_views import Plain, SamplerSteps
from tide_specs import Component, SequentialTeacherView
from tide_specs.testing import parametrize_with_checks
from tide_specs.testing.catalogue import checks_for
from tide_specs.testing.outcome import CheckFailed, CheckSkipped

VIEWS = [
    SamplerSteps(step=0.1, sub_steps=4),
    SamplerSteps(step=0.3),
    SamplerSteps(step=0.2, grid="published"),
]


@parametrize_with_checks(VIEWS)
def test_sampler_steps_conforms(component: Component, check: Any) -> None:
    check(component)


class Visible(SequentialTeacherView):
    """Reveals what stands there already."""

    name: Literal["visible"] = "visible"

    def reveal(self, step, side, masked, t, schedule, draws):
        return ~masked


class Torn(SequentialTeacherView):
    """Reveals single tokens."""

    name: Literal["torn"] = "torn"

    def reveal(self, step, side, masked, t, schedule, draws):
        return masked & (draws.uniform("torn", masked.shape[1]) < 0.5)


class Global(SequentialTeacherView):
    """Takes its randomness from everywhere."""

    name: Literal["global"] = "global"

    def reveal(self, step, side, masked, t, schedule, draws):
        return masked & (torch.rand(()) < 0.5)


@pytest.mark.parametrize(
    ("view", "check"),
    [
        (Visible(), "check_reveals_what_is_masked"),
        (Torn(), "check_reveals_chunks_whole"),
        (Global(), "check_reveals_by_sample"),
    ],
)
def test_each_fault_fails_its_check(view: SequentialTeacherView, check: str) -> None:
    (found,) = [each for each in checks_for("teacher_view") if each.name == check]
    torch.manual_seed(0)
    with pytest.raises(CheckFailed):
        found(view)


def test_other_views_skip_these_checks() -> None:
    (found,) = [each for each in checks_for("teacher_view") if each.name == "check_reveals_by_sample"]
    with pytest.raises(CheckSkipped):
        found(Plain())
