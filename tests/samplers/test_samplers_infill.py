"""Gaps in the middle of given text."""

from collections import Counter

import numpy as np
import pytest
from sampler_toys import EOT, FORMS, MASK, POLICIES, TableDenoiser, close

from tide_plugins.samplers import AutoregressiveSampler, BlockSampler, WindowSampler
from tide_specs import ConfigError

TEXTS = [
    [3, MASK, 5, MASK, MASK, 4],
    [4, 4, 5],
    [MASK],
    [5, 5, 5, 5, 5, 3, 4, 6, 6, MASK, 3, 3, MASK, MASK],
    [EOT, MASK, 4, EOT],
    [],
]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(("form", "block"), FORMS)
@pytest.mark.parametrize(
    "sampler", [*(BlockSampler(**policy) for policy in POLICIES), WindowSampler(window=2)], ids=str
)
def test_gaps_are_filled_and_the_rest_is_kept(sampler, form, block, cached):
    denoiser = TableDenoiser(form, 7, block, sharpness=2.0, cached=cached and block is not None)
    found = sampler.infill(denoiser, TEXTS, seed=3)
    for text, filled in zip(TEXTS, found.ids, strict=True):
        assert len(filled) == len(text)
        for given, token in zip(text, filled, strict=True):
            assert token not in (MASK, EOT) if given == MASK else token == given
    alone = [sampler.infill(denoiser, [text], seed=3).ids[0] for text in TEXTS]
    assert alone == found.ids


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("form", ["block_diffusion", "block_causal"])
def test_the_cache_changes_nothing(form, block):
    runs = [
        BlockSampler(temperature=1.0).infill(TableDenoiser(form, 7, block, sharpness=2.0, cached=cached), TEXTS)
        for cached in (False, True)
    ]
    assert runs[0].ids == runs[1].ids


def test_a_gap_is_drawn_from_its_conditional_on_both_sides():
    denoiser = TableDenoiser("bidirectional", 6, never=(0, 1, 2), sharpness=1.5)
    found = BlockSampler(temperature=1.0).infill(denoiser, [[3, MASK, 4]] * 3000)
    expected = np.exp(denoiser.log_p((3, MASK, 4), 1))
    close(Counter(ids[1] for ids in found.ids), {token: float(expected[token]) for token in range(3, 6)}, 3000)


def test_text_without_gaps_costs_nothing():
    found = BlockSampler().infill(TableDenoiser("bidirectional", 6), [[3, 4], []])
    assert (found.ids, found.forwards) == ([[3, 4], []], 0)


def test_guidance_masks_all_that_is_given():
    denoiser = TableDenoiser("bidirectional", 7, sharpness=2.0, never=(0, 1, 2))
    given, without = denoiser.log_p((3, MASK, 5), 1), denoiser.log_p((MASK, MASK, MASK), 1)
    guided = without + 3.0 * (given - without)
    found = BlockSampler(guidance=2.0).infill(denoiser, [[3, MASK, 5]])
    assert found.ids[0][1] == 3 + int(guided[3:].argmax())


def test_a_sampler_that_only_continues_says_which_fill_in():
    with pytest.raises(ConfigError, match="'autoregressive' continues texts and cannot fill in gaps; samplers 'block'"):
        AutoregressiveSampler().infill(TableDenoiser("autoregressive", 6), [[3]])
