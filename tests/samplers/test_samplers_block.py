"""The block sampler against enumeration, and its promises to users."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sampler_toys import EOT, FIRST, MASK, TableDenoiser

from tide_plugins.samplers import BlockSampler
from tide_plugins.samplers.policies import choose, propose
from tide_plugins.samplers.randomness import row_generators
from tide_specs import ConfigError, Head

FORMS = [("bidirectional", None), ("block_diffusion", 2), ("block_causal", 4)]
POLICIES = [
    {},
    {"tokens_per_step": 3, "score": "margin"},
    {"commit": "threshold", "threshold": 0.5, "score": "entropy"},
    {"commit": "threshold_or_quota", "threshold": 0.6, "tokens_per_step": 2},
    {"temperature": 0.7, "score": "random"},
]
PROMPTS = [[3, 4, 5], [4], [5, 5, 3, 4, 3], [3, 4, 5]]


def close(observed, expected, draws):
    """Whether frequencies differ from probabilities by less than chance explains (five standard errors)."""
    assert sum(expected.values()) == pytest.approx(1.0)
    assert set(observed) <= {key for key, p in expected.items() if p > 0}
    for key, p in expected.items():
        assert abs(observed[key] / draws - p) < 5 * np.sqrt(p * (1 - p) / draws) + 1 / draws, key


def joint_of_random_order(denoiser, prompt, length, per_step):
    """Probability of every answer when each step commits ``per_step`` positions at random; nothing stops early."""
    letters = range(FIRST, denoiser.columns)
    result = Counter()

    def go(answer, probability):
        masked = [i for i, token in enumerate(answer) if token == MASK]
        if not masked:
            result[tuple(answer)] += probability
            return
        subsets = list(itertools.combinations(masked, min(per_step, len(masked))))
        context = tuple(prompt + answer)
        for subset in subsets:
            for tokens in itertools.product(letters, repeat=len(subset)):
                filled, p = list(answer), probability / len(subsets)
                for i, token in zip(subset, tokens, strict=True):
                    filled[i] = token
                    p *= np.exp(denoiser.log_p(context, len(prompt) + i)[token])
                go(filled, p)

    go([MASK] * length, 1.0)
    return result


@pytest.mark.parametrize("per_step", [1, 2])
def test_the_joint_of_a_random_order_equals_enumeration(per_step):
    denoiser = TableDenoiser("bidirectional", 5, never=(0, 1, 2), sharpness=1.5)
    prompt, draws = [3, 4], 4000
    sampler = BlockSampler(score="random", temperature=1.0, tokens_per_step=per_step)
    found = sampler.sample(denoiser, [prompt] * draws, max_new_tokens=3, seed=1)
    close(Counter(map(tuple, found.ids)), joint_of_random_order(denoiser, prompt, 3, per_step), draws)
    assert found.forwards == -(-3 // per_step)


def test_the_joint_of_a_confident_order_equals_enumeration():
    """With confidence scores the order itself depends on what was drawn."""
    denoiser = TableDenoiser("bidirectional", 5, never=(0, 1, 2), sharpness=1.5)
    prompt, draws, expected = [3], 4000, Counter()

    def go(answer, probability):
        masked = [i for i, token in enumerate(answer) if token == MASK]
        if not masked:
            expected[tuple(answer)] += probability
            return
        tables = [np.exp(denoiser.log_p(tuple(prompt + answer), 1 + i)) for i in masked]
        for tokens in itertools.product(range(FIRST, 5), repeat=len(masked)):
            chances = [table[token] for table, token in zip(tables, tokens, strict=True)]
            best = int(np.argmax(chances))
            filled = list(answer)
            filled[masked[best]] = tokens[best]
            go(filled, probability * float(np.prod(chances)))

    go([MASK] * 3, 1.0)
    found = BlockSampler(temperature=1.0).sample(denoiser, [prompt] * draws, max_new_tokens=3)
    close(Counter(map(tuple, found.ids)), expected, draws)


def test_temperature_sharpens_the_distribution():
    denoiser = TableDenoiser("bidirectional", 6, never=(0, 1, 2))
    log_p = denoiser.log_p((3, MASK), 1)
    expected = np.exp(log_p / 0.5) / np.exp(log_p / 0.5).sum()
    found = BlockSampler(temperature=0.5).sample(denoiser, [[3]] * 4000, max_new_tokens=1)
    close(Counter(ids[0] for ids in found.ids), {t: expected[t] for t in range(FIRST, 6)}, 4000)


@pytest.mark.parametrize(("form", "block"), FORMS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("cached", [False, True])
def test_a_row_does_not_depend_on_the_other_rows(form, block, policy, cached):
    denoiser = TableDenoiser(form, 7, block, sharpness=2.0, cached=cached and block is not None)
    sampler = BlockSampler(**policy)
    together = sampler.sample(denoiser, PROMPTS, max_new_tokens=7, seed=5).ids
    alone = [sampler.sample(denoiser, [prompt], max_new_tokens=7, seed=5).ids[0] for prompt in PROMPTS[:3]]
    assert together[:3] == alone
    reordered = sampler.sample(denoiser, PROMPTS[2::-1], max_new_tokens=7, seed=5).ids
    assert reordered == alone[::-1]


def test_copies_of_a_prompt_are_drawn_apart():
    denoiser = TableDenoiser("bidirectional", 9, never=(0, 1, 2), sharpness=0.1)
    ids = BlockSampler(temperature=1.0).sample(denoiser, [[3]] * 20, max_new_tokens=4).ids
    assert len(set(map(tuple, ids))) > 10
    again = BlockSampler(temperature=1.0).sample(denoiser, [[3]] * 20, max_new_tokens=4).ids
    assert ids == again
    other = BlockSampler(temperature=1.0).sample(denoiser, [[3]] * 20, max_new_tokens=4, seed=1).ids
    assert ids != other


@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("form", ["block_diffusion", "block_causal"])
def test_the_cache_changes_nothing(form, block, policy):
    cached = TableDenoiser(form, 7, block, sharpness=2.0, cached=True)
    plain = TableDenoiser(form, 7, block, sharpness=2.0)
    with_cache = BlockSampler(**policy).sample(cached, PROMPTS, max_new_tokens=9)
    without = BlockSampler(**policy).sample(plain, PROMPTS, max_new_tokens=9)
    assert with_cache.ids == without.ids
    assert max(length for _, length in cached.calls) == block, "finished blocks are never read again"
    switched_off = BlockSampler(**policy, cache=False).sample(cached, PROMPTS, max_new_tokens=9)
    assert switched_off.ids == without.ids


@pytest.mark.parametrize(("form", "block"), FORMS)
def test_answers_end_before_the_first_end_of_turn(form, block):
    denoiser = TableDenoiser(form, 7, block, wants_end_at={6, 7}, never=(0, 2))
    found = BlockSampler(tokens_per_step=2).sample(denoiser, [[3, 3, 3, 3], [4], [5] * 6], max_new_tokens=20)
    assert [len(ids) for ids in found.ids] == [2, 5, 0]
    assert all(EOT not in ids and MASK not in ids for ids in found.ids)


def test_finished_rows_leave_the_batch():
    denoiser = TableDenoiser("block_diffusion", 7, 2, wants_end_at={6}, cached=True)
    BlockSampler().sample(denoiser, [[3] * 5, [4], [4, 4, 4]], max_new_tokens=8)
    rows = [rows for rows, _ in denoiser.calls]
    assert rows[0] == 3
    assert rows[-1] == 1
    assert rows == sorted(rows, reverse=True)


@pytest.mark.parametrize("block", [2, 8])
def test_an_answer_is_never_longer_than_asked_for(block):
    denoiser = TableDenoiser("block_diffusion", 7, block, never=(1,))
    found = BlockSampler().sample(denoiser, PROMPTS, max_new_tokens=5)
    assert [len(ids) for ids in found.ids] == [5] * len(PROMPTS)


def test_the_mask_token_is_never_written_even_where_the_model_wants_it():
    denoiser = TableDenoiser("bidirectional", 5, never=(1, 2, 3, 4))
    found = BlockSampler().sample(denoiser, [[3]], max_new_tokens=6)
    assert MASK not in found.ids[0]


def test_blocks_are_written_from_left_to_right():
    denoiser = TableDenoiser("bidirectional", 7, sharpness=3.0, never=(1,))
    seen = []
    inner = denoiser.hidden
    denoiser.hidden = lambda noised, *rest: seen.append(noised[0].tolist()) or inner(noised, *rest)
    BlockSampler(block_length=3).sample(denoiser, [[3, 3]], max_new_tokens=6)
    for ids in seen:
        first, second = ids[2:5], ids[5:8]
        assert second == [MASK] * 3 or MASK not in first


def test_a_small_block_length_orders_the_work_inside_a_models_block():
    denoiser = TableDenoiser("block_diffusion", 7, 4, sharpness=3.0, never=(1,))
    seen = []
    inner = denoiser.hidden
    denoiser.hidden = lambda noised, *rest: seen.append(noised[0].tolist()) or inner(noised, *rest)
    BlockSampler(block_length=2).sample(denoiser, [[]], max_new_tokens=4)
    assert all(ids[2:4] == [MASK, MASK] or MASK not in ids[:2] for ids in seen)


def test_forwards_are_counted():
    quota = BlockSampler(tokens_per_step=4).sample(
        TableDenoiser("bidirectional", 7, never=(1,)), [[3]], max_new_tokens=8
    )
    assert quota.forwards == 2
    eager = BlockSampler(commit="threshold", threshold=0.01)
    assert eager.sample(TableDenoiser("bidirectional", 7, never=(1,)), [[3]], max_new_tokens=8).forwards == 1


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_step_commits_something_in_every_open_row(data):
    rows, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 8))
    numbers = st.floats(0, 1, width=16)
    scores = torch.tensor(
        data.draw(st.lists(st.lists(numbers, min_size=width, max_size=width), min_size=rows, max_size=rows))
    )
    open_ = torch.tensor(
        data.draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=rows, max_size=rows))
    )
    commit = data.draw(st.sampled_from(["quota", "threshold", "threshold_or_quota"]))
    quota, threshold = data.draw(st.integers(1, 9)), data.draw(st.floats(0.01, 1.0))
    chosen = choose(scores.double(), open_, commit=commit, quota=quota, threshold=threshold)
    assert not (chosen & ~open_).any()
    assert (chosen.any(1) == open_.any(1)).all()
    above = (open_ & (scores >= threshold)).sum(1)
    expected = {
        "quota": open_.sum(1).clamp(max=quota),
        "threshold": above.maximum(open_.any(1).int()),
        "threshold_or_quota": above.maximum(open_.sum(1).clamp(max=quota)),
    }
    assert (chosen.sum(1) == expected[commit]).all()
    for row in range(rows):
        left_out = scores[row][open_[row] & ~chosen[row]]
        assert not len(left_out) or scores[row][chosen[row]].min() >= left_out.max()


def test_nothing_to_do_is_no_error():
    denoiser = TableDenoiser("bidirectional", 7)
    assert BlockSampler().sample(denoiser, [], max_new_tokens=4).ids == []
    assert BlockSampler().sample(denoiser, [[3]], max_new_tokens=0).ids == [[]]


def test_misfits_are_named():
    with pytest.raises(ConfigError, match="needs sampler 'autoregressive'"):
        BlockSampler().sample(TableDenoiser("autoregressive", 7), [[3]], max_new_tokens=4)
    with pytest.raises(ConfigError, match="does not divide the model's blocks of 4"):
        BlockSampler(block_length=3).sample(TableDenoiser("block_diffusion", 7, 4), [[3]], max_new_tokens=4)
    with pytest.raises(ValidationError, match="random scores mean nothing to a threshold"):
        BlockSampler(score="random", commit="threshold")
    unmasked = TableDenoiser("bidirectional", 7)
    unmasked.mask_token_id = None
    with pytest.raises(ConfigError, match="needs a model with a mask token"):
        BlockSampler().sample(unmasked, [[3]], max_new_tokens=4)


def test_components_are_importable_without_torch():
    code = "import sys, tide_plugins.samplers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("temperature", [0.0, 5.0])
def test_scores_come_from_the_untempered_distribution_without_the_mask_token(temperature):
    p = np.array([0.5, 0.3, 0.2])
    head = Head(torch.eye(4))
    hidden = torch.tensor([[9.0, *np.log(p)]], dtype=torch.float32)
    generators = row_generators([[1]], 0, torch.device("cpu"))

    def score(kind):
        tokens, scores = propose(hidden, head, forbidden=0, score=kind, temperature=temperature, generators=generators)
        return int(tokens[0]) - 1, float(scores[0])

    token, confidence = score("confidence")
    assert confidence == pytest.approx(p[token], rel=1e-5)
    assert score("margin")[1] == pytest.approx(0.2, rel=1e-5)
    assert score("entropy")[1] == pytest.approx(float(np.exp((p * np.log(p)).sum())), rel=1e-5)
    assert 0.0 <= score("random")[1] < 1.0
