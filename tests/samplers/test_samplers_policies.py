"""The policies one by one, on numbers of any kind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.samplers.block_policy import choose, hit, take_back, within_budget
from tide_plugins.samplers.proposing import Wanted, propose
from tide_plugins.samplers.randomness import row_generators
from tide_specs import Head


@st.composite
def rows(draw, *tables):
    """[B, W] tables: floats in [0, 1] for each name, and which positions are open."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 8))

    def filled(values):
        line = st.lists(values, min_size=width, max_size=width)
        return torch.tensor(draw(st.lists(line, min_size=height, max_size=height)))

    return [filled(st.floats(0, 1, width=16)).double() for _ in range(tables[0])] + [filled(st.booleans())]


@settings(max_examples=80, deadline=None)
@given(rows(1), st.integers(1, 9), st.none() | st.floats(0.01, 1.0))
def test_a_quota_and_a_threshold_choose_the_best(tables, quota, threshold):
    scores, open_ = tables
    chosen = choose(scores, open_, quota=torch.full((len(scores),), quota), threshold=threshold)
    assert not (chosen & ~open_).any()
    above = (open_ & (scores >= (2.0 if threshold is None else threshold))).sum(1)
    assert (chosen.sum(1) == above.maximum(open_.sum(1).clamp(max=quota))).all()
    best_first(scores, open_, chosen)


def best_first(scores, open_, chosen):
    for row in range(len(scores)):
        left_out = scores[row][open_[row] & ~chosen[row]]
        assert not len(left_out) or scores[row][chosen[row]].min() >= left_out.max()


@settings(max_examples=80, deadline=None)
@given(rows(2), st.floats(0, 3))
def test_an_entropy_budget_is_spent_as_far_as_it_goes(tables, budget):
    scores, entropies, open_ = tables
    chosen = within_budget(scores, entropies, open_, budget)
    assert not (chosen & ~open_).any()
    assert (chosen.any(1) == open_.any(1)).all()
    best_first(scores, open_, chosen)
    for row in range(len(scores)):
        places = sorted(np.flatnonzero(open_[row]), key=lambda place: (-scores[row, place], place))
        spent = [entropies[row, place].item() for place in places]
        sizes = [n for n in range(1, len(spent) + 1) if sum(spent[:n]) - max(spent[:n]) <= budget + 1e-9]
        assert chosen[row].sum() in (max(sizes, default=0), max(sizes, default=0) - 1)
        assert budget == 0 or chosen[row].sum() == max(sizes, default=0) or abs(slack(spent, sizes, budget)) < 1e-6


def slack(spent, sizes, budget):
    largest = spent[: max(sizes)]
    return sum(largest) - max(largest) - budget


@settings(max_examples=60, deadline=None)
@given(rows(1), st.none() | st.integers(1, 5))
def test_hitting_times_uncover_the_latest_first(tables, steps):
    times, open_ = tables
    times = 1.0 - times * 0.999
    chosen = hit(times, open_, steps)
    assert not (chosen & ~open_).any()
    assert (chosen.any(1) == open_.any(1)).all()
    best_first(times, open_, chosen)
    if steps is None:
        assert (chosen.sum(1) <= 1).all()
    else:
        for row in range(len(times)):
            interval = np.ceil(times[row][open_[row]].numpy() * steps)
            assert chosen[row].sum() == (interval == interval.max(initial=0)).sum()


@settings(max_examples=80, deadline=None)
@given(rows(2), st.floats(0.01, 1.0), st.booleans(), st.integers(1, 3))
def test_no_more_is_taken_back_than_can_be_written_instead(tables, share, sure, quota):
    uniform, probabilities, open_ = tables
    held, due = ~open_, open_.sum(1).clamp(max=quota)
    taken = take_back(held, open_, due, share, uniform, probabilities if sure else None)
    assert not (taken & ~held).any()
    assert (taken.sum(1) <= open_.sum(1) - due).all(), "a block comes to its end"
    sigma = share * ((open_.sum(1) - due) / held.sum(1).clamp(min=1)).clamp(max=1)
    if not sure:
        wanted = held & (uniform < sigma[:, None])
        assert (taken.sum(1) == wanted.sum(1).minimum(open_.sum(1) - due)).all()


@pytest.mark.parametrize("temperature", [0.0, 5.0])
def test_scores_come_from_the_untempered_distribution_without_the_mask_token(temperature):
    p = np.array([0.5, 0.3, 0.2])
    hidden = torch.tensor([[9.0, *np.log(p)]], dtype=torch.float32)
    generators = row_generators([[1]], 0, torch.device("cpu"))

    def found(score, **more):
        wanted = Wanted(forbidden=0, end_of_turn=2, score=score, temperature=temperature, **more)
        return propose(hidden, Head(torch.eye(4)), wanted, generators)

    confident = found("confidence", probabilities=True)
    assert float(confident.scores) == pytest.approx(p[int(confident.tokens) - 1], rel=1e-5)
    assert float(confident.probabilities) == float(confident.scores)
    assert float(found("margin").scores) == pytest.approx(0.2, rel=1e-5)
    entropy = -float((p * np.log(p)).sum())
    assert float(found("entropy").scores) == pytest.approx(np.exp(-entropy), rel=1e-5)
    assert float(found("random", entropies=True).entropies) == pytest.approx(entropy, rel=1e-5)
