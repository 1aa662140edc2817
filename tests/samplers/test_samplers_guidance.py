"""Classifier-free guidance, minimum lengths, and end-of-turn tokens."""

import numpy as np
import pytest
from sampler_toys import EOT, FORMS, MASK, PROMPTS, TableDenoiser

from tide_plugins.samplers import AutoregressiveSampler, BlockSampler, WindowSampler


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_guided_logits_move_away_from_those_without_the_prompt(weight):
    denoiser, seen = TableDenoiser("bidirectional", 7, sharpness=2.0, never=(0, 1, 2)), []
    found = BlockSampler(guidance=weight).sample(denoiser, [[3, 4]], max_new_tokens=3, watch=seen.append)
    answer = [MASK] * 3
    for step in seen:
        logits = []
        for place in range(3):
            conditional, without = (denoiser.log_p((*prompt, *answer), 2 + place) for prompt in ((3, 4), (MASK, MASK)))
            guided = without + (1 + weight) * (conditional - without)
            guided = np.where(np.arange(7) < 3, -np.inf, guided)
            logits.append(guided - np.log(np.exp(guided - guided.max()).sum()) - guided.max())
        best = max((place for place in range(3) if answer[place] == MASK), key=lambda place: logits[place].max())
        assert (list(step.positions), list(step.tokens)) == ([2 + best], [int(logits[best].argmax())])
        assert step.scores[0] == pytest.approx(np.exp(logits[best].max()), rel=1e-4)
        answer[best] = step.tokens[0]
    assert found.ids[0] == answer


def test_both_predictions_share_a_pass():
    plain = BlockSampler().sample(TableDenoiser("bidirectional", 7, never=(1,)), PROMPTS, max_new_tokens=4)
    guided = BlockSampler(guidance=1.0).sample(TableDenoiser("bidirectional", 7, never=(1,)), PROMPTS, max_new_tokens=4)
    assert guided.forwards == plain.forwards == 4
    assert guided.positions == 2 * plain.positions


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("form", ["block_diffusion", "block_causal"])
def test_a_cache_holds_both_predictions(form, block):
    runs = [
        BlockSampler(guidance=1.5, temperature=1.0).sample(
            TableDenoiser(form, 7, block, sharpness=2.0, cached=cached), PROMPTS, max_new_tokens=9
        )
        for cached in (False, True)
    ]
    assert runs[0].ids == runs[1].ids


@pytest.mark.parametrize("sampler", [BlockSampler, WindowSampler])
@pytest.mark.parametrize(("form", "block"), FORMS)
def test_an_answer_has_its_minimum_length(sampler, form, block):
    denoiser = TableDenoiser(form, 7, block, wants_end_at=set(range(40)), never=(0, 2))
    assert sampler().sample(denoiser, PROMPTS, max_new_tokens=9).ids == [[], [], [], []]
    found = sampler(min_new_tokens=5).sample(denoiser, PROMPTS, max_new_tokens=9)
    assert [len(ids) for ids in found.ids] == [5] * 4


def test_an_autoregressive_answer_has_its_minimum_length():
    denoiser = TableDenoiser("autoregressive", 7, wants_end_at=set(range(40)), never=(0, 2))
    found = AutoregressiveSampler(min_new_tokens=3).sample(denoiser, PROMPTS, max_new_tokens=6)
    assert [len(ids) for ids in found.ids] == [3] * 4


def test_end_of_turn_never_and_last():
    eager = TableDenoiser("bidirectional", 7, wants_end_at={3, 4, 5, 6}, never=(0, 2))
    never = BlockSampler(end_of_turn="never").sample(eager, [[3, 3]], max_new_tokens=6)
    assert len(never.ids[0]) == 6
    orders = {}
    for kind in ("free", "last"):
        seen = []
        BlockSampler(end_of_turn=kind).sample(eager, [[3, 3]], max_new_tokens=6, watch=seen.append)
        orders[kind] = [int(step.tokens[0]) for step in seen]
    assert orders["free"][0] == EOT, "certain as it is, it comes first"
    assert EOT not in orders["last"][:2], "positions 2 and 7 want other tokens"
