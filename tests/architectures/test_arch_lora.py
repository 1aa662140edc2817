"""LoRA students: what trains, what is saved, and that a run resumes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_models import Make
from pydantic import ValidationError
from test_arch_loading import IDS, LENGTHS, write_llama

from tide_plugins.architectures.huggingface import HuggingFace
from tide_specs import ConfigError, Runtime, UnavailableError

pytest.importorskip("peft", reason="needs the package peft (extra 'lora')")

LORA = {"rank": 4, "alpha": 8.0}
FORM: dict[str, Any] = {"form": "bidirectional"}


def train(model: Any, steps: int = 3) -> None:
    """Take steps on masked tokens, as the loop does."""
    trainable = [p for p in model.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2, weight_decay=0.5)
    masked = torch.rand(IDS.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    for _ in range(steps):
        hidden = model.hidden(IDS.masked_fill(masked, model.mask_token_id), IDS, LENGTHS)[masked]
        loss = torch.nn.functional.cross_entropy(model.head().logits(hidden), IDS[masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def logits(model: Any) -> torch.Tensor:
    """Logits where two tokens of each row are masked."""
    model.module.eval()
    noised = IDS.clone()
    noised[:, 2:4] = model.mask_token_id
    with torch.no_grad():
        return model.head().logits(model.hidden(noised, IDS, LENGTHS).flatten(0, 1))


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def base(request: pytest.FixtureRequest, tmp_path: Path, tokenizer_folder: str) -> Path:
    write_llama(tmp_path / "base", tokenizer_folder, tie_word_embeddings=request.param)
    return tmp_path / "base"


def test_only_adapters_and_the_mask_tokens_row_train(base: Path, runtime: Runtime) -> None:
    plain: Any = HuggingFace(model=str(base), **FORM).load("student", runtime)
    model: Any = HuggingFace(model=str(base), **FORM, lora=LORA).load("student", runtime)
    torch.testing.assert_close(logits(model), logits(plain))  # B is zero at first
    model.module.train()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    names = {name for name, p in model.module.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name.endswith("mask_row") for name in names)
    layers = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in names if ".lora_" in name}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    train(model)
    logits(model)  # a forward pass writes the row into the matrix
    mask = model.mask_token_id
    for name, value in model.module.state_dict().items():
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            rest = torch.arange(len(value)) != mask
            assert torch.equal(value[rest], before[name][rest]), name
        else:
            assert torch.equal(value, before[name]) == (name not in names), name
    embedding = model.module.get_input_embeddings()
    assert torch.equal(embedding.weight[mask], embedding.mask_row)
    assert not torch.equal(embedding.weight[mask], before["model.embed_tokens.weight"][mask])
    assert model.head().weight is model.module.lm_head.weight


def test_the_row_gets_the_gradient_of_an_embedding(base: Path, runtime: Runtime) -> None:
    """As if the matrix were trained: the same numbers for the mask token's row, nothing for any other."""
    weights = torch.randn(32, generator=torch.Generator().manual_seed(1))
    model: Any = HuggingFace(model=str(base), **FORM, lora=LORA).load("student", runtime)
    plain: Any = HuggingFace(model=str(base), **FORM).load("student", runtime)
    noised = IDS.clone()
    noised[:, 1::2] = model.mask_token_id
    for each in (model, plain):
        (each.hidden(noised, IDS, LENGTHS) @ weights).sum().backward()
    ours = model.module.get_input_embeddings().mask_row.grad
    expected = plain.module.get_input_embeddings().weight.grad[model.mask_token_id]
    torch.testing.assert_close(ours, expected)


def test_saving_merges_into_a_model_that_stands_alone(base: Path, runtime: Runtime, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    component = HuggingFace(model=str(base), **FORM, lora={**LORA, "dropout": 0.1})
    model: Any = component.load("student", runtime)
    train(model)
    expected = logits(model)
    model.module.train()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    model.save(str(tmp_path / "saved"))
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    again: Any = component.saved_at(str(tmp_path / "saved")).load("student", runtime)
    assert not any("lora" in name for name, _ in again.module.named_parameters())
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-5)
    alone: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(alone.get_output_embeddings().weight, again.head().weight)
    assert not list((tmp_path / "saved").glob("adapter*"))


def test_adapters_depend_on_the_seed_alone(base: Path, runtime: Runtime) -> None:
    def drawn(seed: int, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        component = HuggingFace(model=str(base), **FORM, lora=LORA)
        module: Any = component.load("student", replace(runtime, seed=seed)).module
        return module.model.layers[0].self_attn.q_proj.lora_A["default"].weight

    assert torch.equal(drawn(1, 0), drawn(1, 7))
    assert not torch.equal(drawn(1, 0), drawn(2, 0))


def test_plan_counts_what_is_loaded(make: Make, runtime: Runtime) -> None:
    component = make("qwen3", "block_diffusion", block_size=4, lora={**LORA, "targets": ("q_proj", "v_proj")})
    plan = component.plan()
    module: Any = component.load("student", runtime).module
    assert plan["parameters"] == sum(p.numel() for p in module.parameters())
    assert plan["trainable_parameters"] == sum(p.numel() for p in module.parameters() if p.requires_grad)
    per_layer = 4 * (32 + 32) + 4 * (32 + 16)  # rank times (in + out), of queries and of two key heads of 8
    assert plan["trainable_parameters"] == 2 * per_layer + 32


@pytest.mark.parametrize(("name", "form"), [("bert", "bidirectional"), ("gpt_neox", "block_diffusion")])
def test_other_families_save_and_reload(name: str, form: str, make: Make, runtime: Runtime, tmp_path: Path) -> None:
    blocks = {"block_size": 4} if form == "block_diffusion" else {}
    component = make(name, form, lora=LORA, **blocks)
    model: Any = component.load("student", runtime)
    train(model)
    expected = logits(model)
    model.save(str(tmp_path))
    torch.testing.assert_close(
        logits(component.saved_at(str(tmp_path)).load("student", runtime)), expected, rtol=1e-4, atol=1e-5
    )


def test_a_run_resumes_exactly(tmp_path: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "run"))
    from run_files import losses, student, write_run

    from tide_core.config import load_run
    from tide_core.registry import Registry
    from tide_core.run import run

    registry = Registry.discover()
    sections = {"teacher": None, "losses": ["cross_entropy"], "student": student(lora=LORA)}
    path = write_run(tmp_path, **sections, training={"steps": 4, "checkpoint_every": 2, "keep_checkpoints": 2})
    config = load_run(path, registry=registry).config
    run(config, registry)
    undisturbed = losses(tmp_path)
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "step-000004")
    assert run(config, registry).step == 4
    assert losses(tmp_path) == undisturbed
    assert not list((tmp_path / "out" / "student").glob("adapter*"))


def test_wrong_uses_are_explained(make: Make, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"lora.targets \['queries'\] fit no layer.*called .*q_proj"):
        make(lora={"targets": ("queries",)}).load("student", runtime)
    with pytest.raises(UnavailableError, match="a teacher is not trained"):
        make(lora=LORA).load("teacher", runtime)
    with pytest.raises(ValidationError, match="leave `freeze` out"):
        make(lora=LORA, freeze=("model.norm.*",))
    with pytest.raises(ValidationError, match="greater than 0"):
        make(lora={"rank": 0})
    from tide_plugins.architectures.adapter import lora

    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"needs the package peft; install .* the extra 'lora'"):
        make(lora=LORA).check(trust_remote_code=False)


def test_describing_the_option_imports_no_peft() -> None:
    code = "import sys, tide_plugins.architectures as a; a.tide_architectures(); assert not {'torch', 'peft'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
