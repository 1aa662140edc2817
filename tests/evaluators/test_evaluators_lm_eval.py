"""lm-evaluation-harness over our models: log-likelihoods against transformers and an exact joint, tasks, kept scores."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from evaluator_toys import FIRST, Held, Joint, JointDenoiser

pytest.importorskip("lm_eval", reason="the extra 'lm-eval' is not installed")

from lm_eval.api.instance import Instance

from tide_plugins.architectures import HuggingFace
from tide_plugins.attention import Eager
from tide_plugins.evaluators import LmEval, harness_answers, harness_tasks
from tide_plugins.evaluators.fingerprints import of_denoiser
from tide_plugins.evaluators.harness_model import HarnessModel, Reading
from tide_plugins.samplers import AutoregressiveSampler
from tide_plugins.sandbox import runner
from tide_specs import ConfigError, DataError, Message, Mix, Runtime, Sampled, Sampler
from tide_specs.testing.toys import toy_denoiser

TOKENIZER = Path(__file__).parents[2] / "examples" / "demo" / "teacher-tokenizer"
PAIRS = [
    ("def add(a, b):\n    return", " a + b"),
    ("import", " os"),
    ("The answer is ", "no"),
    ("", "x = 1"),
    ("é — ", "naïve"),
]


class Says(Sampler):
    """Writes ``says``, and counts how often it is asked."""

    name: str = "says"
    says: str = ""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        ASKED.append([denoiser.tokenizer.decode(prompt) for prompt in prompts])
        return Sampled(ids=[list(self.says.encode())[:max_new_tokens] for _ in prompts], forwards=1)


ASKED: list[list[str]] = []


@pytest.fixture(autouse=True)
def _nobody_asked_yet():
    ASKED.clear()


def requests(kind, *arguments):
    return [Instance(request_type=kind, doc={}, arguments=args, idx=0) for args in arguments]


def reading(**given):
    return Reading(**{"forwards": 4, "rows": 3, "seed": 0, "device": torch.device("cpu"), **given})


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A tiny model and its tokenizer as transformers loads them, and the folder of both."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)).eval()
    with torch.no_grad():  # far from uniform, so that a wrong position shows
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.dim() > 1 else 1.0)
    model.save_pretrained(folder)
    return model, tokenizer, folder


def loaded(folder, **options):
    component = HuggingFace(model=str(folder), dropout="off", **options)
    return component.load("teacher", Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager()))


def oracle(model, ids, first):
    """log p of ids[first:] and whether each of them is the likeliest, in float64, with the library's own forward."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    targets = torch.tensor(ids[first:])
    predicted = logits[first - 1 : len(ids) - 1]
    return float(predicted.gather(1, targets[:, None]).sum()), bool((predicted.argmax(1) == targets).all())


def test_log_likelihoods_of_an_autoregressive_model_are_transformers_own(llama):
    model, tokenizer, folder = llama
    denoiser = loaded(folder, form="autoregressive")
    found = HarnessModel(denoiser, AutoregressiveSampler(), reading()).loglikelihood(requests("loglikelihood", *PAIRS))
    opening = denoiser.tokenizer.encode_prompt([Message(role="text", content="")])
    for (context, continuation), (value, greedy) in zip(PAIRS, found, strict=True):
        kept = context.rstrip()
        before = [*opening, *tokenizer(kept, add_special_tokens=False).input_ids]
        ids = [*before, *tokenizer(context[len(kept) :] + continuation, add_special_tokens=False).input_ids]
        wanted, likeliest = oracle(model, ids, len(before))
        assert value == pytest.approx(wanted, rel=1e-4)
        assert greedy == likeliest


def test_what_greedy_decoding_writes_is_greedy(llama):
    _, _, folder = llama
    wrapped = HarnessModel(loaded(folder, form="autoregressive"), AutoregressiveSampler(), reading())
    (written,) = wrapped.generate_until(requests("generate_until", ("def f(x):", {"max_gen_toks": 4, "until": []})))
    assert written
    ((_, greedy), (_, other)) = wrapped.loglikelihood(
        requests("loglikelihood", ("def f(x):", written), ("def f(x):", " zebra"))
    )
    assert (greedy, other) == (True, False)


