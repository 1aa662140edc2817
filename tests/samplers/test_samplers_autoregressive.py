"""Token by token decoding."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from sampler_toys import EOT, FIRST, TableDenoiser

from tide_plugins.samplers import AutoregressiveSampler
from tide_plugins.samplers.next_token import forbid, restrict
from tide_specs import ConfigError

PROMPTS = [[3, 4, 5], [4], [5, 5, 3, 4, 3]]


def test_the_joint_equals_enumeration():
    denoiser, draws = TableDenoiser("autoregressive", 5, never=(0, 2)), 4000
    expected = Counter()
    for length in range(4):
        for letters in itertools.product(range(FIRST, 5), repeat=length):
            text, log_p = [3], 0.0
            for letter in letters:
                log_p += denoiser.log_p(tuple(text), len(text))[letter]
                text.append(letter)
            stop = 0.0 if length == 3 else denoiser.log_p(tuple(text), len(text))[EOT]
            expected[letters] = float(np.exp(log_p + stop))
    found = AutoregressiveSampler(temperature=1.0).sample(denoiser, [[3]] * draws, max_new_tokens=3)
    observed = Counter(map(tuple, found.ids))
    assert sum(expected.values()) == pytest.approx(1.0)
    for key, p in expected.items():
        assert abs(observed[key] / draws - p) < 5 * np.sqrt(p * (1 - p) / draws) + 1 / draws


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_does_not_depend_on_the_other_rows(cached, temperature):
    denoiser = TableDenoiser("autoregressive", 8, cached=cached)
    sampler = AutoregressiveSampler(temperature=temperature)
    together = sampler.sample(denoiser, PROMPTS, max_new_tokens=8).ids
    assert together == [sampler.sample(denoiser, [prompt], max_new_tokens=8).ids[0] for prompt in PROMPTS]


def test_the_cache_changes_nothing():
    runs = [
        AutoregressiveSampler(temperature=1.0).sample(
            TableDenoiser("autoregressive", 8, cached=cached), PROMPTS, max_new_tokens=8
        )
        for cached in (False, True)
    ]
    assert runs[0].ids == runs[1].ids


def test_it_ends_before_the_end_of_turn_and_at_the_limit():
    denoiser = TableDenoiser("autoregressive", 6, wants_end_at={6}, never=(0, 2))
    found = AutoregressiveSampler().sample(denoiser, [[3, 3, 3, 3], [4] * 6, [5] * 7], max_new_tokens=4)
    assert [len(ids) for ids in found.ids] == [2, 0, 4]


def test_top_k_and_top_p_keep_the_likeliest_tokens():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    def kept(**options):
        return restrict(logits, AutoregressiveSampler(**options)).isfinite()[0].tolist()

    assert kept(top_k=2) == [True, True, False, False]
    assert kept(top_p=0.7) == [True, True, False, False]
    assert kept(top_p=0.01) == [True, False, False, False]
    assert kept() == [True] * 4
    assert forbid(logits, [0, None, 9]).isfinite()[0].tolist() == [False, True, True, True]


def test_misfits_are_named():
    with pytest.raises(ConfigError, match="cannot decode a bidirectional model; use sampler 'block'"):
        AutoregressiveSampler().sample(TableDenoiser("bidirectional", 7), [[3]], max_new_tokens=4)
    with pytest.raises(ConfigError, match="at least one token to continue"):
        AutoregressiveSampler().sample(TableDenoiser("autoregressive", 7), [[3], []], max_new_tokens=4)
