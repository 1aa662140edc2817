"""The estimator of bits per byte against exact enumeration."""

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from evaluator_toys import EOT, FIRST, MASK, Characters, Held, Joint, JointDenoiser
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.evaluators import BitsPerByte
from tide_plugins.evaluators.intervals import ratio
from tide_plugins.evaluators.masks import systematic
from tide_specs import Example, Message

JOINT = Joint(letters=2, length=6, seed=3)
TEXT = "abbab"
FORMS = [
    ("bidirectional", None),
    ("block_diffusion", 2),
    ("block_diffusion", 4),
    ("block_causal", 3),
    ("autoregressive", None),
]


def completion(prompt, answer, key="k"):
    messages = [Message(role="text", content=prompt)] if prompt else []
    return Example(key=key, messages=[*messages, Message(role="text", content=answer, trainable=True)])


def exact_bound(denoiser, prompt, answer):
    """Nats of the answer by enumerating every subset of hidden tokens; written without the evaluator's code."""
    ids = [0] + [FIRST + "ab".index(c) for c in prompt + answer] + [EOT]
    scored = list(range(1 + len(prompt), 1 + len(prompt) + len(answer)))
    size = denoiser.block_size or len(ids)
    while denoiser.block_size and len(ids) % size:
        ids.append(EOT)
    groups = {}
    for i in scored:
        groups.setdefault(i // size, []).append(i)
    total = 0.0
    for members in groups.values():
        later = [i for i in range(len(ids)) if i > scored[-1]]
        for k in range(1, len(members) + 1):
            subsets = list(itertools.combinations(members, k))
            for subset in subsets:
                noised = [MASK if i in subset or i in later else token for i, token in enumerate(ids)]
                surprise = [-log_p(denoiser, noised, ids, i) for i in subset]
                total += len(members) * sum(surprise) / k / len(subsets) / len(members)
    return total


def log_p(denoiser, noised, clean, i):
    return float(denoiser.logits(noised, clean, i)[clean[i]])


def bits(denoiser, examples, **options):
    evaluation = BitsPerByte(**options).evaluate(denoiser, None, options.pop("context", None) or Held(examples))
    return evaluation.metrics["bits_per_byte"].value


@pytest.mark.parametrize(("form", "block"), FORMS)
@pytest.mark.parametrize("prompt", ["", "b"])
def test_for_a_consistent_model_the_bound_is_the_exact_likelihood(form, block, prompt):
    denoiser = JointDenoiser(JOINT, form, block)
    full = [("ab").index(c) for c in prompt + TEXT]
    expected = -(JOINT.log_probability(full) - JOINT.log_probability(full[: len(prompt)]))
    found = bits(denoiser, [completion(prompt, TEXT)], forwards=600, batch_size=600)
    assert found * len(TEXT) * math.log(2) == pytest.approx(expected, rel=0.05 if form != "autoregressive" else 1e-5)


@pytest.mark.parametrize(("form", "block"), FORMS[:4])
def test_the_estimators_expectation_is_the_enumerated_bound(form, block):
    denoiser = JointDenoiser(JOINT, form, block, noise=0.8)
    expected = exact_bound(denoiser, "b", TEXT) / math.log(2) / len(TEXT)
    option = BitsPerByte(forwards=3)
    values = [
        option.evaluate(denoiser, None, Held([completion("b", TEXT)], seed)).metrics["bits_per_byte"].value
        for seed in range(300)
    ]
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / math.sqrt(len(values)))


