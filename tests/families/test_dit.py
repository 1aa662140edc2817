"""MDLM and BD3LM: published checkpoints compute what their papers say, are saved as they came, and decode with a cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import logits
from dit_checkpoints import (
    BD3LM,
    MASK,
    MDLM,
    VOCABULARY,
    Weights,
    reference,
    seen_by_all,
    seen_in_blocks,
    weights_of,
    write,
)
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tide_plugins.architectures.dit import Dit
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.samplers.block import BlockSampler
from tide_specs import CheckpointError, ConfigError, DataError, Denoiser, Role, Runtime, UnavailableError

LENGTH = 12
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Bytes and an end-of-text token: like GPT-2's, without a mask token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("gpt2")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>").save_pretrained(folder)
    return str(folder)


def runtime(**given: Any) -> Runtime:
    base: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float64, "attention": Eager(), "seed": 5}
    return Runtime(**{**base, **given})


def load(component: Dit, *, role: Role = "teacher", **given: Any) -> Any:
    return component.load(role, runtime(**given))


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Noised and clean ids [3, 12] and lengths."""
    generator = torch.Generator().manual_seed(1)
    clean = torch.randint(0, 256, (3, LENGTH), generator=generator)
    hidden = torch.rand(clean.shape, generator=generator) < 0.5
    return clean.masked_fill(hidden, MASK), clean, torch.tensor([LENGTH, 8, 4])


def real(x: Tensor, lengths: Tensor) -> Tensor:
    """Positions that are not padding, and every column but the mask token's."""
    return x[torch.arange(x.shape[1]) < lengths[:, None]][:, :MASK]


def expected(settings: dict[str, Any], weights: Weights, noised: Tensor, clean: Tensor, lengths: Tensor) -> Tensor:
    length = clean.shape[1]
    if settings["model_type"] == "mdlm":
        return reference(weights, noised, torch.arange(length), seen_by_all(lengths, length))
    seen = seen_in_blocks(lengths, length, settings["block_size"])
    both = torch.cat([noised, clean], 1)
    return reference(weights, both, torch.arange(length).repeat(2), seen)[:, :length]


