"""``tide generate``: what a saved model writes, whoever saved it, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from run_files import write_run

AUTOREGRESSIVE = "{name: huggingface, form: autoregressive}"
SHORT = ("-p", "def f(x):", "--max-new-tokens", "12")


def written(tide, *arguments: object) -> dict:
    code, out, err = tide("generate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_run_folder_a_checkpoint_and_a_student_are_the_same_model(tide, trained: Path) -> None:
    (checkpoint,) = (trained / "checkpoints").iterdir()
    found = [written(tide, path, *SHORT) for path in (trained, checkpoint, trained / "student")]
    assert found[0]["written"] == found[1]["written"] == found[2]["written"]
    assert found[0]["written"][0]["tokens"] <= 12
    assert found[0]["forwards"] >= found[0]["written"][0]["tokens"]  # one token a step, and the prompt
    assert found[0]["sampler"]["name"] == "block"


def test_text_goes_to_stdout_and_figures_to_stderr(tide, trained: Path) -> None:
    code, out, err = tide("generate", trained, *SHORT)
    assert code == 0
    text = written(tide, trained, *SHORT)["written"][0]["text"]
    assert out == text + "\n"
    assert "forwards" in err
    code, out, _ = tide("generate", trained, *SHORT, "-p", "class A:")
    assert "[1] def f(x):" in out
    assert "[2] class A:" in out


def test_a_prompt_may_come_from_a_pipe(tide, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"def f(x):")))
    piped = written(tide, trained, "--max-new-tokens", 12)
    assert piped["written"] == written(tide, trained, *SHORT)["written"]


def test_options_of_the_sampler_and_the_seed_count(tide, trained: Path) -> None:
    hot = [written(tide, trained, *SHORT, "--set", "temperature=1.0", "--seed", seed) for seed in (1, 1, 2)]
    assert hot[0]["sampler"]["temperature"] == 1.0
    assert hot[0]["written"] == hot[1]["written"] != hot[2]["written"]
    fast = written(tide, trained, *SHORT, "--set", "tokens_per_step=4")
    assert fast["forwards"] < hot[0]["forwards"]


def test_an_autoregressive_model_writes_what_transformers_writes(tide, autoregressive: Path) -> None:
    from transformers import AutoModelForCausalLM

    from tide_core.registry import Registry
    from tide_specs import Message

    found = written(tide, autoregressive, *SHORT, "--architecture", AUTOREGRESSIVE)
    assert found["sampler"]["name"] == "autoregressive"
    options = {"name": "huggingface", "form": "autoregressive", "model": str(autoregressive)}
    tokenizer = Registry.discover().build("architecture", options).tokenizer("teacher")
    prompt = tokenizer.encode_prompt([Message(role="text", content="def f(x):")])
    import torch

    model = AutoModelForCausalLM.from_pretrained(autoregressive).eval()
    ids = model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=12, eos_token_id=tokenizer.end_of_turn_token_id
    )
    new = [i for i in ids[0, len(prompt) :].tolist() if i != tokenizer.end_of_turn_token_id]
    assert found["written"][0]["text"] == tokenizer.decode(new)


PLUGIN = '''
"""A model family of one file."""
from __future__ import annotations
from typing import Literal
from pydantic import Field, PositiveInt
from tide_specs import ModuleArchitecture, hookimpl


class Bag(ModuleArchitecture):
    """Every position sees itself only."""

    name: Literal["bag_of_tokens"] = "bag_of_tokens"
    width: PositiveInt = Field(8, description="numbers that stand for a token")

    def build(self, vocabulary, runtime):
        import torch

        class Net(torch.nn.Module):
            def __init__(net):
                super().__init__()
                net.embed = torch.nn.Embedding(vocabulary, self.width)
                net.head = torch.nn.Linear(self.width, vocabulary)

            def forward(net, ids, positions, layout):
                return net.embed(ids)

        return Net()


@hookimpl
def tide_architectures():
    return [Bag]
'''


def test_a_run_folder_knows_the_architecture_of_a_plugin_and_its_options(tide, tmp_path: Path) -> None:
    (tmp_path / "bag_plugin.py").write_text(PLUGIN)
    plugin = ("--plugin", tmp_path / "bag_plugin.py")
    path = write_run(
        tmp_path,
        student={"name": "bag_of_tokens", "width": 5},
        teacher=None,
        losses=["cross_entropy"],
        training={"steps": 2},
    )
    code, _, err = tide("run", path, *plugin)
    assert code == 0, err
    found = written(tide, tmp_path / "out", *plugin, "-p", "a", "--max-new-tokens", 4)
    assert found["architecture"]["width"] == 5
    code, _, err = tide("generate", tmp_path / "out", "-p", "a")
    assert code == 2
    assert "no architecture is called 'bag_of_tokens'" in err


def test_loading_takes_no_learning_and_leaves_the_folder_as_it_was(tide, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    written(tide, trained, *SHORT)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


ERRORS = {
    "nothing there": (["nowhere"], "nowhere: no such folder; name a run folder, a checkpoint, or"),
    "unknown sampler": (["{run}", "--sampler", "blok"], "no sampler is called 'blok'; did you mean 'block'?"),
    "unknown option": (["{run}", "--set", "temprature=1"], "unknown option 'temprature'; did you mean 'temperature'?"),
    "out of range": (["{run}", "--set", "threshold=2"], "sampler.threshold: must be less than or equal to 1; it is 2"),
    "no value": (["{run}", "--set", "threshold"], "--set threshold: write  --set OPTION=VALUE"),
    "no yaml": (["{run}", "--set", "threshold=[1"], "--set threshold=[1: the value is not valid YAML"),
    "wrong sampler": (
        ["{run}", "--sampler", "autoregressive"],
        "sampler 'autoregressive' cannot decode a block_diffusion model; use sampler 'block'",
    ),
    "no template": (["{run}", "--chat"], "has no chat template"),
    "unknown device": (["{run}", "--device", "gpu"], "must be auto, cpu, cuda or cuda:N; it is 'gpu'"),
    "no device": (["{run}", "--device", "cuda"], "--device: 'cuda' was asked for, but torch sees no CUDA device"),
    "unknown attention": (["{run}", "--attention", "sdp"], "no attention is called 'sdp'; did you mean 'sdpa'?"),
    "unknown architecture": (["{run}", "--architecture", "hugging"], "no architecture is called 'hugging'"),
    "architecture no yaml": (["{run}", "--architecture", "{name: [}"], "is not valid YAML"),
    "form unknown": (["{plain}"], "`form` is missing, and {plain} has no tide.json that records it"),
    "no tokens wanted": (["{run}", "--max-new-tokens", "0"], "0 is not in the range x>=1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, tide, trained: Path, autoregressive: Path) -> None:
    import torch

    if case == "no device" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    arguments, message = ERRORS[case]
    places = {"{run}": str(trained), "{plain}": str(autoregressive)}
    code, out, err = tide("generate", *(places.get(a, a) for a in arguments), "-p", "x")
    assert (code, out) == (2, "")
    assert message.replace("{plain}", str(autoregressive)) in err
    assert "Traceback" not in err


def test_nothing_to_go_on_from(tide, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, _, err = tide("generate", trained)
    assert code == 2
    assert "nothing to go on from: give a prompt with -p TEXT, or pipe one in" in err


def test_damaged_weights_and_records(tide, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    weights = run / "student" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, err = tide("generate", run, *SHORT)
    assert code == 2
    assert f"{weights}: " in err
    assert "its header promises" in err
    (run / "config.json").write_text("{")
    code, _, err = tide("generate", run, *SHORT)
    assert code == 2
    assert f"{run / 'config.json'}: cannot be read" in err
    shutil.rmtree(run / "student")
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    code, _, err = tide("generate", run, *SHORT)
    assert code == 2
    assert "holds no complete checkpoint yet" in err