def test_systematic_sizes_vary_less_than_bernoulli_masks_with_weight_one_over_t():
    denoiser = JointDenoiser(JOINT, "bidirectional", noise=0.8)
    option, forwards = BitsPerByte(forwards=4), 4
    ours = [
        option.evaluate(denoiser, None, Held([completion("", TEXT)], seed)).metrics["bits_per_byte"].value
        for seed in range(200)
    ]
    ids, generator = [0] + [FIRST + "ab".index(c) for c in TEXT] + [MASK], np.random.default_rng(0)
    theirs = []
    for _ in range(200):
        total = 0.0
        for _ in range(forwards):
            t = generator.random()
            subset = [i for i in range(1, 6) if generator.random() < t]
            noised = [MASK if i in subset else token for i, token in enumerate(ids)]
            total += sum(-log_p(denoiser, noised, ids, i) for i in subset) / t
        theirs.append(total / forwards / math.log(2) / len(TEXT))
    assert np.std(ours) < 0.6 * np.std(theirs)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32))
def test_systematic_masks_are_never_empty_and_spread_over_all_sizes(count, forwards, seed):
    sizes = systematic(count, forwards, np.random.default_rng(seed)).sum(axis=1)
    assert (np.diff(sizes) >= 0).all()
    assert sizes.min() >= 1
    assert sizes.max() <= count
    assert (np.abs((sizes - 0.5) / count - (np.arange(forwards) + 0.5) / forwards) <= 1 / forwards + 1 / count).all()


def test_batch_size_and_company_change_nothing():
    denoiser = JointDenoiser(JOINT, "block_diffusion", 2, noise=0.5)
    examples = [completion("", "ab", "1"), completion("b", TEXT, "2"), completion("ab", "b", "3")]
    runs = [
        BitsPerByte(batch_size=size).evaluate(denoiser, None, Held(examples)).per_example["bits"] for size in (1, 5, 64)
    ]
    assert runs[0] == pytest.approx(runs[1])
    assert runs[0] == pytest.approx(runs[2])


def test_a_forward_stays_within_the_batch_size():
    denoiser = JointDenoiser(JOINT, "bidirectional")
    BitsPerByte(batch_size=4, forwards=10).evaluate(
        denoiser, None, Held([completion("", TEXT, str(i)) for i in range(3)])
    )
    assert max(rows for rows, _ in denoiser.passes) <= 4


def test_the_same_bytes_whatever_the_tokenizer():
    single = JointDenoiser(JOINT, "autoregressive")
    pairs = JointDenoiser(Joint(letters=6, length=4), "autoregressive", tokenizer=Characters("ab", step=2))
    examples = [completion("a", TEXT), completion("", "ab")]
    counted = [BitsPerByte().evaluate(d, None, Held(examples)).per_example["bytes"] for d in (single, pairs)]
    assert counted == [[5.0, 2.0], [5.0, 2.0]]


def test_each_response_of_a_conversation_is_scored_given_what_comes_before():
    denoiser = JointDenoiser(Joint(letters=2, length=6, seed=3), "autoregressive")
    turns = [("user", "a", False), ("assistant", "b", True), ("user", "b", False), ("assistant", "a", True)]
    example = Example(key="c", messages=[Message(role=r, content=c, trainable=t) for r, c, t in turns])
    evaluation = BitsPerByte().evaluate(denoiser, None, Held([example]))
    assert evaluation.metrics["bytes"].value == 2
    ids = denoiser.tokenizer.encode([example])[0].ids.tolist()
    # The toy knows positions 1..6; the second response lies behind them, where every token is as likely.
    expected = (-log_p(denoiser, ids, ids, 3) + math.log(denoiser.tokenizer.vocabulary_size)) / math.log(2)
    assert evaluation.per_example["bits"][0] == pytest.approx(expected, rel=1e-5)


def test_lossy_texts_are_left_out_and_counted_but_can_be_scored():
    denoiser = JointDenoiser(JOINT, "bidirectional", tokenizer=Characters("ab", change=str.lower))
    examples = [completion("", "aB", "1"), completion("", "ab", "2")]
    evaluation = BitsPerByte().evaluate(denoiser, None, Held(examples))
    assert evaluation.metrics["excluded_examples"].value == 1
    assert math.isnan(evaluation.per_example["bits"][0])
    assert evaluation.metrics["bytes"].value == 2
    assert BitsPerByte(lossless=False).evaluate(denoiser, None, Held(examples)).metrics["excluded_examples"].value == 0


