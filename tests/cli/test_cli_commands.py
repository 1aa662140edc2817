"""The commands as a user meets them: output, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import PositiveInt

from tide_core.cli.catalogue import type_text
from tide_core.cli.main import COMMANDS, cli

READY = cli.list_commands(None)  # type: ignore[arg-type]


def test_help_lists_every_command_with_one_line(tide) -> None:
    code, out, _ = tide("--help", toys=False)
    assert code == 0
    for name in READY:
        assert COMMANDS[name][1] in out
    assert {"run", "validate", "plan", "components", "schema"} <= set(READY)


@pytest.mark.parametrize("command", READY)
def test_every_command_explains_itself_with_an_example(command: str, tide) -> None:
    code, out, _ = tide(command, "--help", toys=False)
    assert code == 0
    assert "Example" in out or "Commands" in out
    assert f"tide {command}" in out


def test_an_unknown_command_is_a_usage_error(tide) -> None:
    code, out, err = tide("trian", toys=False)
    assert (code, out) == (2, "")
    assert "No such command" in err


def test_version(tide) -> None:
    code, out, _ = tide("--version", toys=False)
    assert code == 0
    assert out.startswith("tide ")


class TestValidate:
    def test_a_valid_file(self, tide) -> None:
        assert tide("validate", "run.yaml") == (0, "run.yaml: valid\n", "")

    def test_errors_go_to_stderr_without_a_traceback(self, tide) -> None:
        code, out, err = tide("validate", "run.yaml", "--set", "losses[1].temperature=-1", "--set", "training.stepz=3")
        assert (code, out) == (2, "")
        assert "losses[1].temperature: must be greater than 0; it is -1" in err
        assert "unknown option 'stepz'; did you mean 'steps'?" in err
        assert "Traceback" not in err

    def test_a_mix_that_cannot_work(self, tide) -> None:
        code, _, err = tide("validate", "run.yaml", "--set", "losses[1]=forward_kl")
        assert code == 2
        assert (
            "'forward_kl' compares distributions token by token, but alignment 'byte_chunks' yields text spans" in err
        )

    def test_warnings_do_not_fail(self, tide) -> None:
        code, out, err = tide("validate", "run.yaml", "--set", "training.warmup_steps=200")
        assert (code, out) == (0, "run.yaml: valid\n")
        assert err.startswith("warning: --set training.warmup_steps=200: training.warmup_steps: the warm-up of 200")

    def test_a_file_that_is_not_there(self, tide) -> None:
        assert tide("validate", "nowhere.yaml") == (2, "", "nowhere.yaml: no such file\n")

    def test_a_plugin_file_that_is_not_there(self, tide) -> None:
        assert tide("validate", "run.yaml", "--plugin", "mine.py", toys=False) == (
            2,
            "",
            "--plugin mine.py: no such file\n",
        )

    def test_a_broken_plugin_is_a_warning_and_is_named_again_where_it_matters(self, tide) -> None:
        Path("my_broken_loss.py").write_text("import no_such_package_at_all\n")
        code, _, err = tide("validate", "run.yaml", "--plugin", "my_broken_loss.py")
        assert code == 0
        assert "warning: plugin 'my_broken_loss' (my_broken_loss.py) was skipped: needs 'no_such_package_at_all'" in err
        code, _, err = tide("validate", "run.yaml", "--plugin", "my_broken_loss.py", "--set", "losses=[my_loss]")
        assert code == 2
        assert "    skipped: plugin 'my_broken_loss' (my_broken_loss.py): needs 'no_such_package_at_all'" in err


class TestComponents:
    def test_the_table_names_kind_name_summary_origin_and_what_is_missing(self, tide) -> None:
        code, out, _ = tide("components")
        assert code == 0
        line = next(line for line in out.splitlines() if "full_only" in line)
        assert line.startswith("attention ")
        assert "Serves full attention only" in line
        assert "needs no_such_module" in line
        assert "toy_components.py" in line
        assert "deprecated: 2.0; use reverse_calm" in out
        assert "skipped: plugin 'tide_plugins.losses'" in out

    def test_one_kind(self, tide) -> None:
        _, out, _ = tide("components", "schedule")
        assert "linear" in out
        assert "cross_entropy" not in out

    def test_one_component_in_detail(self, tide) -> None:
        code, out, _ = tide("components", "loss", "reverse_calm")
        assert code == 0
        assert out.startswith("loss reverse_calm\nSpan by span.\n")
        assert "divides log-likelihoods" in out
        assert "float (> 0)" in out
        assert "compares: chunks" in out
        assert "direction: reverse" in out
        assert "from: plugin 'toy_components'" in out

    def test_json(self, tide) -> None:
        _, out, _ = tide("components", "loss", "objector", "--json")
        record = json.loads(out)[0]
        assert (record["kind"], record["name"], record["deprecated"]) == ("loss", "objector", "2.0; use reverse_calm")
        assert record["options"][2] == {
            "name": "limit",
            "type": "int | null (>= 1)",
            "required": False,
            "default": None,
            "description": "a number, or nothing",
        }

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["los"], "no kind of component is called 'los'; did you mean 'loss'?"),
            (["loss", "cross_entropi"], "no loss is called 'cross_entropi'; did you mean 'cross_entropy'?"),
        ],
    )
    def test_a_wrong_name_gets_a_suggestion(self, arguments: list[str], message: str, tide) -> None:
        code, out, err = tide("components", *arguments)
        assert (code, out) == (2, "")
        assert message in err

    def test_names_that_two_plugins_offer_are_listed(self, tide) -> None:
        Path("second_plain.py").write_text(
            "from typing import Literal\nfrom tide_specs import TeacherView, hookimpl\n"
            "class Plain(TeacherView):\n    '''Mine.'''\n    name: Literal['plain'] = 'plain'\n"
            "    def passes(self, side, masked, draws):\n        return []\n"
            "@hookimpl\ndef tide_teacher_views():\n    return [Plain]\n"
        )
        _, out, _ = tide("components", "teacher_view", "--plugin", "second_plain.py")
        assert "cannot be used: teacher_view 'plain' is offered by plugin 'second_plain'" in out


def test_schema_prints_json_only_even_if_a_plugin_prints(tide) -> None:
    Path("chatty_plugin.py").write_text("print('hello')\n")
    code, out, err = tide("schema", "--plugin", "chatty_plugin.py")
    assert code == 0
    Draft202012Validator.check_schema(json.loads(out))
    assert "hello" in err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"'{sys.executable}' -m tide_core.cli.main schema | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


class TestRun:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """Stand-in for the loop: records how it was called, returns or raises ``outcome``."""
        recorded: list[dict[str, Any]] = []
        module = types.ModuleType("tide_core.run")

        def run(config: Any, registry: Any, **options: Any) -> Any:
            recorded.append({"config": config, **options})
            if isinstance(module.outcome, BaseException):
                raise module.outcome
            return module.outcome

        module.run = run  # type: ignore[attr-defined]
        module.outcome = types.SimpleNamespace(  # type: ignore[attr-defined]
            status="finished", step=100, directory=Path("runs/run"), student=Path("runs/run/student")
        )
        monkeypatch.setitem(sys.modules, "tide_core.run", module)
        return recorded

    def test_options_reach_the_loop(self, tide, calls: list[dict[str, Any]]) -> None:
        code, out, _ = tide("run", "run.yaml", "--set", "training.steps=7", "--no-resume", "--allow-changes")
        assert (code, out) == (0, "run folder: runs/run\nstudent: runs/run/student\n")
        assert calls[0]["config"].training.steps == 7
        assert (calls[0]["resume"], calls[0]["allow_changes"]) == (False, True)

    def test_an_interrupted_run_exits_as_one(self, tide, calls: list[dict[str, Any]]) -> None:
        sys.modules["tide_core.run"].outcome.status = "interrupted"  # type: ignore[attr-defined]
        code, out, err = tide("run", "run.yaml")
        assert (code, out) == (130, "")
        assert err == "interrupted after step 100; the same command goes on from there\n"
        assert calls[0]["resume"] is True

    @pytest.mark.parametrize(("outcome", "expected"), [(KeyboardInterrupt(), 130), (ValueError("a bug"), None)])
    def test_other_ends(self, outcome: BaseException, expected: int | None, tide, calls: list[dict[str, Any]]) -> None:
        sys.modules["tide_core.run"].outcome = outcome  # type: ignore[attr-defined]
        if expected is None:
            with pytest.raises(ValueError, match="a bug"):
                tide("run", "run.yaml")
        else:
            assert tide("run", "run.yaml")[0] == expected
        assert len(calls) == 1

    def test_a_mix_that_cannot_work_never_starts(self, tide, calls: list[dict[str, Any]]) -> None:
        assert tide("run", "run.yaml", "--set", "teacher=null")[0] == 2
        assert calls == []

    def test_other_processes_of_a_run_keep_quiet(
        self, tide, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        assert tide("run", "run.yaml") == (0, "", "")
        assert len(calls) == 1


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (int | None, "int | null"),
        (PositiveInt | None, "int (> 0) | null"),
        (Literal["a", "b"] | None, "a | b | null"),
        (tuple[str, ...], "list of str"),
        (tuple[float, float], "[float, float]"),
        (list[int | str], "list of int | str"),
        (dict[str, Any], "mapping"),
        (dict[str, list[int]], "mapping to list of int"),
    ],
)
def test_types_are_written_in_words(annotation: Any, text: str) -> None:
    assert type_text(annotation) == text
