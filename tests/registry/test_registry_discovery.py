"""What the registry finds, where it says it comes from, and how plugins are chosen."""

from __future__ import annotations

import multiprocessing
import operator
import pickle
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from registry_types import PLUGINS, Discover, Install

from tide_core import __version__
from tide_core.registry import BUILTIN, Origin, Registry
from tide_specs import COMPONENT_HOOKS, ConfigError, PluginError

TOY = PLUGINS.parent / "toy_components.py"


def test_every_bundled_plugin_loads_and_offers_its_kind(discover: Discover) -> None:
    registry, warned = discover(only="", builtin=BUILTIN)
    assert warned == []
    assert registry.skipped == ()
    assert {kind for kind in COMPONENT_HOOKS if not registry.classes(kind)} == set()
    assert all(registry.clashes(kind) == {} for kind in COMPONENT_HOOKS)


def test_an_installed_plugin_is_found_with_its_origin(install: Install, discover: Discover) -> None:
    install("good")
    registry, _ = discover(only="good")
    cls = registry.classes("loss")["good_loss"]
    assert registry.origin(cls) == Origin("good", "tide-good", "1.2")
    assert str(registry.origin(cls())) == "plugin 'good' (tide-good 1.2)"
    assert registry.plugins[0].offers == (("loss", "good_loss"),)


def test_two_plugins_with_one_name_are_both_named_and_neither_is_used(install: Install, discover: Discover) -> None:
    install("twin_one")
    install("twin_two")
    registry, _ = discover(only="twin_one,twin_two")
    assert list(registry.classes("loss")) == ["own"]
    assert list(registry.clashes("loss")) == ["twin"]
    with pytest.raises(ConfigError) as caught:
        registry.build("loss", "twin")
    message = str(caught.value)
    assert "plugin 'twin_one' (tide-twin_one 1.2) and by plugin 'twin_two' (tide-twin_two 1.2)" in message
    assert "TIDE_BLOCK_PLUGINS=twin_two" in message


def test_blocking_one_twin_frees_the_name(install: Install, discover: Discover) -> None:
    install("twin_one")
    install("twin_two")
    registry, warned = discover(only="twin_one,twin_two", block="tide-twin_two")
    assert registry.build("loss", "twin").component_name() == "twin"
    assert registry.clashes("loss") == {}
    assert [(record.name, record.blocked) for record in registry.skipped] == [("twin_two", True)]
    assert warned == []


def test_load_plugins_chooses_third_parties_and_keeps_the_bundled_ones(install: Install, discover: Discover) -> None:
    install("good")
    install("twin_one")
    registry, _ = discover(only="tide-good", builtin=("tide_plugins.losses",))
    assert {"good_loss", "cross_entropy"} <= set(registry.classes("loss"))
    assert "own" not in registry.classes("loss")


def test_load_plugins_warns_of_a_name_that_is_not_installed(discover: Discover) -> None:
    _, warned = discover(only="no_such_plugin")
    assert warned == ["TIDE_LOAD_PLUGINS names 'no_such_plugin', which is not installed"]


def test_a_bundled_plugin_can_be_blocked(discover: Discover) -> None:
    registry, _ = discover(only="", block="tide_plugins.losses", builtin=BUILTIN)
    assert registry.classes("loss") == {}
    assert registry.classes("schedule")


def test_a_bundled_module_that_does_not_exist_is_a_skipped_plugin(discover: Discover) -> None:
    registry, warned = discover(only="", builtin=("tide_plugins.no_such_kind",))
    assert registry.skipped[0].skipped == "module 'tide_plugins.no_such_kind' does not exist"
    assert len(warned) == 1


def test_a_single_file_is_a_plugin_and_its_components_pickle(discover: Discover) -> None:
    registry, _ = discover(only="", plugin_files=[str(TOY)])
    loss = registry.build("loss", {"name": "reverse_calm", "temperature": 5})
    assert pickle.loads(pickle.dumps(loss)) == loss
    again, _ = discover(only="", plugin_files=[str(TOY)])
    assert again.classes("loss")["reverse_calm"] is type(loss)
    assert str(registry.origin(loss)) == f"plugin 'toy_components' ({TOY})"


def test_worker_processes_can_load_a_single_file_plugin(discover: Discover) -> None:
    registry, _ = discover(only="", plugin_files=[str(TOY)])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(operator.attrgetter("temperature"), registry.build("loss", "reverse_calm")).result() == 2.0


def test_a_file_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(PluginError, match=r"--plugin nowhere\.py: no such file"):
        Registry.discover(["nowhere.py"], environment={"TIDE_LOAD_PLUGINS": ""}, builtin=())


