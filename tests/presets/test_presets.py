"""The presets under examples/: every one is a valid run, and states what its name promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tide_core.cli.common import load_registry
from tide_core.compatibility import require_mix
from tide_core.config import load_run
from tide_core.settings import Timesteps, Training
from tide_plugins.corruptions import Absorbing, tide_corruptions
from tide_plugins.interpolations import DualAxis, tide_interpolations
from tide_plugins.losses import BernoulliKL, CrossEntropy, ReverseCalm, Tidal, tide_losses
from tide_plugins.schedules import Linear, tide_noise_schedules
from tide_plugins.teacher_views import Complementary, Plain, tide_teacher_views
from tide_specs import Component, ConfigError, Loss

FOLDER = Path(__file__).parents[2] / "examples" / "presets"
NAMES = [f"tide_{pipeline}{form}" for pipeline in ("cross", "shared") for form in ("", "_script", "_corrected")]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def validate(path: Path) -> None:
    """What ``tide validate`` does."""
    registry = load_registry(())
    loaded = load_run(path, registry=registry)
    require_mix(loaded.config, registry, loaded.source)


def build(classes: Sequence[type[Component]], written: Any) -> Any:
    options = {"name": written} if isinstance(written, str) else written
    by_name = {cls.component_name(): cls for cls in classes}
    return by_name[options["name"]].model_validate(options)


def losses(name: str) -> list[Loss]:
    return [build(tide_losses(), written) for written in read(name)["losses"]]


def test_every_preset_is_there_and_no_other() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_section_builds_and_the_mix_is_accepted(name: str) -> None:
    run = read(name)
    assert isinstance(build(tide_noise_schedules(), run["schedule"]), Linear)
    assert isinstance(build(tide_corruptions(), run["corruption"]), Absorbing)
    shared = name.startswith("tide_shared")
    assert isinstance(build(tide_teacher_views(), run["teacher_view"]), Complementary if shared else Plain)
    assert not shared or build(tide_interpolations(), run["interpolation"]) == DualAxis()
    Timesteps.model_validate(run["timesteps"])
    assert Training.model_validate(run["training"]).learning_rate == 5e-5
    assert run["alignment"] == ("shared_vocabulary" if shared else "byte_chunks")
    assert run["data"]["teacher_max_length"] == (768 if shared else 1024)
    validate(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_states_its_source(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert "2604.26951" in text
    assert "eq. " in text.lower()


def test_the_objectives_of_the_paper_and_of_its_script() -> None:
    assert losses("tide_cross") == [CrossEntropy(), ReverseCalm(temperature=2.0)]
    assert losses("tide_cross_script") == [CrossEntropy(), ReverseCalm(temperature=5.0, clamp=1e-7)]
    assert losses("tide_shared") == losses("tide_shared_script") == [CrossEntropy(), Tidal()]
    for name in NAMES:
        corrected = name.endswith("_corrected")
        assert read(name)["corruption"]["masking"] == ("chunk" if corrected else "token")
        assert corrected or read(name)["corruption"]["correct_weight"] is False


def test_the_corrected_objectives() -> None:
    assert losses("tide_cross_corrected") == [
        CrossEntropy(),
        BernoulliKL(direction="forward", temperature=1.0, weight=3.0),
    ]
    assert losses("tide_shared_corrected") == [CrossEntropy(), Tidal(normalise_mid_range=True, weight=3.0)]


def test_adding_a_reverse_objective_to_tidal_is_refused_by_validate(tmp_path: Path) -> None:
    run = read("tide_shared")
    run["losses"].append("reverse_kl")
    changed = tmp_path / "mixed.yaml"
    changed.write_text(yaml.safe_dump(run), encoding="utf-8")
    with pytest.raises(ConfigError, match="Appendix C"):
        validate(changed)