@pytest.mark.parametrize("settings", [MDLM, BD3LM, {**BD3LM, "adaln": False}], ids=["mdlm", "bd3lm", "plain"])
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_logits_equal_the_published_description(
    settings: dict[str, Any], padded: bool, rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    noised, clean, lengths = rows
    lengths = lengths if padded else torch.full_like(lengths, LENGTH)
    weights = weights_of(settings)
    model = load(Dit(model=str(write(tmp_path, settings, weights)), tokenizer_from=tokenizer))
    found = logits(model, noised, clean, lengths)
    wanted = expected(settings, weights, noised, clean, lengths)
    torch.testing.assert_close(real(found, lengths), real(wanted, lengths), **EXACT)
    assert real(wanted, lengths).std() > 0.5


def test_the_mask_token_is_never_predicted(rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path) -> None:
    """SUBS: the published trainer adds a million below zero to the mask token's logit before the softmax."""
    noised, clean, lengths = rows
    weights = weights_of(MDLM)
    model = load(Dit(model=str(write(tmp_path, MDLM, weights)), tokenizer_from=tokenizer))
    wanted = expected(MDLM, weights, noised, clean, lengths)
    wanted[..., MASK] -= 1e6
    found = logits(model, noised, clean, lengths).softmax(-1)
    torch.testing.assert_close(found[0], wanted.softmax(-1)[0], **EXACT)
    assert model.mask_token_id == MASK and bool((found[..., MASK] == 0).all())


def test_the_form_is_read_from_config_json(tokenizer: str, tmp_path: Path) -> None:
    for number, (settings, form, block) in enumerate(
        [
            (MDLM, "bidirectional", None),
            *(({**BD3LM, "block_size": size}, "block_diffusion", size) for size in (4, 8, 16)),
            ({**BD3LM, "block_size": 32}, "bidirectional", None),  # its pretraining checkpoint: one block a row
            ({**BD3LM, "cross_attn": False}, "bidirectional", None),
            ({**BD3LM, "model_type": None, "auto_map": {}}, "block_diffusion", 4),
            ({**BD3LM, "model_type": None, "architectures": None}, "block_diffusion", 4),
            ({**MDLM, "model_type": None, "auto_map": {}}, "bidirectional", None),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(settings))
        component = Dit(model=str(folder), tokenizer_from=tokenizer)
        assert (component.denoiser_form, component.block) == (form, block), settings
        assert component.length_multiple == (block or 1)
        assert component.attention_needs() == {"full" if block is None else "block_diffusion"}
        assert component.plan()["vocabulary"] == VOCABULARY


def test_either_checkpoint_serves_as_the_other(
    rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    noised, clean, lengths = rows
    weights = weights_of(MDLM)
    folder = str(write(tmp_path / "mdlm", MDLM, weights))
    component = Dit(model=folder, tokenizer_from=tokenizer, form="block_diffusion", block_size=4)
    wanted = real(expected({**BD3LM, "block_size": 4}, weights, noised, clean, lengths), lengths)
    model = load(component)
    torch.testing.assert_close(real(logits(model, noised, clean, lengths), lengths), wanted, **EXACT)
    saved = str(tmp_path / "bd3lm")
    model.save(saved)
    settings = json.loads((Path(saved) / "config.json").read_text())
    assert settings["model_type"] == "bd3lm" and settings["block_size"] == 4 and settings["cross_attn"]
    assert not settings["var_min"] and "auto_map" not in settings
    again = load(Dit(model=saved))
    torch.testing.assert_close(real(logits(again, noised, clean, lengths), lengths), wanted, **EXACT)


@pytest.mark.parametrize("settings", [MDLM, BD3LM], ids=["mdlm", "bd3lm"])
def test_a_saved_checkpoint_is_what_was_published(
    settings: dict[str, Any], rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    weights = weights_of(settings)
    component = Dit(model=str(write(tmp_path / "published", settings, weights)), tokenizer_from=tokenizer, dropout=0.1)
    model = load(component)
    model.save(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == settings
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], weights[name]) for name in weights)
    again = load(component.saved_at(str(tmp_path / "saved")))
    assert torch.equal(logits(again, *rows), logits(model, *rows))
    assert again.tokenizer.fingerprint() == model.tokenizer.fingerprint()


@pytest.mark.parametrize("attention", [Eager(), Sdpa()], ids=["eager", "sdpa"])
def test_decoding_with_a_cache_equals_the_whole_forward(
    attention: Any, rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    noised, clean, lengths = rows
    model = load(
        Dit(model=str(write(tmp_path, BD3LM, weights_of(BD3LM))), tokenizer_from=tokenizer), attention=attention
    )
    whole = model.hidden(noised, clean, lengths)
    session = model.session(3)
    session.extend(clean[:, :8], torch.tensor([8, 4, 0]))
    for row, start in enumerate((8, 4, 0)):
        block = slice(start, start + 4)
        found = session.hidden(noised[:, block])[row]
        torch.testing.assert_close(found, whole[row, block], rtol=1e-9, atol=1e-9)
    session.keep(torch.tensor([0]))
    torch.testing.assert_close(session.hidden(noised[:1, 8:]), whole[:1, 8:], rtol=1e-9, atol=1e-9)


def test_the_bidirectional_form_has_no_cache(tokenizer: str, tmp_path: Path) -> None:
    model = load(Dit(model=str(write(tmp_path, MDLM, weights_of(MDLM))), tokenizer_from=tokenizer))
    with pytest.raises(NotImplementedError, match="nothing can be cached"):
        model.session(1)


@pytest.mark.parametrize("settings", [MDLM, BD3LM], ids=["mdlm", "bd3lm"])
def test_views_share_a_clean_stream(
    settings: dict[str, Any], rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    noised, clean, lengths = rows
    other = torch.where(noised == MASK, clean, MASK)
    model = load(Dit(model=str(write(tmp_path, settings, weights_of(settings))), tokenizer_from=tokenizer))
    together = model.hidden_views(torch.stack([noised, other]), clean, lengths)
    for view, alone in zip(together, (noised, other), strict=True):
        found, wanted = (
            x[torch.arange(LENGTH) < lengths[:, None]] for x in (view, model.hidden(alone, clean, lengths))
        )
        torch.testing.assert_close(found, wanted, **EXACT)


def broken(folder: Path, change: Any, settings: dict[str, Any] = MDLM) -> str:
    weights = weights_of(settings)
    change(weights)
    return str(write(folder, settings, weights))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("backbone.blocks.1.attn_out.weight"), r"1 weights are missing.*blocks\.1\.attn_out\.weight"),
        (lambda w: w.update({"backbone.extra": torch.zeros(2)}), r"1 weights have no place.*backbone\.extra"),
        (
            lambda w: w.update({"backbone.blocks.0.norm1.weight": torch.zeros(3)}),
            r"blocks\.0\.norm1\.weight' is \[3\] where config.json makes it \[32\]",
        ),
    ],
    ids=["missing", "left over", "misshapen"],
)
def test_a_wrong_key_is_named(change: Any, message: str, tokenizer: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(Dit(model=broken(tmp_path, change), tokenizer_from=tokenizer))


def test_rotary_frequencies_may_be_missing(tokenizer: str, tmp_path: Path) -> None:
    folder = broken(tmp_path, lambda w: w.pop("backbone.rotary_emb.inv_freq"))
    found = load(Dit(model=folder, tokenizer_from=tokenizer)).module.state_dict()["backbone.rotary_emb.inv_freq"]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.1, 0.01, 0.001]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"time_conditioning": True}, UnavailableError, "time_conditioning is true"),
        ({"causal": True}, UnavailableError, "causal is true"),
        ({"model_type": "llama", "architectures": [], "auto_map": {}}, CheckpointError, "'llama' is neither 'mdlm'"),
        ({"n_blocks": None}, CheckpointError, "n_blocks is None"),
        ({"n_heads": 5}, CheckpointError, "hidden_dim 32 is not an even multiple of n_heads 5"),
        ({"vocab_size": 300}, DataError, "has 258 ids, its mask token included.*vocab_size 300"),
    ],
)
def test_a_wrong_configuration_is_named(
    change: dict[str, Any], error: type[Exception], message: str, tokenizer: str, tmp_path: Path
) -> None:
    component = Dit(model=str(write(tmp_path, {**MDLM, **change}, weights_of(MDLM))), tokenizer_from=tokenizer)
    with pytest.raises(error, match=message):
        load(component)
    if error is not DataError:
        with pytest.raises(error, match=message):
            component.check(trust_remote_code=False)


