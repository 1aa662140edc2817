"""Bits per byte on tiny transformers models of every form."""

from __future__ import annotations

import math

import pytest
import torch
from evaluator_toys import Held

from tide_plugins.architectures import HuggingFace
from tide_plugins.attention import Eager
from tide_plugins.evaluators import BitsPerByte
from tide_specs import Example, Message, Runtime

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
FORMS = [
    {"form": "bidirectional"},
    {"form": "block_diffusion", "block_size": 4},
    {"form": "block_diffusion", "block_size": 4, "order": "clean_first", "causal": True},
    {"form": "block_causal", "block_size": 4},
    {"form": "autoregressive"},
]


def text(prompt, answer, key):
    parts = [Message(role="text", content=prompt), Message(role="text", content=answer, trainable=True)]
    return Example(key=key, messages=parts)


EXAMPLES = [
    text("def f(x):", " return x + 1", "a"),
    text("é", "naïve — ok", "b"),
    text("a b", "c", "c"),
    text("x", "y" * 40, "d"),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def load(tokenizer):
    def build(scale=1.0, **options):
        config = {"model_type": "llama", "num_key_value_heads": 2, **SIZES}
        component = HuggingFace(config=config, tokenizer_from=tokenizer, dropout="off", **options)
        runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager(), seed=1)
        denoiser = component.load("teacher", runtime)
        with torch.no_grad():
            for parameter in denoiser.module.parameters():
                parameter.mul_(scale if parameter.dim() > 1 else 1.0)
        return denoiser

    return build


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary(load, options):
    denoiser = load(scale=0.0, **options)
    with torch.no_grad():
        evaluation = BitsPerByte().evaluate(denoiser, None, Held(EXAMPLES))
    columns = denoiser.head().weight.shape[0]
    assert evaluation.metrics["bits_per_byte"].value == pytest.approx(math.log2(columns), rel=1e-5)
    assert evaluation.metrics["excluded_examples"].value == 0
    assert evaluation.per_example["bytes"] == [13.0, 13.0, 1.0, 40.0]


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_padding_and_batching_change_nothing(load, options):
    denoiser = load(scale=4.0, **options)
    with torch.no_grad():
        runs = [
            BitsPerByte(batch_size=n).evaluate(denoiser, None, Held(EXAMPLES)).per_example["bits"] for n in (1, 7, 64)
        ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-4)
    assert runs[0] == pytest.approx(runs[2], rel=1e-4)


def test_what_follows_the_scored_text_gives_nothing_away(load):
    """A bidirectional model must not read later turns: the first response costs the same with and without them."""
    denoiser = load(scale=4.0, form="block_diffusion", block_size=4)
    first = [Message(role="text", content="abc"), Message(role="text", content="defg", trainable=True)]
    later = [*first, Message(role="text", content="hi"), Message(role="text", content="jk")]
    with torch.no_grad():
        bits = [
            BitsPerByte().evaluate(denoiser, None, Held([Example(key="k", messages=m)])).per_example["bits"][0]
            for m in (first, later)
        ]
    assert bits[0] == pytest.approx(bits[1], rel=1e-4)