def test_a_whole_text_is_the_sum_of_its_parts(llama):
    model, tokenizer, folder = llama
    denoiser = loaded(folder, form="autoregressive")
    text = "x = 1\nprint(x)\n"
    (found,) = HarnessModel(denoiser, AutoregressiveSampler(), reading()).loglikelihood_rolling(
        requests("loglikelihood_rolling", (text,))
    )
    opening = denoiser.tokenizer.encode_prompt([Message(role="text", content="")])
    ids = [*opening, *tokenizer(text, add_special_tokens=False).input_ids]
    assert found == pytest.approx(oracle(model, ids, len(opening))[0], rel=1e-4)
    denoiser.longest = 6
    (windows,) = HarnessModel(denoiser, AutoregressiveSampler(), reading()).loglikelihood_rolling(
        requests("loglikelihood_rolling", (text,))
    )
    parts = [ids[start : start + 5] for start in range(1, len(ids), 5)]
    assert windows == pytest.approx(sum(oracle(model, [ids[0], *part], 1)[0] for part in parts), rel=1e-4)


JOINT = Joint(letters=2, length=6, seed=3)


@pytest.mark.parametrize(("form", "block"), [("bidirectional", None), ("block_diffusion", 2), ("block_causal", 3)])
def test_the_bound_of_a_consistent_model_is_its_likelihood(form, block):
    wrapped = HarnessModel(JointDenoiser(JOINT, form, block), Says(), reading(forwards=600, rows=600))
    (choice, _), (whole, greedy) = wrapped.loglikelihood(requests("loglikelihood", ("ab", "ba"), ("", "abba")))
    exact = {n: JOINT.log_probability([0, 1, 1, 0][:n]) for n in (2, 4)}
    assert choice == pytest.approx(exact[4] - exact[2], rel=0.06)
    assert whole == pytest.approx(exact[4], rel=0.06)
    assert greedy is False
    assert FIRST == 4


def test_every_model_sees_the_same_masks_and_repeats_itself():
    def scored(seed):
        return HarnessModel(JointDenoiser(JOINT, "bidirectional", noise=0.8), Says(), reading(seed=seed)).loglikelihood(
            requests("loglikelihood", ("ab", "ba"), ("a", "bba"))
        )

    assert scored(0) == scored(0)
    assert scored(0) != scored(1)


def test_conversations_reach_the_tokenizer_as_messages():
    denoiser = toy_denoiser("autoregressive")
    wrapped = HarnessModel(denoiser, Says(says="yes"), reading())
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Well?"}]
    prompt = wrapped.apply_chat_template(turns)
    (answer,) = wrapped.generate_until(requests("generate_until", (prompt, {"until": ["s"]})))
    assert answer == "ye"
    messages = [Message(role=turn["role"], content=turn["content"]) for turn in turns]
    assert [[denoiser.tokenizer.decode(denoiser.tokenizer.encode_prompt(messages))]] == ASKED
    begun = wrapped.apply_chat_template(
        [*turns, {"role": "assistant", "content": "I say "}], add_generation_prompt=False
    )
    wrapped.generate_until(requests("generate_until", (begun, {})))
    assert ASKED[-1][0].endswith("I say ")
    ((joined, _), (first, _), (second, _)) = wrapped.loglikelihood(
        requests("loglikelihood", (prompt, "I say no"), (prompt, "I say "), (begun, "no"))
    )
    assert joined == pytest.approx(first + second, rel=1e-4)


def test_prompts_that_are_too_long_lose_their_beginning():
    denoiser = toy_denoiser("autoregressive")
    denoiser.longest = 12
    with pytest.warns(UserWarning, match="was cut to fit 12 positions"):
        HarnessModel(denoiser, Says(says="x"), reading()).generate_until(
            requests("generate_until", ("abcdefghijklmnop", {"max_gen_toks": 4}))
        )
    assert ASKED[0][0].endswith("klmnop")


# ---- tasks


