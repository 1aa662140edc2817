"""Samplers on tiny transformers models: the cache and the batch change nothing."""

from __future__ import annotations

import functools
import itertools
import json

import pytest
import torch
from sampler_toys import POLICIES

from tide_plugins.architectures import HuggingFace
from tide_plugins.attention import Eager
from tide_plugins.samplers import AutoregressiveSampler, BlockSampler, WindowSampler
from tide_specs import DataError, Denoiser, Runtime

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

    @functools.cache
    def loaded(texts: str) -> Denoiser:
        return build(**json.loads(texts))

    def build(model_type="llama", sizes=None, **options) -> Denoiser:
        config = {"model_type": model_type, **(sizes or {"num_key_value_heads": 2, **SIZES})}
        component = HuggingFace(config=config, tokenizer_from=tokenizer, dropout="off", **options)
        runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager(), seed=1)
        denoiser = component.load("teacher", runtime)
        with torch.no_grad():
            for parameter in denoiser.module.parameters():
                parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
        return denoiser

    return lambda model_type="llama", **options: loaded(json.dumps({"model_type": model_type, **options}))


SAMPLERS = [*(BlockSampler(**policy) for policy in POLICIES), WindowSampler(window=3, entropy_threshold=1.0)]


@pytest.mark.parametrize("number", range(len(SAMPLERS)))
@pytest.mark.parametrize("options", [FORMS[1], FORMS[3]], ids=str)
def test_a_block_models_cache_changes_nothing_whatever_the_policy(load, options, number):
    cached_equals_uncached(load(**options), SAMPLERS[number])


@pytest.mark.parametrize("options", FORMS[1:], ids=str)
def test_a_block_models_cache_changes_nothing(load, options):
    cached_equals_uncached(load(**options), BlockSampler(commit="threshold", threshold=0.2))


def cached_equals_uncached(denoiser, sampler):
    runs = [
        sampler.model_copy(update={"cache": cache, "temperature": t}).sample(
            denoiser, PROMPTS, max_new_tokens=13, seed=2
        )
        for t, cache in itertools.product((0.0, 1.0), (False, True))
    ]
    assert runs[0].ids == runs[1].ids
    assert runs[2].ids == runs[3].ids
    assert len({tuple(ids) for ids in runs[3].ids}) == len(PROMPTS)
    assert runs[1].positions < runs[0].positions


@pytest.mark.parametrize("number", range(len(SAMPLERS)))
def test_a_row_does_not_depend_on_the_other_rows(load, number):
    denoiser, sampler = load(**FORMS[number % len(FORMS)]), SAMPLERS[number]
    for temperature in (0.0, 1.0):
        sampler = sampler.model_copy(update={"temperature": temperature})
        together = sampler.sample(denoiser, PROMPTS, max_new_tokens=10).ids
        assert together == [sampler.sample(denoiser, [prompt], max_new_tokens=10).ids[0] for prompt in PROMPTS]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_autoregressive_row_does_not_depend_on_the_other_rows(load, temperature):
    denoiser, sampler = load(form="autoregressive"), AutoregressiveSampler(temperature=temperature)
    together = sampler.sample(denoiser, PROMPTS, max_new_tokens=10).ids
    assert together == [sampler.sample(denoiser, [prompt], max_new_tokens=10).ids[0] for prompt in PROMPTS]


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_gaps_are_filled(load, options):
    denoiser = load(**options)
    text = [70, 71, *[denoiser.mask_token_id] * 6, 80, 81, 82, denoiser.mask_token_id, 83]
    filled = [BlockSampler(cache=cache).infill(denoiser, [text, text[:5]]).ids for cache in (False, True)]
    assert filled[0] == filled[1]
    assert [token for token, given in zip(filled[0][0], text, strict=True) if given < 256] == [70, 71, 80, 81, 82, 83]
    assert denoiser.mask_token_id not in filled[0][0]


def test_a_position_table_and_a_made_for_length_are_known(load):
    learned = load("gpt2", form="autoregressive", sizes={"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 4})
    with pytest.raises(DataError, match="9 tokens and 8 more are asked for, but the model has only 16 positions"):
        AutoregressiveSampler().sample(learned, [[80] * 9], max_new_tokens=8)
    assert AutoregressiveSampler(min_new_tokens=7).sample(learned, [[80] * 9], max_new_tokens=7).forwards == 7
    rotary = load(form="bidirectional", sizes={**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 16})
    with pytest.warns(UserWarning, match="more than the 16 positions the model was made for"):
        BlockSampler(tokens_per_step=8).sample(rotary, [[80] * 9], max_new_tokens=8)


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
