"""The distribution that the samplers draw from, against enumeration in float64 of what their policies say."""

import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest
from sampler_toys import FIRST, MASK, TableDenoiser, close

from tide_plugins.samplers import BlockSampler, WindowSampler

DRAWS = 4000
NEVER = (0, 1, 2)


def table(**options):
    return TableDenoiser("bidirectional", 5, **{"never": NEVER, "sharpness": 1.5, **options})


def holes(answer):
    return [place for place, token in enumerate(answer) if token == MASK]


def put(answer, places, tokens):
    filled = list(answer)
    for place, token in zip(places, tokens, strict=True):
        filled[place] = token
    return tuple(filled)


def probabilities(denoiser, prompt, answer, place):
    return np.exp(denoiser.log_p((*prompt, *answer), len(prompt) + place))


def drawings(denoiser, prompt, answer, places):
    """Yield tokens for ``places`` and the probability of drawing them independently."""
    tables = [probabilities(denoiser, prompt, answer, place) for place in places]
    for tokens in itertools.product(range(FIRST, denoiser.columns), repeat=len(places)):
        yield tokens, float(np.prod([p[token] for p, token in zip(tables, tokens, strict=True)]))


def joint(length, moves):
    """Probability of every answer; ``moves(answer, step)`` yields the states that follow, and their probabilities."""
    states, result, step = Counter({(MASK,) * length: 1.0}), Counter(), 0
    while states:
        step, after = step + 1, Counter()
        for answer, p in states.items():
            for filled, q in moves(answer, step):
                if q > 0:
                    (after if holes(filled) else result)[filled] += p * q
        states = after
    return result


def uncover(denoiser, prompt, places):
    """Moves that draw the tokens of ``places(answer, step)``, which are pairs of a set and its probability."""

    def moves(answer, step):
        for chosen, chance in places(answer, step):
            for tokens, p in drawings(denoiser, prompt, answer, chosen):
                yield put(answer, chosen, tokens), chance * p

    return moves


def some_of(places, count):
    subsets = list(itertools.combinations(places, min(count, len(places))))
    return [(subset, 1 / len(subsets)) for subset in subsets]


def sampled(denoiser, prompt, length, sampler=BlockSampler, **options):
    found = sampler(temperature=1.0, **options).sample(denoiser, [prompt] * DRAWS, max_new_tokens=length, seed=1)
    return Counter(map(tuple, found.ids)), found