CODE = {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(c):\n    assert c(1) == 2\n", "task_id": "t"}
BENCHMARKS = {
    "gsm8k/test": [{"question": f"{n} plus 1?", "answer": f"so\n#### {n + 1}"} for n in range(3)],
    "gsm8k/train": [{"question": "9 plus 1?", "answer": "nine and one\n#### 10"}] * 5,
    "math/test": [{"problem": "half?", "solution": "it is \\boxed{\\frac{1}{2}}", "level": "1", "type": "x"}],
    "math/train": [{"problem": "p", "solution": "\\boxed{1}"}] * 4,
    "bbh/test": [{"input": "not False is", "target": "True"}],
    "mmlu_pro/test": [{"question": "q", "options": ["a", "b", "c"], "answer": "C"}],
    "hellaswag/validation": [
        {"ctx_a": "He", "ctx_b": "then", "activity_label": "A [title]", "endings": ["a", "bb", "ccc"], "label": str(n)}
        for n in range(3)
    ],
    "mmlu/test": [{"question": "q?", "choices": ["w", "x", "y", "z"], "answer": n} for n in range(4)],
    "humaneval/test": [CODE],
    "mbpp/test": [{"text": "Add 1.", "code": "", "test_list": ["assert add(1) == 2"], "test_setup_code": ""}],
    "mbpp/prompt": [{"text": "t", "code": "def g(): pass", "test_list": ["assert g() is None"]}] * 3,
}
ANSWERS = {
    "tide_gsm8k": ("I get\n#### 2\nQuestion: ", "exact_match", [0, 1, 0]),
    "tide_math": ("thus \\boxed{\\frac12}", "exact_match", [1]),
    "tide_bbh": ("Hm. So the answer is True.", "exact_match", [1]),
    "tide_mmlu_pro": ("So the answer is (C).", "exact_match", [1]),
    "tide_humaneval": ("```python\ndef f(x):\n    return x + 1\n```", "pass_at_1", [1]),
    "tide_mbpp": ("```python\ndef add(x):\n    return x + 1\n```", "pass_at_1", [1]),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    for name, rows in BENCHMARKS.items():
        file = folder / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def evaluated(tasks, data, says="", denoiser=None, **options):
    denoiser = denoiser or toy_denoiser("autoregressive")
    made = LmEval(tasks=tasks, path=data, sampler=Says(says=says), **{"forwards": 2, **options})
    return made.evaluate(denoiser, None, Held([]))


@pytest.mark.parametrize("task", ANSWERS)
def test_the_tasks_of_ours_tell_right_answers_from_wrong_ones(task, data):
    if task in ("tide_humaneval", "tide_mbpp") and "namespaces" not in runner.available():
        pytest.skip("this system offers no namespaces to run programs in")
    says, metric, expected = ANSWERS[task]
    right, wrong = evaluated([task], data, says), evaluated([task], data, "I do not know")
    assert right.per_example == {f"{task}/{metric}": expected}
    assert right.metrics["average"].value == sum(expected) / len(expected)
    assert wrong.metrics[f"{task}/{metric}"].value == 0
    assert right.better == {f"{task}/{metric}": "higher", "average": "higher"}


def test_shots_come_from_the_data(data):
    evaluated(["tide_gsm8k"], data)
    prompt = ASKED[0][0]
    assert prompt.count("9 plus 1?") == 5
    assert prompt.endswith("0 plus 1?\nAnswer:")
    evaluated(["tide_gsm8k"], data, shots=1)
    assert ASKED[-1][0].count("9 plus 1?") == 1


@pytest.mark.parametrize("form", ["autoregressive", "bidirectional", "block_diffusion"])
def test_multiple_choice_is_decided_by_log_likelihood(form, data):
    found = evaluated(["tide_mmlu", "tide_hellaswag"], data, denoiser=toy_denoiser(form))
    # The same question four times, each choice once the right one, and three endings alike.
    assert found.metrics["tide_mmlu/acc"].value == (0.25 if form == "autoregressive" else pytest.approx(0.25, abs=0.5))
    assert found.metrics["average"].value == pytest.approx(
        (found.metrics["tide_mmlu/acc"].value + found.metrics["tide_hellaswag/acc_norm"].value) / 2
    )
    numbers = found.per_example["tide_hellaswag/acc"]
    assert len(numbers) == 7
    assert [math.isnan(number) for number in numbers] == [True] * 4 + [False] * 3


def test_a_task_file_of_ones_own(tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"q": "1+1=", "a": "2"}\n{"q": "1+2=", "a": "3"}\n')
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'docs.jsonl'}}}, cache_dir: {tmp_path / 'cache'}}}\n"
        "output_type: generate_until\ntest_split: test\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "generation_kwargs: {until: [' '], max_gen_toks: 8}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    found = evaluated([str(tmp_path / "own.yaml")], None, "3 I think")
    assert found.per_example == {"own/exact_match": [0.0, 1.0]}


