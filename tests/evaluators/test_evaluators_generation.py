"""The evaluator ``generation``: the judge's bits against the judge itself, and variety beside them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from evaluator_toys import Held

from tide_plugins.evaluators import Generation
from tide_plugins.evaluators.variety import distinct, entropy
from tide_specs import Example, Message, Mix, Sampled, Sampler
from tide_specs.testing.toys import ToyArchitecture, toy_denoiser

WORDS = ("the cat sat", "on the mat", "and slept")


def text(key, prompt, answer):
    parts = [Message(role="text", content=prompt)] if prompt else []
    return Example(key=key, messages=[*parts, Message(role="text", content=answer, trainable=True)])


EXAMPLES = [
    text("a", "One: ", "a house"),
    text("b", "Two: ", "a garden and a tree"),
    text("c", "", "x" * 10 + "the rest"),
]


class Says(Sampler):
    """Writes ``says``, whatever the prompt."""

    name: str = "says"
    says: tuple[str, ...]

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        texts = [self.says[len(prompt) % len(self.says)] for prompt in prompts]
        return Sampled(ids=[list(text.encode())[:max_new_tokens] for text in texts], forwards=5)


def evaluated(says, examples=EXAMPLES, **options):
    sampler = Says(says=tuple(says))
    options = {"prefix_bytes": 10, "max_new_tokens": 40, **options}
    with torch.no_grad():
        return Generation(sampler=sampler, **options).evaluate(toy_denoiser("autoregressive"), None, Held(examples))


def oracle(prompt: str, answer: str) -> float:
    """Bits of the answer, from the judge's logits in float64."""
    judge = toy_denoiser("autoregressive", seed=0)
    opening = judge.tokenizer.encode_prompt([Message(role="text", content=prompt)])
    ids = torch.tensor([[*opening, *answer.encode()]])
    with torch.no_grad():
        hidden = judge.hidden(ids, ids, torch.tensor([ids.shape[1]])).double()
    weight, bias = judge.head().weight.double(), judge.head().bias
    logits = hidden[0] @ weight.T + (0 if bias is None else bias.double())
    chosen = logits.log_softmax(-1)[range(len(opening), ids.shape[1]), ids[0, len(opening) :]]
    return -float(chosen.detach().sum()) / math.log(2)


def test_the_judges_bits_are_its_own_log_likelihood():
    evaluation = evaluated(["the cat sat"], judge=ToyArchitecture(form="autoregressive"))
    prompts = ["One: ", "Two: ", "x" * 10]
    bits = [oracle(prompt, "the cat sat") for prompt in prompts]
    assert evaluation.per_example["judge_bits_per_byte"] == pytest.approx([b / 11 for b in bits], rel=1e-5)
    assert evaluation.metrics["judge_bits_per_byte"].value == pytest.approx(sum(bits) / 33, rel=1e-5)
    references = [oracle(p, r) for p, r in zip(prompts, ["a house", "a garden and a tree", "the rest"], strict=True)]
    assert evaluation.metrics["reference_judge_bits_per_byte"].value == pytest.approx(sum(references) / 34, rel=1e-5)


def test_variety_is_always_there_and_tells_repetition_from_text():
    dull, varied = evaluated(["aaaaaaaa"]), evaluated(WORDS)
    assert dull.metrics["token_entropy"].value == 0.0
    assert varied.metrics["token_entropy"].value > 2
    assert dull.metrics["distinct_1"].value == pytest.approx(1 / 3)
    assert varied.metrics["distinct_1"].value > 0.5
    assert dull.metrics["reference_distinct_1"].value == varied.metrics["reference_distinct_1"].value
    assert not any("judge" in name for name in dull.metrics)
    assert dull.better == {}


def test_lengths_ends_and_passes():
    found = evaluated(["ab", "x" * 100], batch_size=2, max_new_tokens=20)
    assert sorted(found.per_example["tokens"]) in ([2, 20, 20], [2, 2, 20])
    assert found.per_example["ended"] == [float(n < 20) for n in found.per_example["tokens"]]
    assert found.metrics["forwards"].value == 10
    assert found.metrics["tokens_per_forward"].value == sum(found.per_example["tokens"]) / 10
    assert [row["key"] for row in found.tables["samples"]] == ["a", "b", "c"]


def test_an_empty_sample_has_no_bits_per_byte():
    found = evaluated([""], judge=ToyArchitecture(form="autoregressive"))
    assert all(map(math.isnan, found.per_example["judge_bits_per_byte"]))
    assert "judge_bits_per_byte" not in found.metrics
    assert found.metrics["token_entropy"].value == 0


def test_a_conversation_is_shown_plain_or_through_the_judges_template():
    parts = [Message(role="user", content="Hello?"), Message(role="assistant", content="Yes.", trainable=True)]
    example = [Example(key="chat", messages=parts)]
    judge = ToyArchitecture(form="autoregressive")
    plain = evaluated(["Hi."], example, judge=judge).per_example["judge_bits_per_byte"]
    assert plain == pytest.approx([oracle("Hello?\n\n", "Hi.") / 3], rel=1e-5)
    assert evaluated(["Hi."], example, judge=judge, judge_template=True).per_example["judge_bits_per_byte"] != plain


def test_a_masked_judge_gives_an_upper_bound_that_repeats_itself():
    judge = ToyArchitecture(form="bidirectional")
    first, again = (evaluated(WORDS, judge=judge).per_example["judge_bits_per_byte"] for _ in range(2))
    assert first == again
    assert all(value > 0 for value in first)


def test_the_judge_must_not_be_judged():
    judge = ToyArchitecture(form="autoregressive", model="./teacher")
    mix = Mix(roles={"teacher": ToyArchitecture(model="./teacher"), "student": ToyArchitecture(model="./student")})
    assert [("teacher" in sentence) for sentence in Generation(judge=judge).conflicts(mix)] == [True]
    assert list(Generation().conflicts(mix)) == []


def test_entropy_and_distinct_n_against_their_definitions():
    tokens = list("abracadabra")
    shares = [count / 11 for count in Counter(tokens).values()]
    assert entropy(tokens) == pytest.approx(-sum(p * math.log(p) for p in shares) / math.log(2))
    assert (entropy([]), entropy(["a", "a"])) == (0.0, 0.0)
    assert distinct([tokens], 2) == 7 / 10
    assert distinct([["a", "b"], ["a", "b"]], 2) == 0.5
    assert math.isnan(distinct([["a"]], 2))
