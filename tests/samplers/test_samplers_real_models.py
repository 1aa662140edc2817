"""Samplers on tiny transformers models: the cache and the batch change nothing."""

from __future__ import annotations

import itertools

import pytest
import torch

from tide_plugins.architectures import HuggingFace
from tide_plugins.attention import Eager
from tide_plugins.samplers import AutoregressiveSampler, BlockSampler
from tide_specs import Denoiser, Runtime

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
PROMPTS = [[70, 71, 72], [80] * 9, [90, 91, 92, 93], [60]]
FORMS = [
    {"form": "bidirectional"},
    {"form": "block_diffusion", "block_size": 4},
    {"form": "block_diffusion", "block_size": 4, "order": "clean_first", "causal": True},
    {"form": "block_diffusion", "block_size": 4, "shift": "right"},
    {"form": "block_causal", "block_size": 8},
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
    """Random weights, made large enough that predictions differ clearly between positions and contexts."""

    def build(model_type="llama", **options) -> Denoiser:
        config = {"model_type": model_type, "num_key_value_heads": 2, **SIZES}
        component = HuggingFace(config=config, tokenizer_from=tokenizer, dropout="off", **options)
        runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager(), seed=1)
        denoiser = component.load("teacher", runtime)
        with torch.no_grad():
            for parameter in denoiser.module.parameters():
                parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
        return denoiser

    return build


@pytest.mark.parametrize("options", FORMS[1:], ids=str)
@pytest.mark.parametrize("policy", [{"tokens_per_step": 2}, {"commit": "threshold", "threshold": 0.2}], ids=str)
def test_a_block_models_cache_changes_nothing(load, options, policy):
    denoiser = load(**options)
    runs = [
        BlockSampler(cache=cache, temperature=t, **policy).sample(denoiser, PROMPTS, max_new_tokens=13, seed=2).ids
        for t, cache in itertools.product((0.0, 1.0), (False, True))
    ]
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert len({tuple(ids) for ids in runs[1]}) == len(PROMPTS)


@pytest.mark.parametrize("options", [*FORMS, {"form": "autoregressive"}], ids=str)
def test_a_row_does_not_depend_on_the_other_rows(load, options):
    denoiser = load(**options)
    sampler = AutoregressiveSampler() if options["form"] == "autoregressive" else BlockSampler(tokens_per_step=2)
    together = sampler.sample(denoiser, PROMPTS, max_new_tokens=10).ids
    assert together == [sampler.sample(denoiser, [prompt], max_new_tokens=10).ids[0] for prompt in PROMPTS]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_autoregressive_models_cache_changes_nothing(load, temperature):
    denoiser = load(form="autoregressive")
    runs = [
        AutoregressiveSampler(cache=cache, temperature=temperature).sample(denoiser, PROMPTS, max_new_tokens=12)
        for cache in (False, True)
    ]
    assert runs[0].ids == runs[1].ids
    assert runs[0].forwards == runs[1].forwards == max(len(ids) for ids in runs[0].ids)


def test_greedy_autoregressive_decoding_equals_transformers(load):
    denoiser = load(form="autoregressive")
    model = denoiser.module
    found = AutoregressiveSampler().sample(denoiser, [PROMPTS[0]], max_new_tokens=8).ids[0]
    ids = list(PROMPTS[0])
    eager = type(model)(model.config)
    eager.config._attn_implementation = "eager"
    eager.load_state_dict(model.state_dict())
    eager.eval()
    while len(ids) < len(PROMPTS[0]) + len(found):
        ids.append(int(eager(torch.tensor([ids])).logits[0, -1].argmax()))
    assert found == ids[len(PROMPTS[0]) :]
