"""The component: its options, its messages, and what is known before anything loads."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
from arch_models import Make
from pydantic import ValidationError

from tide_plugins.architectures.huggingface import HuggingFace
from tide_specs import ConfigError, UnavailableError

CONFIG = {"model_type": "llama"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of `model`"),
        ({"model": "x", "config": CONFIG}, "exactly one of `model`"),
        ({"config": {}, "tokenizer_from": "x"}, "needs a `model_type`"),
        ({"config": CONFIG}, "give `tokenizer_from`"),
        ({"model": "x", "form": "block_diffusion"}, "needs `block_size`"),
        ({"model": "x", "form": "block_diffusion", "block_size": 0}, "greater than 0"),
        ({"model": "x", "form": "bidirectional", "block_size": 4}, "has no blocks"),
        ({"model": "x", "form": "autoregressive", "shift": "none"}, "predicts the next token"),
        ({"model": "x", "form": "bidirectional", "causal": True}, "belongs to form 'block_diffusion'"),
        ({"model": "x", "form": "diagonal"}, "bidirectional"),
        ({"model": "x", "blok_size": 4}, "Extra inputs"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HuggingFace(**options)


def test_a_form_must_be_known() -> None:
    with pytest.raises(ConfigError, match=r"`form` is missing.*give one of bidirectional"):
        _ = HuggingFace(model="org/name").denoiser_form


def test_the_autoregressive_form_is_a_teacher_only() -> None:
    component = HuggingFace(model="org/name", form="autoregressive")
    assert component.serves("teacher") is None
    assert "reads only clean tokens" in str(component.serves("student"))
    assert component.native_shift == "right"


@pytest.mark.parametrize(
    ("form", "needs"), [("bidirectional", "full"), ("autoregressive", "causal"), ("block_diffusion", "block_diffusion")]
)
def test_what_a_form_needs(form: str, needs: str, make: Make) -> None:
    blocks = {"block_size": 32} if form == "block_diffusion" else {}
    component = make("llama", form, **blocks)
    assert component.attention_needs() == {needs}
    assert component.length_multiple == (32 if blocks else 1)
    assert component.denoiser_form == form
    assert pickle.loads(pickle.dumps(component)) == component


def test_discovery_imports_no_torch() -> None:
    code = (
        "import sys, tide_plugins.architectures as a; names = [c.component_name() for c in a.tide_architectures()]; "
        "assert 'huggingface' in names; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tokenizer_comes_without_weights_and_with_a_mask_token(make: Make) -> None:
    component = make()
    tokenizer = component.tokenizer("student")
    assert (tokenizer.mask_token_id, tokenizer.vocabulary_size) == (257, 258)
    assert make("llama", "autoregressive").tokenizer("teacher").mask_token_id is None
    assert make(mask_token="!").tokenizer("student").vocabulary_size == 257


def test_plan_counts_without_loading(make: Make, runtime: Any) -> None:
    component = make("qwen3", "block_diffusion", block_size=4, freeze=("model.embed_tokens.*",), pad_vocabulary_to=64)
    plan = component.plan()
    model = component.load("student", runtime).module
    assert plan["vocabulary"] == 320
    assert plan["parameters"] == sum(p.numel() for p in model.parameters())
    assert plan["trainable_parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (plan["hidden_size"], plan["layers"]) == (32, 2)


@pytest.mark.parametrize(
    ("model_type", "sizes", "message"),
    [
        ("mamba", {}, "takes no position_ids"),
        ("t5", {}, "is an encoder-decoder"),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, "layers of type 'conv'"),
        ("qwen3_next", {"layer_types": ["linear_attention", "full_attention"]}, "layers of type 'linear_attention'"),
        ("llama4_text", {"layer_types": ["chunked_attention", "full_attention"]}, "layers of type 'chunked_attention'"),
        ("gptj", {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}, "does not use transformers' attention"),
        ("stablelm", {}, "does not hand keyword arguments down"),
        ("deberta", {}, "never calls transformers' attention interface"),
        ("bloom", {"n_head": 4, "n_layer": 2}, "takes no position_ids"),
        ("doge", {}, "builds an attention mask of its own"),
    ],
)
def test_models_that_no_layout_governs_are_refused_by_name(
    model_type: str, sizes: dict[str, Any], message: str, make: Make, runtime: Any
) -> None:
    with pytest.raises(UnavailableError, match=model_type) as error:
        make(model_type, sizes=sizes).load("student", runtime)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("model_type", "sizes", "message"),
    [
        ("lama", {}, "did you mean llama"),
        ("llama", {"num_attention_heads": 5}, "model_type 'llama'"),
        ("llama", {"vocab_size": 100}, "vocab_size is 100, but the tokenizer has 258 ids"),
    ],
)
def test_wrong_sizes_are_explained(
    model_type: str, sizes: dict[str, Any], message: str, make: Make, runtime: Any
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(model_type, sizes=sizes).load("student", runtime)


def test_a_freeze_pattern_that_matches_nothing_is_an_error(make: Make, runtime: Any) -> None:
    with pytest.raises(ConfigError, match="matches no parameter"):
        make(freeze=("embeddings.*",)).load("student", runtime)