def test_pickles_and_incomplete_directories_are_refused(tokenizer: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        Dit(model=str(tmp_path / "nowhere"), tokenizer_from=tokenizer).check(trust_remote_code=False)
    with pytest.raises(CheckpointError, match=r"config\.json: missing"):
        Dit(model=str(tmp_path), tokenizer_from=tokenizer).check(trust_remote_code=False)
    (tmp_path / "config.json").write_text(json.dumps(MDLM))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    component = Dit(model=str(tmp_path), tokenizer_from=tokenizer)
    for act in (lambda: component.check(trust_remote_code=False), lambda: load(component)):
        with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle.*convert it to safetensors"):
            act()
    save_file({"x": torch.zeros(9)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-4])
    with pytest.raises(CheckpointError, match="its header promises"):
        load(component)


def test_a_directory_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    component = Dit(model=str(write(tmp_path, MDLM, weights_of(MDLM))))
    with pytest.raises(DataError, match="holds no tokenizer; say `tokenizer_from`"):
        component.tokenizer("teacher")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `model`"),
        ({"tokenizer_from": "t"}, "random weights need `form`"),
        ({"tokenizer_from": "t", "form": "block_diffusion"}, "needs `block_size`"),
        ({"tokenizer_from": "t", "form": "bidirectional", "block_size": 4}, "leave `block_size` out"),
        ({"model": "m", "layers": 2}, "leave `layers` out"),
        ({"tokenizer_from": "t", "form": "bidirectional", "hidden_size": 30}, "not an even multiple"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dit(**options)


def test_blocks_that_do_not_fit_the_checkpoint(tokenizer: str, tmp_path: Path) -> None:
    folder = str(write(tmp_path, MDLM, weights_of(MDLM)))
    with pytest.raises(ConfigError, match="the checkpoint is bidirectional"):
        _ = Dit(model=folder, tokenizer_from=tokenizer, block_size=4).block
    with pytest.raises(ConfigError, match="needs `block_size`"):
        _ = Dit(model=folder, tokenizer_from=tokenizer, form="block_diffusion").block
    with pytest.raises(ConfigError, match="covers the whole row"):
        _ = Dit(model=folder, tokenizer_from=tokenizer, form="block_diffusion", block_size=32).block


def small(tokenizer: str, **options: Any) -> Dit:
    sizes: dict[str, Any] = {"hidden_size": 32, "layers": 2, "heads": 4, "conditioning_size": 12, "model_length": 32}
    return Dit(**{**sizes, "tokenizer_from": tokenizer, "form": "bidirectional", **options})


def test_random_weights_start_as_published(rows: tuple[Tensor, Tensor, Tensor], tokenizer: str) -> None:
    model, again, other = (load(small(tokenizer), seed=seed) for seed in (1, 1, 2))
    states = [x.module.state_dict() for x in (model, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(
        states[0]["backbone.blocks.0.attn_qkv.weight"], states[2]["backbone.blocks.0.attn_qkv.weight"]
    )
    assert {name for name, value in states[0].items() if not value.any()} == {
        name for name in states[0] if "adaLN" in name or "output_layer.linear" in name
    }
    assert states[0].keys() == weights_of(MDLM).keys()
    assert not logits(model, *rows)[..., :MASK].any()


def test_plan_and_facts_count_what_is_loaded(tokenizer: str, tmp_path: Path) -> None:
    published = Dit(model=str(write(tmp_path, BD3LM, weights_of(BD3LM))), tokenizer_from=tokenizer)
    for component in (published, small(tokenizer)):
        model: Denoiser = load(component, role="student")
        plan, facts = component.plan(), model.facts()
        assert plan["parameters"] == facts["parameters"] == facts["trainable_parameters"]
        assert (plan["hidden_size"], plan["layers"], plan["vocabulary"]) == (32, 2, VOCABULARY)
    assert (load(published).facts()["family"], load(published).facts()["trainable_parameters"]) == ("bd3lm", 0)


def test_the_published_size_is_the_default(tokenizer: str) -> None:
    plan = Dit(tokenizer_from=tokenizer, form="bidirectional").plan()
    without_vocabulary = plan["parameters"] - VOCABULARY * (2 * 768 + 1)
    # 169 M parameters with GPT-2's 50258 rows, as the paper counts them
    assert 168e6 < without_vocabulary + 50258 * (2 * 768 + 1) < 171e6


@pytest.mark.parametrize("settings", [MDLM, BD3LM], ids=["mdlm", "bd3lm"])
def test_a_student_learns_with_and_without_recomputation(
    settings: dict[str, Any], rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    component = Dit(model=str(write(tmp_path, settings, weights_of(settings))), tokenizer_from=tokenizer, dropout=0.0)
    gradients = []
    for recompute in (False, True):
        model = load(component, role="student", dtype=torch.bfloat16, gradient_checkpointing=recompute)
        model.head().logits(model.hidden(*rows).flatten(0, 1)).log_softmax(-1)[:, 0].sum().backward()
        gradients.append({name: p.grad for name, p in model.module.named_parameters()})
        assert model.module.training
        assert {p.dtype for p in model.module.parameters()} == {torch.float32}
    for name, grad in gradients[0].items():
        assert grad is not None and bool(grad.abs().sum() > 0), name
        torch.testing.assert_close(grad, gradients[1][name], rtol=1e-4, atol=1e-5)


def test_dropout_acts_in_training_alone(rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path) -> None:
    folder = str(write(tmp_path, MDLM, weights_of(MDLM)))
    model = load(Dit(model=folder, tokenizer_from=tokenizer, dropout=0.5), role="student")
    first, second = model.hidden(*rows), model.hidden(*rows)
    assert not torch.equal(first, second)
    model.module.eval()
    assert torch.equal(model.hidden(*rows), model.hidden(*rows))


def test_half_precision_leaves_the_positions_alone(
    rows: tuple[Tensor, Tensor, Tensor], tokenizer: str, tmp_path: Path
) -> None:
    weights = {name: value.float() for name, value in weights_of(MDLM).items()}
    component = Dit(model=str(write(tmp_path, MDLM, weights)), tokenizer_from=tokenizer)
    model = load(component, dtype=torch.bfloat16)
    kept = model.module.to(torch.bfloat16).state_dict()["backbone.rotary_emb.inv_freq"]
    assert torch.equal(kept, weights["backbone.rotary_emb.inv_freq"])
    assert {p.dtype for p in model.module.parameters()} == {torch.bfloat16}
    exact = load(component).hidden(*rows)
    assert (model.hidden(*rows).double() - exact)[0].abs().max() < 0.2 * exact.abs().max()


def test_weights_do_not_hang_on_their_file(tokenizer: str, tmp_path: Path) -> None:
    weights = weights_of(MDLM)
    model = load(Dit(model=str(write(tmp_path, MDLM, weights)), tokenizer_from=tokenizer))
    with safe_open(tmp_path / "model-00001-of-00002.safetensors", framework="pt") as opened:
        name = next(iter(opened.keys()))
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"\0" * file.stat().st_size)
    assert torch.equal(model.module.state_dict()[name], weights[name])


def test_writing_beyond_the_trained_length_is_warned_of(tokenizer: str, tmp_path: Path) -> None:
    model = load(Dit(model=str(write(tmp_path, MDLM, weights_of(MDLM))), tokenizer_from=tokenizer))
    assert model.trained_length == MDLM["model_length"]
    with pytest.warns(
        UserWarning, match=r"prompt 0 has 30 tokens and 4 more are asked for, more than the 32 positions"
    ):
        BlockSampler(steps_per_block=1).sample(model, [[4] * 30], max_new_tokens=4)
