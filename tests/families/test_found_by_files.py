"""A directory that only one architecture can read is read by that one, and written with its usual sampler, unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dit_checkpoints import BD3LM, MDLM
from gemma_checkpoints import component, runtime

from tide_core.cli.main import call
from tide_core.registry import Registry
from tide_core.saved_students import find_student, student_architecture


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma") / "model"
    component().load("student", runtime()).save(str(folder))
    return folder


def found(folder: Path) -> tuple[str, str]:
    architecture = student_architecture(find_student(str(folder)), Registry.discover())
    return architecture.component_name(), architecture.usual_sampler


@pytest.mark.parametrize("settings", [MDLM, BD3LM, {k: v for k, v in MDLM.items() if k != "model_type"}])
def test_dit_checkpoints(tmp_path: Path, settings: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert found(tmp_path) == ("dit", "block")


def test_diffusion_gemma(gemma: Path) -> None:
    assert found(gemma) == ("diffusion_gemma", "canvas")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_type": "llama"}'])
def test_everything_else_is_left_to_huggingface(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert (
        type(student_architecture(find_student(str(tmp_path)), Registry.discover())).component_name() == "huggingface"
    )


def test_it_writes_and_is_inspected_without_being_told_what_it_is(
    gemma: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["generate", str(gemma), "-p", "def f", "--max-new-tokens", "8", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert (written["architecture"]["name"], written["sampler"]["name"]) == ("diffusion_gemma", "canvas")
    assert call(["inspect", str(gemma), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["denoising"]["form"] == "block_diffusion"


def test_a_plugin_that_fails_to_answer_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tide_plugins.architectures.dit import Dit

    def broken(path: str) -> bool:
        raise RuntimeError(path)

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "diffusion_gemma"}))
    monkeypatch.setattr(Dit, "recognises", broken)
    assert found(tmp_path)[0] == "diffusion_gemma"