def test_a_second_checkpoint_never_gets_the_firsts_scores(data, tmp_path):
    first, kept = toy_denoiser("autoregressive"), {"results": str(tmp_path), "tasks": ["tide_gsm8k"], "data": data}
    before = evaluated(says="#### 1", denoiser=first, **kept)
    asked = len(ASKED)
    assert evaluated(says="#### 1", denoiser=first, **kept) == before
    assert len(ASKED) == asked  # read, not computed
    second = copy.deepcopy(first)
    with torch.no_grad():
        next(iter(second.module.parameters())).view(-1)[0] += 1e-3
    evaluated(says="#### 1", denoiser=second, **kept)
    assert len(ASKED) > asked
    asked = len(ASKED)
    for changed in ({"says": "#### 2"}, {"shots": 1}, {"limit": 1}, {"max_new_tokens": 3}):
        evaluated(**{"says": "#### 1", "denoiser": first, **kept, **changed})
        assert len(ASKED) > asked, changed
        asked = len(ASKED)
    assert len(list(tmp_path.iterdir())) == 2


def test_other_data_gives_other_scores(data, tmp_path):
    own = tmp_path / "data" / "bbh"
    own.mkdir(parents=True)
    for target in ("True", "False"):
        (own / "test.jsonl").write_text(json.dumps({"input": "x", "target": target}) + "\n")
        found = evaluated(["tide_bbh"], str(own.parent), "the answer is True", results=str(tmp_path / "kept"))
        assert found.metrics["average"].value == float(target == "True")


def test_the_hash_is_of_weights_form_and_tokenizer():
    plain = toy_denoiser("bidirectional")
    assert of_denoiser(plain) == of_denoiser(toy_denoiser("bidirectional"))
    others = [
        toy_denoiser("bidirectional", seed=1),
        toy_denoiser("autoregressive"),
        toy_denoiser("bidirectional", words=True),
    ]
    assert len({of_denoiser(model) for model in [plain, *others]}) == 4


def test_training_draws_the_same_numbers_after_an_evaluation(data):
    def drawn():
        return random.random(), float(torch.rand(()))

    random.seed(3)
    torch.manual_seed(3)
    expected = drawn()
    random.seed(3)
    torch.manual_seed(3)
    evaluated(["tide_gsm8k"], data)
    assert drawn() == expected


def test_errors(data, tmp_path, monkeypatch):
    # Reading the harness's own task files would take seconds.
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda include_defaults: SimpleNamespace(task_index={}))
    with pytest.raises(ConfigError, match="'gsmk' is no task of lm-evaluation-harness; those of ours: tide_bbh"):
        evaluated(["tide_gsm8k", "gsmk"], data)
    with pytest.raises(ConfigError, match="no such file; tasks of ours: tide_bbh, tide_gsm8k"):
        evaluated([str(tmp_path / "none.yaml")], data)
    with pytest.raises(DataError, match=r"gsm8k/test.jsonl: no such file"):
        evaluated(["tide_gsm8k"], str(tmp_path))
    assert [
        "no such file" in sentence for sentence in LmEval(tasks=("tide_bbh",), path=str(tmp_path)).conflicts(Mix())
    ] == [True]
    monkeypatch.undo()
    greedy = tmp_path / "greedy.yaml"
    greedy.write_text(
        f"task: greedy\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}/bbh/test.jsonl}}, cache_dir: {tmp_path / 'c'}}}\n"
        "output_type: loglikelihood\ntest_split: test\ndoc_to_text: '{{input}}'\ndoc_to_target: '{{target}}'\n"
    )
    with pytest.raises(ConfigError, match="greedy decoding would write a text"):
        evaluated([str(greedy)], None, denoiser=toy_denoiser("bidirectional"))


def test_answers_are_read_as_people_write_them():
    read = harness_answers
    assert read.boxed("a \\boxed{1} b \\boxed{\\frac{1}{2}} c") == "\\frac{1}{2}"
    assert read.boxed("nothing") is None and read.boxed("\\boxed{open") is None
    for text, expected in [
        ("#### 1,000", 1),
        ("it costs $1,000.00", 1),
        ("#### 999", 0),
        ("none", 0),
        ("2 then 1000", 1),
    ]:
        assert read.gsm8k({"answer": "x\n#### 1000"}, [text]) == {"exact_match": expected}
    for text, expected in [("the answer is (B)", 1), ("Answer is: **B**", 1), ("answer is Bob", 0), ("B", 0)]:
        assert read.letter({"answer": "B"}, [text]) == {"exact_match": expected}
    assert read.called("assert f(1) == len([g(2)])\nassert h.x() == 1") == ["f", "g"]


def test_every_task_file_states_its_settings():
    assert len(harness_tasks.task_names()) == 8
    for name in harness_tasks.task_names():
        text = (harness_tasks.FOLDER / f"{name.removeprefix('tide_')}.yaml").read_text()
        assert text.startswith("#") and "known" in text.split("task:")[0]
