"""Each mistake is one clear error, before the model is asked anything."""

import warnings

import pytest
from pydantic import ValidationError
from sampler_toys import MASK, TableDenoiser

from tide_plugins.samplers import AutoregressiveSampler, BlockSampler, WindowSampler
from tide_specs import ConfigError, DataError


def refused(error, words, sampler, denoiser, prompts, count=4):
    with pytest.raises(error, match=words):
        sampler.sample(denoiser, prompts, max_new_tokens=count)
    assert denoiser.calls == []


@pytest.mark.parametrize("sampler", [BlockSampler(), WindowSampler()])
def test_models_that_cannot_be_served(sampler):
    refused(ConfigError, "needs sampler 'autoregressive'", sampler, TableDenoiser("autoregressive", 7), [[3]])
    unmasked = TableDenoiser("bidirectional", 7)
    unmasked.mask_token_id = None
    refused(ConfigError, f"{sampler.name!r} needs a model with a mask token", sampler, unmasked, [[3]])


def test_a_block_that_does_not_fit():
    denoiser = TableDenoiser("block_diffusion", 7, 4)
    refused(ConfigError, "does not divide the model's blocks of 4", BlockSampler(block_length=3), denoiser, [[3]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score": "random", "commit": "threshold"}, "random scores mean nothing to a threshold"),
        ({"steps_per_block": 4, "commit": "threshold"}, "leave steps_per_block out"),
        ({"steps_per_block": 4, "tokens_per_step": 2}, "both set the quota"),
        ({"tokens_per_step": 2, "commit": "first_hitting"}, "has no quota"),
        ({"tokens_per_step": 2, "commit": "entropy_budget"}, "has no quota"),
        ({"revise": "rescaled", "commit": "first_hitting"}, "revise needs a quota"),
        ({"revise": "confidence", "commit": "threshold"}, "revise needs a quota"),
        ({"end_of_turn": "last", "commit": "first_hitting"}, "does not rank tokens"),
        ({"end_of_turn": "never", "min_new_tokens": 2}, "leave min_new_tokens out"),
        ({"revise": "rescaled", "revision": 0.0}, "greater than 0"),
        ({"guidance": -1.0}, "greater than or equal to 0"),
    ],
)
def test_options_that_contradict_each_other(options, words):
    with pytest.raises(ValidationError, match=words):
        BlockSampler(**options)


def test_a_minimum_beyond_the_maximum():
    for sampler, form in ((BlockSampler, "bidirectional"), (WindowSampler, "bidirectional"), (AutoregressiveSampler, "autoregressive")):  # fmt: skip
        words = "min_new_tokens is 5, but at most 4 tokens are asked for"
        refused(ConfigError, words, sampler(min_new_tokens=5), TableDenoiser(form, 7), [[3]])


def test_mask_tokens_in_a_prompt():
    refused(
        DataError, "prompt 1 holds the mask token 0", BlockSampler(), TableDenoiser("bidirectional", 7), [[3], [MASK]]
    )


def short(form, block=None, **limits):
    denoiser = TableDenoiser(form, 7, block, never=(1,))
    for name, value in limits.items():
        setattr(denoiser, name, value)
    return denoiser


@pytest.mark.parametrize(
    ("sampler", "form"), [(BlockSampler(), "bidirectional"), (AutoregressiveSampler(), "autoregressive")]
)
def test_more_tokens_than_the_model_has_positions(sampler, form):
    words = "prompt 1 has 5 tokens and 4 more are asked for, but the model has only 8 positions: ask for at most 3"
    refused(DataError, words, sampler, short(form, longest=8), [[3], [4] * 5])
    refused(
        DataError, "prompt 0 has 9 tokens.* only 8 positions: shorten it", sampler, short(form, longest=8), [[4] * 9]
    )
    assert len(sampler.sample(short(form, longest=9), [[4] * 5], max_new_tokens=4).ids[0]) == 4


def test_positions_are_counted_in_whole_blocks():
    words = "prompt 0 has 5 tokens and 4 more are asked for, 12 in whole blocks of 4, but .* 10 positions: ask for at most 3"
    refused(DataError, words, BlockSampler(), short("block_diffusion", 4, longest=10), [[4] * 5])
    assert BlockSampler().sample(short("block_diffusion", 4, longest=10), [[4] * 5], max_new_tokens=3).ids


def test_gaps_beyond_the_model():
    with pytest.raises(DataError, match="only 3 positions: shorten it"):
        BlockSampler().infill(short("bidirectional", longest=3), [[3, MASK, 4, 4]])


def test_beyond_what_a_model_was_made_for_is_a_warning():
    with pytest.warns(UserWarning, match="more than the 8 positions the model was made for"):
        BlockSampler().sample(short("bidirectional", trained_length=8), [[4] * 5], max_new_tokens=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BlockSampler().sample(short("bidirectional", trained_length=9), [[4] * 5], max_new_tokens=4)