def test_a_tokenizer_that_reproduces_nothing_is_said_so():
    denoiser = JointDenoiser(JOINT, "bidirectional", tokenizer=Characters("ab", change=str.lower))
    with pytest.warns(RuntimeWarning, match="use a lossless tokenizer"):
        evaluation = BitsPerByte().evaluate(denoiser, None, Held([completion("", "AB")]))
    assert math.isnan(evaluation.metrics["bits_per_byte"].value)


def test_tokens_that_do_not_tile_the_bytes_are_left_out():
    tokenizer = Characters("ab")
    encode = tokenizer._encode

    def short(example):
        encoded = encode(example)
        encoded.end[encoded.end == 2] = -1
        return encoded

    tokenizer._encode = short
    denoiser = JointDenoiser(JOINT, "bidirectional", tokenizer=tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluation = BitsPerByte().evaluate(denoiser, None, Held([completion("", "ab")]))
    assert evaluation.metrics["excluded_examples"].value == 1


def test_long_examples_are_cut_between_characters():
    denoiser = JointDenoiser(Joint(letters=2, length=4), "autoregressive", tokenizer=Characters("a€"))
    evaluation = BitsPerByte(max_bytes=5).evaluate(
        denoiser, None, Held([completion("a", "€€"), completion("a€a", "a")])
    )
    assert evaluation.metrics["bytes"].value == 3, "one of two euro signs fits; the second example keeps no answer"


def test_a_teacher_is_compared_on_the_same_texts():
    student, teacher = JointDenoiser(JOINT, "bidirectional", noise=1.0), JointDenoiser(JOINT, "autoregressive")
    examples = [completion("", text, text) for text in ("abbab", "aab", "bbbb", "ba")]
    evaluation = BitsPerByte(forwards=40, score_teacher=True).evaluate(student, teacher, Held(examples))
    metrics = evaluation.metrics
    gap = metrics["bits_per_byte"].value - metrics["teacher_bits_per_byte"].value
    assert metrics["above_teacher"].value == pytest.approx(gap)
    assert metrics["above_teacher"].low < metrics["above_teacher"].value < metrics["above_teacher"].high
    assert [row["key"] for row in evaluation.tables["examples"]] == ["abbab", "aab", "bbbb", "ba"]


def test_the_interval_narrows_with_more_examples():
    denoiser = JointDenoiser(JOINT, "autoregressive")
    texts = ["".join(letters) for letters in itertools.product("ab", repeat=5)]

    def width(chosen):
        estimate = (
            BitsPerByte().evaluate(denoiser, None, Held([completion("", t) for t in chosen])).metrics["bits_per_byte"]
        )
        assert estimate.low <= estimate.value <= estimate.high
        return estimate.high - estimate.low

    assert width(texts * 4) < 0.7 * width(texts)


def test_components_are_importable_without_torch():
    code = "import sys, tide_plugins.evaluators; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("form", "block"), FORMS[:4])
def test_what_follows_a_scored_text_is_hidden(form, block):
    denoiser, seen = JointDenoiser(JOINT, form, block), []
    hidden = denoiser.hidden
    denoiser.hidden = lambda noised, *rest: seen.extend(noised.tolist()) or hidden(noised, *rest)
    BitsPerByte().evaluate(denoiser, None, Held([completion("b", "abb")]))
    last = [row[5:] for row in seen if form != "block_causal" or MASK in row[3:]]
    assert last and all(last)
    assert all(set(tail) <= {MASK} for tail in last)


def test_the_interval_is_that_of_a_mean_at_95_percent():
    values = np.random.default_rng(0).normal(size=400)
    estimate, error = ratio(values.tolist(), [1.0] * 400), values.std(ddof=1) / 20
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    assert ratio([1.0, math.nan], [2.0, 1.0]).value == 0.5
    assert ratio([1.0], [2.0]).low is None
    assert math.isnan(ratio([], []).value)
