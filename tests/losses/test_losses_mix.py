"""Which losses refuse to work together, and what discovery costs."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from tide_plugins.losses import (
    BernoulliKL,
    Calm,
    CalmTidal,
    CrossEntropy,
    ForwardKL,
    JensenShannon,
    ReverseCalm,
    ReverseKL,
    SkewKL,
    Tidal,
    tide_losses,
)
from tide_specs import Loss, Mix


def objections(*losses: Loss) -> list[str]:
    mix = Mix(components={"loss": losses})
    return [sentence for loss in losses for sentence in loss.conflicts(mix)]


@pytest.mark.parametrize("interpolated", [Tidal(), CalmTidal()])
@pytest.mark.parametrize(
    "reverse", [ReverseKL(), ReverseCalm(), BernoulliKL(direction="reverse"), SkewKL(direction="reverse")]
)
def test_interpolated_targets_refuse_reverse_objectives(interpolated: Loss, reverse: Loss) -> None:
    (sentence,) = objections(CrossEntropy(), interpolated, reverse)
    assert f"'{interpolated.name}'" in sentence
    assert f"'{reverse.name}'" in sentence
    assert "Appendix C" in sentence
    assert "forward_kl" in sentence


@pytest.mark.parametrize("other", [ForwardKL(), JensenShannon(), SkewKL(), BernoulliKL(), Calm(), CrossEntropy()])
def test_everything_else_may_share_a_run(other: Loss) -> None:
    assert objections(CrossEntropy(), Tidal(), CalmTidal(), other) == []
    assert objections(CrossEntropy(), ReverseCalm(), ReverseKL(), other) == []


def test_direction_is_an_option_of_two_losses_and_survives_pickling() -> None:
    for loss in (BernoulliKL(direction="reverse"), SkewKL(direction="reverse")):
        assert type(loss).model_json_schema()["properties"]["direction"]["enum"] == ["forward", "reverse"]
        assert pickle.loads(pickle.dumps(loss)).direction == "reverse"
        assert type(loss).model_validate(json.loads(loss.model_dump_json())) == loss


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Calm, {"temperature": 0}),
        (Calm, {"clamp": 0.5}),
        (SkewKL, {"skew": 1.0}),
        (BernoulliKL, {"direction": "symmetric"}),
        (CrossEntropy, {"normalisation": "mean"}),
        (Tidal, {"temprature": 1.0}),
        (ForwardKL, {"weight": -1.0}),
    ],
)
def test_options_out_of_range_are_refused(cls: type[Loss], options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        cls.model_validate(options)


def test_every_option_is_described() -> None:
    for cls in tide_losses():
        for name, option in cls.model_fields.items():
            assert name == "name" or option.description, f"{cls.__name__}.{name}"


def test_discovery_imports_no_torch() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error');"
        "from tide_plugins import losses, schedules, corruptions, interpolations, teacher_views;"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