@pytest.mark.parametrize(("name", "message"), [("my-loss.py", "must be a Python module's"), ("loss.txt", "must be")])
def test_a_file_needs_a_module_name(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(PluginError, match=message):
        Registry.discover([str(tmp_path / name)], environment={"TIDE_LOAD_PLUGINS": ""}, builtin=())


def test_a_file_may_not_take_the_name_of_another_module(tmp_path: Path, discover: Discover) -> None:
    (tmp_path / "json.py").write_text("")
    registry, _ = discover(only="", plugin_files=[str(tmp_path / "json.py")])
    assert registry.skipped[0].skipped == "a module 'json' exists already; rename the file json.py"


def test_a_broken_file_leaves_no_trace(tmp_path: Path, discover: Discover) -> None:
    (tmp_path / "broken_plugin_file.py").write_text("raise ValueError('not today')\n")
    registry, _ = discover(only="", plugin_files=[str(tmp_path / "broken_plugin_file.py")])
    assert "raises ValueError when imported: not today" in (registry.skipped[0].skipped or "")
    assert "broken_plugin_file" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_two_files_of_one_name_in_turn(tmp_path: Path, discover: Discover) -> None:
    text = (PLUGINS / "good.py").read_text()
    for folder, name in (("a", "first_loss"), ("b", "second_loss")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "turncoat_plugin.py").write_text(text.replace("good_loss", name))
        registry, _ = discover(only="", plugin_files=[str(tmp_path / folder / "turncoat_plugin.py")])
        assert list(registry.classes("loss")) == [name]
    assert str(tmp_path / "a") not in sys.path
    assert str(tmp_path / "b") in sys.path
    sys.path.remove(str(tmp_path / "b"))
    del sys.modules["turncoat_plugin"]


def test_an_unknown_name_gets_a_suggestion_and_another_kind_is_pointed_out(discover: Discover) -> None:
    registry, _ = discover(only="", plugin_files=[str(TOY)])
    with pytest.raises(ConfigError, match="no loss is called 'revers_calm'; did you mean 'reverse_calm'"):
        registry.find("loss", "revers_calm")
    with pytest.raises(ConfigError, match="'plain' is the name of a component of kind teacher_view"):
        registry.find("loss", "plain")
    with pytest.raises(ConfigError, match="no kind of component is called 'los'; did you mean 'loss'"):
        registry.classes("los")


def test_build_says_which_option_is_wrong(discover: Discover) -> None:
    registry, _ = discover(only="", plugin_files=[str(TOY)])
    with pytest.raises(ConfigError) as caught:
        registry.build("loss", {"name": "reverse_calm", "temperature": -1, "temprature": 2})
    assert "loss.temperature: must be greater than 0; it is -1" in str(caught.value)
    assert "loss.temprature: unknown option 'temprature'; did you mean 'temperature'?" in str(caught.value)


def test_an_adapter_accepts_names_mappings_and_objects(discover: Discover) -> None:
    registry, _ = discover(only="", plugin_files=[str(TOY)])
    adapter = registry.adapter("loss")
    built = adapter.validate_python("reverse_calm")
    assert adapter.validate_python({"name": "reverse_calm"}) == built
    assert adapter.validate_python(built) is built
    assert adapter.dump_python(built) == {"name": "reverse_calm", "weight": 1.0, "temperature": 2.0}


def test_fifty_plugins_are_all_found(install: Install, discover: Discover) -> None:
    text = (PLUGINS / "good.py").read_text()
    names = [f"many_{number}" for number in range(50)]
    for name in names:
        install(name, source=text.replace("good_loss", name))
    registry, warned = discover(only=",".join(names))
    assert sorted(registry.classes("loss")) == sorted(names)
    assert warned == []


def test_an_unreadable_entry_points_file_spoils_nobody_else(
    install: Install, discover: Discover, tmp_path: Path
) -> None:
    install("good")
    install("twin_one")
    (tmp_path / "site" / "tide_twin_one-1.2.dist-info" / "entry_points.txt").write_text("[tide]\nnonsense\n")
    registry, warned = discover(only="good,tide-twin_one")
    assert list(registry.classes("loss")) == ["good_loss"]
    assert len(warned) == 1
    assert "plugin 'tide-twin_one' (tide-twin_one 1.2) was skipped: its entry_points.txt cannot be read" in warned[0]


def test_one_class_through_two_entry_points_is_no_clash(install: Install, discover: Discover) -> None:
    install("good")
    install("again", value="fixture_good", source="unused = True\n")
    registry, _ = discover(only="good,again")
    assert list(registry.classes("loss")) == ["good_loss"]


def test_no_bundled_component_outlives_the_version_that_removes_it(discover: Discover) -> None:
    registry, _ = discover(only="", builtin=BUILTIN)
    current = [int(part) for part in re.findall(r"\d+", __version__)[:3]]
    for kind in COMPONENT_HOOKS:
        for cls in registry.classes(kind).values():
            if cls.deprecated:
                removal = re.match(r"(\d+)\.(\d+)", cls.deprecated)
                assert removal, f"{cls.__name__}.deprecated must start with the version that removes it"
                assert current < [int(part) for part in removal.groups()], f"remove {cls.__name__} now"


def test_two_files_of_one_folder_are_both_loaded(tmp_path) -> None:
    text = (
        "from typing import Literal\nfrom tide_specs import NoiseSchedule, hookimpl\n\n"
        "class {cls}(NoiseSchedule):\n    '''A schedule.'''\n    name: Literal['{name}'] = '{name}'\n"
        "    def alpha(self, t):\n        return 1 - t\n    def alpha_prime(self, t):\n        return -t / t\n\n"
        "@hookimpl\ndef tide_noise_schedules():\n    return [{cls}]\n"
    )
    files = []
    for cls, name in (("First", "first_of_folder"), ("Second", "second_of_folder")):
        file = tmp_path / f"plugin_{name}.py"
        file.write_text(text.format(cls=cls, name=name))
        files.append(str(file))
    registry = Registry.discover(plugin_files=files)
    assert {"first_of_folder", "second_of_folder"} <= set(registry.classes("schedule"))
