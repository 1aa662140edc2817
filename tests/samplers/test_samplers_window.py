"""The window sampler's promises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_toys import EOT, FIRST, FORMS, MASK, PROMPTS, TableDenoiser

from tide_plugins.samplers import WindowSampler

OPTIONS = [{}, {"window": 3, "entropy_threshold": 1.0}, {"window": 2, "temperature": 0.8}, {"guidance": 0.5}]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(st.integers(FIRST, 6), max_size=6), min_size=1, max_size=4, unique_by=tuple),
    options=st.sampled_from(OPTIONS),
    form=st.sampled_from(FORMS),
    cached=st.booleans(),
)
def test_a_row_does_not_depend_on_the_other_rows(texts, options, form, cached):
    denoiser = TableDenoiser(form[0], 7, form[1], sharpness=2.0, cached=cached and form[1] is not None)
    together = WindowSampler(**options).sample(denoiser, texts, max_new_tokens=7)
    assert together.ids == [
        WindowSampler(**options).sample(denoiser, [text], max_new_tokens=7).ids[0] for text in texts
    ]


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", ["block_diffusion", "block_causal"])
def test_the_cache_changes_nothing(form, block, options):
    runs = [
        WindowSampler(**options).sample(
            TableDenoiser(form, 7, block, sharpness=2.0, cached=cached), PROMPTS, max_new_tokens=9
        )
        for cached in (False, True)
    ]
    assert runs[0].ids == runs[1].ids
    assert all(EOT not in ids and MASK not in ids for ids in runs[0].ids)


def test_the_window_begins_at_the_first_mask_and_slides_over_blocks_of_32():
    denoiser, steps = TableDenoiser("bidirectional", 7, sharpness=0.5, never=(1,)), []
    sampler = WindowSampler(window=5, distance_penalty=0.0)
    sampler.sample(denoiser, [[3, 4]], max_new_tokens=40, watch=steps.append)
    written, farthest = set(), 0
    for step in steps:
        first = next(place for place in range(2, 43) if place not in written)
        assert all(first <= place < first + 5 for place in step.positions)
        farthest = max(farthest, max(step.positions) - first)
        written |= set(step.positions)
    assert written == set(range(2, 42))
    assert farthest == 4


def test_a_threshold_of_zero_writes_one_token_per_step_and_a_large_one_a_window():
    def forwards(**options):
        denoiser = TableDenoiser("bidirectional", 7, never=(1,))
        return WindowSampler(window=4, **options).sample(denoiser, [[3]], max_new_tokens=8).forwards

    assert forwards(entropy_threshold=0.0) == 8
    assert forwards(entropy_threshold=9.0) == 2


def test_a_great_penalty_decodes_from_left_to_right():
    denoiser, steps = TableDenoiser("bidirectional", 7, never=(1,)), []
    sampler = WindowSampler(distance_penalty=9.0, entropy_threshold=0.0)
    sampler.sample(denoiser, [[3]], max_new_tokens=6, watch=steps.append)
    assert [list(step.positions) for step in steps] == [[place] for place in range(1, 7)]
    assert all(isinstance(score, float) and 0 < score <= 1 for step in steps for score in step.scores)
