"""Every way in which a plugin can be broken: it is skipped, named, and nobody else notices."""

from __future__ import annotations

import pytest
from registry_types import Discover, Install

from tide_specs import ConfigError

MESSAGES = {
    "raises_at_import": "raises RuntimeError when imported: no such planet (",
    "exits_at_import": "calls sys.exit('good bye') when imported",
    "broken_syntax": "raises SyntaxError when imported",
    "misspelt_hook": "'tide_loses' is no hook; did you mean 'tide_losses'?",
    "unmarked_hook": "function 'tide_losses' is not marked; put @hookimpl (from tide_specs) above it",
    "lifecycle_hook": "'tide_step_finished' belongs to the object that Observer.open returns, not to the plugin module",
    "hook_with_argument": "hook 'tide_losses' takes no arguments, but asks for config",
    "hook_wrapper": "hook 'tide_losses' is a wrapper; it would see other plugins' components",
    "raises_in_hook": "hook 'tide_losses' raised KeyError: 'weights' (",
    "raises_midway": "hook 'tide_losses' raised ValueError: ran out of losses (",
    "exits_in_hook": "hook 'tide_losses' raised SystemExit: 1",
    "returns_instance": "which is no class; return classes, not instances",
    "nameless": "class 'Fine' (from hook 'tide_losses') has no fixed name; write  name: Literal[",
    "free_name": "class 'Fine' (from hook 'tide_losses') has no fixed name; write  name: Literal[",
    "shouted_name": "is called 'FINE-LOSS'; use lower-case letters, digits and underscores",
    "wrong_kind": "is no NoiseSchedule; subclass tide_specs.NoiseSchedule, or return it from 'tide_losses'",
    "no_component": "is no Loss; subclass tide_specs.Loss",
    "bare_loss": "subclasses Loss directly; subclass SelfLoss, TokenLoss, ChunkLoss, DistributionLoss or FeatureLoss",
    "thawed": "is not frozen; a component holds options, never state",
    "lenient": "accepts unknown options, so a misspelt one would be ignored",
    "unfinished": "does not implement per_token()",
    "undocumented": "has no docstring",
    "undescribed_option": "does not describe temperature",
    "same_name_twice": "classes 'Fine' and 'Other' are both loss 'fine'",
    "missing_extra": "needs 'package_of_an_extra', which is not installed; pip install package_of_an_extra",
    "missing_name": "written for another contract than this TIDE's 1.0",
    "old_contract": "written for contract 0.9, but this TIDE speaks contract 1.0; update the plugin",
    "future_contract": "written for contract 1.99, but this TIDE speaks contract 1.0; update TIDE",
    "garbled_contract": "tide_contract is 'latest'; write it like '1.0'",
}


@pytest.mark.parametrize("plugin", MESSAGES)
def test_a_broken_plugin_is_skipped_by_name_and_reason(plugin: str, install: Install, discover: Discover) -> None:
    install(plugin)
    install("good")
    registry, warned = discover(only=f"{plugin},good")
    record = next(each for each in registry.plugins if each.name == plugin)
    assert record.skipped is not None
    assert MESSAGES[plugin] in record.skipped
    assert warned == [f"plugin '{plugin}' (tide-{plugin} 1.2) was skipped: {record.skipped}"]
    assert record.components == ()
    assert list(registry.classes("loss")) == ["good_loss"]
    assert all(not registry.classes(kind) for kind in ("schedule", "attention"))


@pytest.mark.parametrize("plugin", ["misspelt_hook", "raises_at_import"])
def test_an_unknown_component_error_names_the_skipped_plugin_again(
    plugin: str, install: Install, discover: Discover
) -> None:
    install(plugin)
    registry, _ = discover(only=plugin)
    with pytest.raises(ConfigError) as caught:
        registry.build("loss", "fine")
    assert "no loss is called 'fine'" in str(caught.value)
    assert f"skipped: plugin '{plugin}' (tide-{plugin} 1.2): " in str(caught.value)
    assert MESSAGES[plugin] in str(caught.value)


def test_all_broken_plugins_together_leave_the_good_one_as_it_is(install: Install, discover: Discover) -> None:
    for plugin in MESSAGES:
        install(plugin)
    install("good")
    registry, warned = discover(only=",".join([*MESSAGES, "good"]))
    assert len(warned) == len(MESSAGES)
    assert {kind: list(registry.classes(kind)) for kind in ("loss", "schedule")} == {
        "loss": ["good_loss"],
        "schedule": [],
    }
    assert registry.build("loss", {"name": "good_loss", "weight": 2}).weight == 2.0


def test_a_missing_extra_is_named_with_the_command_that_installs_it(install: Install, discover: Discover) -> None:
    install("missing_extra", requires=["torch", 'package-of-an-extra>=1; extra == "fast"'])
    registry, _ = discover(only="missing_extra")
    assert "pip install 'tide-missing_extra[fast]'" in (registry.skipped[0].skipped or "")


def test_an_entry_point_that_names_nothing(install: Install, discover: Discover) -> None:
    install("good", value="fixture_goof")
    registry, _ = discover(only="good")
    assert registry.skipped[0].skipped == "module 'fixture_goof' does not exist"


def test_an_entry_point_that_names_a_class(install: Install, discover: Discover) -> None:
    install("good", value="fixture_good:Fine")
    registry, _ = discover(only="good")
    assert registry.skipped[0].skipped == "the entry point names the class 'Fine'; name a module or an instance"


def test_what_a_plugin_prints_goes_to_stderr(
    install: Install, discover: Discover, capsys: pytest.CaptureFixture[str]
) -> None:
    install("prints")
    registry, warned = discover(only="prints")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from a plugin" in captured.err
    assert "and from its hook" in captured.err
    assert list(registry.classes("loss")) == ["printed"]
    assert registry.plugins[0].notes == ("prints when imported; its output was sent to stderr",)
    assert warned == []


def test_a_slow_plugin_is_noted(install: Install, discover: Discover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tide_core.discovery.SLOW_SECONDS", 0.05)
    install("slow")
    registry, _ = discover(only="slow")
    assert list(registry.classes("loss")) == ["slow_loss"]
    assert registry.plugins[0].notes[0].startswith("slow: discovery took 0.")


def test_a_component_whose_requirement_is_missing_is_listed_but_cannot_be_used(
    install: Install, discover: Discover
) -> None:
    install("requires_absent")
    registry, _ = discover(only="requires_absent")
    cls = registry.classes("loss")["demanding"]
    assert registry.unavailable(cls) == "needs package_of_an_extra; pip install package_of_an_extra"
    with pytest.raises(Exception, match="loss 'demanding' needs package_of_an_extra"):
        registry.build("loss", "demanding")


def test_keyboard_interrupt_is_not_swallowed(install: Install, discover: Discover) -> None:
    install("impatient", source="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        discover(only="impatient")
