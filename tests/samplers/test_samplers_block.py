"""The block sampler's promises to users."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_toys import EOT, FIRST, FORMS, MASK, POLICIES, PROMPTS, TableDenoiser, close

from tide_plugins.samplers import BlockSampler


def test_temperature_sharpens_the_distribution():
    denoiser = TableDenoiser("bidirectional", 6, never=(0, 1, 2))
    log_p = denoiser.log_p((3, MASK), 1)
    expected = np.exp(log_p / 0.5) / np.exp(log_p / 0.5).sum()
    found = BlockSampler(temperature=0.5).sample(denoiser, [[3]] * 4000, max_new_tokens=1)
    close(Counter(ids[0] for ids in found.ids), {t: expected[t] for t in range(FIRST, 6)}, 4000)


TEXTS = st.lists(st.lists(st.integers(FIRST, 6), max_size=6), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    texts=TEXTS,
    policy=st.sampled_from(POLICIES),
    temperature=st.sampled_from([0.0, 1.0]),
    form=st.sampled_from(FORMS),
    cached=st.booleans(),
)
def test_a_row_does_not_depend_on_the_other_rows(texts, policy, temperature, form, cached):
    denoiser = TableDenoiser(*form[:1], 7, form[1], sharpness=2.0, cached=cached and form[1] is not None)
    sampler = BlockSampler(**policy, temperature=temperature)
    together = sampler.sample(denoiser, texts, max_new_tokens=7, seed=5).ids
    for prompt in {tuple(prompt): None for prompt in texts}:
        alone = sampler.sample(denoiser, [prompt], max_new_tokens=7, seed=5).ids[0]
        assert together[list(map(tuple, texts)).index(prompt)] == alone
    distinct = list({tuple(prompt): None for prompt in texts})
    forth, back = (sampler.sample(denoiser, rows, max_new_tokens=7, seed=5).ids for rows in (distinct, distinct[::-1]))
    assert forth == back[::-1]


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
    with_cache = BlockSampler(**policy, temperature=0.7).sample(cached, PROMPTS, max_new_tokens=9)
    without = BlockSampler(**policy, temperature=0.7).sample(plain, PROMPTS, max_new_tokens=9)
    assert with_cache.ids == without.ids
    assert max(length for _, length in cached.calls) == block, "finished blocks are never read again"
    switched_off = BlockSampler(**policy, temperature=0.7, cache=False).sample(cached, PROMPTS, max_new_tokens=9)
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


def test_nothing_to_do_is_no_error():
    denoiser = TableDenoiser("bidirectional", 7)
    assert BlockSampler().sample(denoiser, [], max_new_tokens=4).ids == []
    assert BlockSampler().sample(denoiser, [[3]], max_new_tokens=0).ids == [[]]


def test_components_are_importable_without_torch():
    code = "import sys, tide_plugins.samplers; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
