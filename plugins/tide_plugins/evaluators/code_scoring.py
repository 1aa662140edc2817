"""Completing programming problems, running the completions, and counting."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tide_specs import Denoiser, Estimate, Evaluation, EvaluationContext, UnavailableError

from ..sandbox.limits import Limits
from ..sandbox.runner import PROTECTIONS, Program, Result, available, run
from .intervals import ratio, wilson
from .problems import Problem, answered, read_problems
from .writing import cut_at, prompts_of, sampler_for, write

if TYPE_CHECKING:
    from .code import Code

REQUEST = "Complete this Python function. Answer with the whole function in one block of code.\n\n```python\n{}\n```"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One completion of a problem: ``source`` is the whole program."""

    problem: Problem
    sample: int
    source: str


def evaluate(options: Code, student: Denoiser, context: EvaluationContext) -> Evaluation:
    """Write, run and count. The sandbox is tried before anything is written."""
    held = require_sandbox(options.sandbox)
    problems = read_problems(options.path, options.limit or None)
    attempts, forwards, tokens = _attempts(options, student, problems, context)
    limits = Limits(seconds=options.seconds, memory_mib=options.memory_mib)
    with ThreadPoolExecutor(options.workers) as pool:
        results = list(pool.map(lambda attempt: judge(attempt.problem, attempt.source, limits), attempts))
    passes = [sum(r.passed for r in results[row :: len(problems)]) for row in range(len(problems))]
    metrics = {f"pass_at_{k}": _estimate(passes, options.samples, k) for k in options.k}
    per_example = {name: [pass_at_k(options.samples, c, int(name[8:])) for c in passes] for name in metrics}
    metrics |= {
        "problems": Estimate(value=float(len(problems))),
        "timeouts": Estimate(value=sum(r.verdict == "timeout" for r in results) / len(results)),
        "tokens_per_forward": Estimate(value=tokens / forwards if forwards else 0.0),
    }
    return Evaluation(
        metrics=metrics,
        per_example=per_example,
        tables={"completions": list(_rows(attempts, results)), "sandbox": sandbox_table(held)},
        better=dict.fromkeys(per_example, "higher"),
    )


def judge(problem: Problem, source: str, limits: Limits) -> Result:
    """Run one program against a problem's tests."""
    names = [problem.entry_point]
    return run(Program(source=source, names=names, setup=problem.helpers, test=problem.tests), limits)


def require_sandbox(wanted: str) -> tuple[str, ...]:
    """Return the protections that hold here. Raises ``UnavailableError`` where they do not suffice."""
    held = available()
    if not held:
        raise UnavailableError("evaluator 'code': no program can be run in a sandbox here; it needs Linux")
    if "namespaces" in held:
        return held
    lacking = f"the system offers no namespaces, only {', '.join(held)}"
    if wanted == "namespaces":
        raise UnavailableError(
            f"evaluator 'code': {lacking}; allow unprivileged user namespaces, or accept less with `sandbox: weaker`"
        )
    warnings.warn(
        f"evaluator 'code' runs programs of a model in a weaker sandbox: {lacking}", RuntimeWarning, stacklevel=2
    )
    return held


def sandbox_table(held: Sequence[str]) -> list[dict[str, float | str]]:
    """Return which protections held."""
    return [
        {"protection": name, "held": float(name in held)} for name in dict.fromkeys([*PROTECTIONS, "limits", *held])
    ]


def _attempts(
    options: Code, student: Denoiser, problems: Sequence[Problem], context: EvaluationContext
) -> tuple[list[Attempt], int, int]:
    """Return all attempts, sample by sample, the passes that they took, and their tokens."""
    sampler = sampler_for(options.sampler, context, student)
    texts = [REQUEST.format(problem.prompt.rstrip()) if options.chat else problem.prompt for problem in problems]
    prompts = prompts_of(student.tokenizer, texts, chat=options.chat)
    attempts: list[Attempt] = []
    forwards = tokens = 0
    for sample in range(options.samples):
        written = write(
            sampler,
            student,
            prompts,
            max_new_tokens=options.max_new_tokens,
            batch_size=options.batch_size,
            seed=context.seed + sample,
        )
        forwards, tokens = forwards + written.forwards, tokens + sum(map(len, written.ids))
        for problem, text in zip(problems, written.texts, strict=True):
            whole = answered(problem, text) if options.chat else problem.prompt + cut_at(text, options.stop)
            attempts.append(Attempt(problem=problem, sample=sample, source=whole))
    if options.samples > 1 and len({(a.problem.key, a.source) for a in attempts}) == len(problems):
        warnings.warn(
            f"evaluator 'code': all {options.samples} samples of every problem are alike, so that pass@k says no more than "
            "pass@1; give the sampler a temperature",
            RuntimeWarning,
            stacklevel=2,
        )
    return attempts, forwards, tokens


def _estimate(passes: Sequence[int], samples: int, k: int) -> Estimate:
    if samples == 1:
        return wilson(sum(passes), len(passes))
    return ratio([pass_at_k(samples, c, k) for c in passes], [1.0] * len(passes))


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of k samples passes (Chen et al. 2021, arXiv 2107.03374)."""
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


def _rows(attempts: Sequence[Attempt], results: Sequence[Result]) -> Iterator[dict[str, float | str]]:
    for attempt, result in zip(attempts, results, strict=True):
        yield {
            "key": attempt.problem.key,
            "sample": attempt.sample,
            "verdict": result.verdict,
            "message": result.message,
            "program": attempt.source,
        }