@pytest.mark.parametrize("per_step", [1, 2])
def test_a_quota_in_random_order(per_step):
    denoiser, prompt = table(), (3, 4)
    found, result = sampled(denoiser, prompt, 3, score="random", tokens_per_step=per_step)
    close(found, joint(3, uncover(denoiser, prompt, lambda answer, _: some_of(holes(answer), per_step))), DRAWS)
    assert result.forwards == -(-3 // per_step)


def test_three_steps_for_four_tokens_uncover_two_one_and_one():
    denoiser, prompt, counts = table(), (3,), (2, 1, 1)
    found, result = sampled(denoiser, prompt, 4, score="random", steps_per_block=3)
    close(found, joint(4, uncover(denoiser, prompt, lambda a, step: some_of(holes(a), counts[step - 1]))), DRAWS)
    assert result.forwards == 3


@pytest.mark.parametrize("per_step", [1, 2])
def test_a_quota_in_the_order_of_confidence_which_depends_on_what_is_drawn(per_step):
    denoiser, prompt = table(), (3,)

    def moves(answer, _):
        places = holes(answer)
        tables = {place: probabilities(denoiser, prompt, answer, place) for place in places}
        for tokens, p in drawings(denoiser, prompt, answer, places):
            ranked = sorted(zip(places, tokens, strict=True), key=lambda pair: -tables[pair[0]][pair[1]])
            yield put(answer, *zip(*ranked[:per_step], strict=True)), p

    close(sampled(denoiser, prompt, 3, tokens_per_step=per_step)[0], joint(3, moves), DRAWS)


def ancestral(denoiser, prompt, length, steps):
    """The ancestral sampler of a linear schedule: in step j of k a mask is uncovered with probability 1 / (k - j + 1)."""

    def places(answer, step):
        masked, chance = holes(answer), 1 / (steps - step + 1)
        for count in range(len(masked) + 1):
            for subset in itertools.combinations(masked, count):
                yield subset, chance**count * (1 - chance) ** (len(masked) - count)

    return joint(length, uncover(denoiser, prompt, places))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_first_hitting_on_a_grid_is_the_ancestral_sampler(steps):
    denoiser, prompt = table(), (3,)
    found, result = sampled(denoiser, prompt, 3, commit="first_hitting", steps_per_block=steps)
    close(found, ancestral(denoiser, prompt, 3, steps), DRAWS)
    assert result.forwards <= min(3, steps)


def test_first_hitting_is_the_limit_of_the_ancestral_sampler():
    denoiser, prompt = table(), (3,)
    found, result = sampled(denoiser, prompt, 3, commit="first_hitting")
    expected = joint(3, uncover(denoiser, prompt, lambda answer, _: some_of(holes(answer), 1)))
    close(found, expected, DRAWS)
    assert result.forwards == 3
    distances = [
        sum(abs(p - expected[key]) for key, p in ancestral(denoiser, prompt, 3, steps).items()) for steps in (4, 16, 64)
    ]
    assert distances[2] < distances[1] / 3 < distances[0] / 9


def entropy(p):
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def test_an_entropy_budget_leaves_out_the_largest_entropy():
    denoiser, prompt, budget = table(), (3,), 0.6

    def places(answer, _):
        spent = {place: entropy(probabilities(denoiser, prompt, answer, place)) for place in holes(answer)}
        ranked = sorted(spent, key=spent.__getitem__)
        # In ascending order the largest entropy of a set is that of its last place.
        sizes = [n for n in range(1, len(ranked) + 1) if sum(spent[p] for p in ranked[: n - 1]) <= budget]
        yield tuple(ranked[: max(sizes)]), 1.0

    found, result = sampled(denoiser, prompt, 4, commit="entropy_budget", entropy_budget=budget, score="entropy")
    close(found, joint(4, uncover(denoiser, prompt, places)), DRAWS)
    assert 1 < result.forwards < 4


def test_a_window_commits_what_is_certain_and_near():
    denoiser, prompt, options = table(), (3,), {"window": 3, "entropy_threshold": 0.5, "distance_penalty": 0.1}

    def places(answer, _):
        near = [place for place in holes(answer) if place < holes(answer)[0] + options["window"]]
        cost = {
            place: entropy(probabilities(denoiser, prompt, answer, place)) + 0.1 * (place - near[0]) for place in near
        }
        yield tuple(p for p in near if cost[p] < 0.5) or (min(near, key=cost.__getitem__),), 1.0

    found, _ = sampled(denoiser, prompt, 4, WindowSampler, **options)
    close(found, joint(4, uncover(denoiser, prompt, places)), DRAWS)


@pytest.mark.parametrize("kind", ["rescaled", "confidence"])
def test_revision_is_remdm_with_a_quota(kind):
    """States remember with which probability each token was committed."""
    denoiser, prompt, length, share = table(), (3,), 4, 0.8

    def chances(state):
        held = [place for place, (token, _) in enumerate(state) if token != MASK]
        masked = length - len(held)
        sigma = share * min(1.0, (masked - 1) / len(held)) if held else 0.0
        if kind == "rescaled":
            return dict.fromkeys(held, sigma)
        weights = {place: np.exp(-state[place][1]) for place in held}
        return {place: sigma * weight / sum(weights.values()) for place, weight in weights.items()}

    def losses(state):
        """Sets of places that lose their token; when they are too many for what is left, chance decides which do."""
        chance, most = chances(state), length - 1 - sum(token != MASK for token, _ in state)
        for lost in itertools.product([False, True], repeat=len(chance)):
            p = float(np.prod([q if gone else 1 - q for gone, q in zip(lost, chance.values(), strict=True)]))
            gone = [place for place, out in zip(chance, lost, strict=True) if out]
            if len(gone) <= most:
                yield tuple(gone), p
            elif p:
                yield from ((kept, p * share) for kept, share in smallest(gone, most, chance))

    @cache
    def go(state):
        if all(token != MASK for token, _ in state):
            return {tuple(token for token, _ in state): 1.0}
        answer, result = tuple(token for token, _ in state), Counter()
        for lost, p in losses(state):
            for places, q in some_of(holes(answer), 1 + len(lost)):
                for tokens, r in drawings(denoiser, prompt, answer, places):
                    after = [(MASK, 0.0) if place in lost else held for place, held in enumerate(state)]
                    for place, token in zip(places, tokens, strict=True):
                        after[place] = (token, float(probabilities(denoiser, prompt, answer, place)[token]))
                    for key, value in go(tuple(after)).items():
                        result[key] += p * q * r * value
        return result

    found, result = sampled(denoiser, prompt, length, revise=kind, revision=share, score="random")
    close(found, go(((MASK, 0.0),) * length), DRAWS)
    assert result.forwards == length, "what is taken back is replaced in the same step"


def smallest(places, count, chance):
    """Distribution of the ``count`` smallest of uniform numbers, each below its own chance, by integration."""
    assert (len(places), count) in ((2, 1), (1, 0), (2, 0))
    if count == 0:
        return [((), 1.0)]
    first, second = (chance[place] for place in places)
    # P(u < v) for u uniform below a, v uniform below b.
    below = 1 - first / (2 * second) if first <= second else second / (2 * first)
    return [((places[0],), below), ((places[1],), 1 - below)]
