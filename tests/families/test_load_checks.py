"""Checks while a model loads: the shift that its weights have learnt, and files that cannot be read as weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_dream import tokenizer_files, write_dream

from tide_plugins.architectures.adapter.shift import CODE, warn_of_shift
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_specs import CheckpointError, Denoiser, Message, Runtime

DEMO = Path(__file__).parents[2] / "examples" / "demo" / "teacher"
RUNTIME = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager())
SIZES = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4}
PLAIN: dict[str, Any] = {"model_type": "qwen2", "architectures": None, "auto_map": None, "mask_token_id": None}
FORMS: dict[str, dict[str, Any]] = {
    "bidirectional": {"form": "bidirectional"},
    "block_diffusion": {"form": "block_diffusion", "block_size": 8},
}


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def trained(folder: Path, shift: str, form: str) -> Denoiser:
    """Train a tiny model to fill in the bytes of a text, until it does so far better than their frequencies would."""
    tokenizer_files(folder, code=False)
    config = {"model_type": "llama", "max_position_embeddings": 256, **SIZES}
    component = HuggingFace(
        config=config, tokenizer_from=str(folder), shift=shift, mask_token="<|mask|>", **FORMS[form]
    )
    model: Any = component.load("student", RUNTIME)
    ids = torch.tensor([model.tokenizer.encode_prompt([Message(role="text", content=CODE)])[:128]])
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        rows = ids.expand(4, -1)
        masked = torch.rand(rows.shape, generator=generator) < 0.3
        masked[:, 0] = False
        hidden = model.hidden(rows.masked_fill(masked, model.mask_token_id), rows, torch.full((4,), 128))[masked]
        loss = torch.nn.functional.cross_entropy(model.head().logits(hidden), rows[masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save(str(folder))
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shift", ["none", "right"])
def test_a_trained_model_under_the_wrong_shift_warns(
    shift: str, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path, shift, form)
    HuggingFace(model=str(tmp_path)).load("teacher", RUNTIME)
    assert warned(caplog) == []
    wrong = {**FORMS[form], "shift": "none" if shift == "right" else "right"}
    HuggingFace(model=str(tmp_path), **wrong, check_shift=False).load("student", RUNTIME)
    assert warned(caplog) == []
    HuggingFace(model=str(tmp_path), **wrong).load("student", RUNTIME)
    (message,) = warned(caplog)
    assert message.startswith(f"{tmp_path}: masked cross-entropy ")
    assert f"shift: {shift} fits, but it is configured with shift: {wrong['shift']}" in message
    assert "`check_shift: false`" in message


def test_the_shipped_teacher_under_both(caplog: pytest.LogCaptureFixture) -> None:
    HuggingFace(model=str(DEMO)).load("teacher", RUNTIME)
    assert warned(caplog) == []
    HuggingFace(model=str(DEMO), shift="right").load("teacher", RUNTIME)
    assert "shift: none fits, but it is configured with shift: right" in "".join(warned(caplog))


@pytest.mark.parametrize("shift", ["none", "right"])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_random_weights_never_warn(shift: str, scale: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However confident: a uniform guess is better than what they say."""
    folder = write_dream(tmp_path / "dream", settings=PLAIN, code=False)
    weights = load_file(folder / "model.safetensors")
    for seed in range(5):
        torch.manual_seed(seed)
        drawn = {name: scale * torch.randn_like(value) for name, value in weights.items()}
        save_file(drawn, folder / "model.safetensors", {"format": "pt"})
        component = HuggingFace(model=str(folder), form="bidirectional", shift=shift, mask_token="<|mask|>")
        model: Any = component.load("teacher", RUNTIME)
        finding = warn_of_shift(model, "x")
        assert finding is not None
        assert not finding.clear
    assert warned(caplog) == []


def test_the_check_leaves_random_numbers_and_the_mode_alone() -> None:
    component = HuggingFace(model=str(DEMO), dropout="off")
    torch.manual_seed(3)
    model = component.load("student", RUNTIME)
    after = torch.rand(1)
    torch.manual_seed(3)
    component.model_copy(update={"check_shift": False}).load("student", RUNTIME)
    assert torch.equal(after, torch.rand(1))
    assert model.module.training


def test_a_new_mask_token_has_no_shift_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that predict next tokens may become a denoiser of either shift; they are trained for it."""
    from tide_plugins.architectures.adapter import loading

    asked: list[str] = []
    monkeypatch.setattr(loading, "warn_of_shift", lambda model, name: asked.append(name))
    folder = write_dream(tmp_path / "plain", settings=PLAIN, added=(), code=False)
    model = HuggingFace(model=str(folder), form="bidirectional").load("student", RUNTIME)
    assert (model.mask_token_id, asked) == (257, [])
    model.save(str(tmp_path / "saved"))
    HuggingFace(model=str(tmp_path / "saved")).load("student", RUNTIME)
    assert asked == [str(tmp_path / "saved")]


@pytest.mark.parametrize(("dtype", "word"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_weights_that_are_not_plain_numbers_are_named(dtype: torch.dtype, word: str, tmp_path: Path) -> None:
    folder = write_dream(tmp_path / "dream")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"].to(dtype)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    message = rf"weight 'model\.layers\.0\.mlp\.up_proj\.weight' is stored as {word}, a quantized form.*bfloat16"
    for check in (
        lambda component: component.check(trust_remote_code=False),
        lambda component: component.load("teacher", RUNTIME),
    ):
        with pytest.raises(CheckpointError, match=message):
            check(HuggingFace(model=str(folder)))


def sharded(folder: Path) -> list[Path]:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    files = [folder / f"model-{n}-of-2.safetensors" for n in (1, 2)]
    for n, file in enumerate(files):
        save_file({name: weights[name] for name in names[n::2]}, file, {"format": "pt"})
    held = {name: files[n % 2].name for n, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": held}))
    return files


def test_a_shard_that_is_cut_or_missing_is_named(tmp_path: Path) -> None:
    folder = write_dream(tmp_path / "dream")
    _, second = sharded(folder)
    HuggingFace(model=str(folder)).load("teacher", RUNTIME)
    whole = second.read_bytes()
    second.write_bytes(whole[:-50])
    with pytest.raises(CheckpointError, match=r"model-2-of-2\.safetensors: \d+ bytes, but its header promises \d+"):
        HuggingFace(model=str(folder)).check(trust_remote_code=False)
    second.write_bytes(whole[:20])
    with pytest.raises(CheckpointError, match=r"model-2-of-2\.safetensors: truncated"):
        HuggingFace(model=str(folder)).check(trust_remote_code=False)
    second.unlink()
    with pytest.raises(CheckpointError, match=r"model-2-of-2\.safetensors: missing; .* lists 2 files"):
        HuggingFace(model=str(folder)).check(trust_remote_code=False)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        HuggingFace(model=str(folder), form="bidirectional").check(trust_remote_code=False)
