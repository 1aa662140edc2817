"""Reading answers of the benchmarks that are tasks of ours, and preparing their questions."""

# lm-eval publishes no types worth the name.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingImports=false

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..sandbox.limits import Limits
from ..sandbox.runner import Program, run
from .problems import FENCE, Problem, answered

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
LETTER = re.compile(r"answer is:?\s*\**\(?([A-J])\b", re.IGNORECASE)
ANSWER = re.compile(r"answer is:?\s*(.+)", re.IGNORECASE)
Document = Mapping[str, Any]


def gsm8k(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare the number behind ``####``, or else the last one, with the reference's."""
    found = _number(results[0])
    return {"exact_match": float(found is not None and found == _number(document["answer"]))}


def _number(text: str) -> float | None:
    marked = text.rpartition("####")[2] if "####" in text else text
    numbers = NUMBER.findall(marked)
    if not numbers:
        return None
    return float((numbers[0] if "####" in text else numbers[-1]).replace(",", ""))


def math(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare what is boxed last with the reference's, by the rules that came with the benchmark."""
    from lm_eval.tasks.hendrycks_math.utils import is_equiv

    found, wanted = boxed(results[0]), boxed(document["solution"])
    return {"exact_match": float(found is not None and bool(is_equiv(found, wanted)))}


def boxed(text: str) -> str | None:
    """Return the content of the last ``\\boxed{...}``, braces inside it counted."""
    start = text.rfind("\\boxed{")
    depth = 0
    for place in range(start + 6, len(text)) if start >= 0 else ():
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start + 7 : place].strip()
    return None


def bbh(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare what follows "the answer is" with the target, without case and final stop."""
    found = ANSWER.findall(results[0])
    said = found[-1] if found else results[0].strip().rpartition("\n")[2]
    return {"exact_match": float(_plain(said) == _plain(document["target"].rpartition("answer is")[2]))}


def _plain(text: str) -> str:
    return text.strip().strip("*").rstrip(".").strip().lower()


def letter(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare the letter behind "the answer is" with the reference's."""
    found = LETTER.findall(results[0])
    return {"exact_match": float(bool(found) and found[-1].upper() == document["answer"])}


def humaneval(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Run the program in the answer against the problem's tests."""
    from .code_scoring import judge

    names = ("prompt", "entry_point", "test")
    problem = Problem(key=str(document["task_id"]), **{name: str(document[name]) for name in names})
    return {"pass_at_1": float(judge(problem, answered(problem, results[0]), Limits()).passed)}


def mbpp(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Run the program in the answer against the problem's assertions."""
    blocks = FENCE.findall(results[0]) or [results[0]]
    setup = "\n".join([str(document.get("test_setup_code") or ""), *(document.get("test_imports") or ())])
    test = "\n".join(document["test_list"])
    program = Program(source=blocks[0], names=called(test), setup=setup, test=test)
    return {"pass_at_1": float(run(program, Limits()).passed)}


def called(test: str) -> list[str]:
    """Return the functions that a test calls by name and nobody else defines."""
    nodes = [node for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Call)]
    names = [node.func.id for node in nodes if isinstance(node.func, ast.Name)]
    return sorted({name for name in names if not hasattr(builtins, name)})


def hellaswag(documents: Any) -> Any:
    """Put question and endings together, without the marks that the source of the texts left in them."""
    return documents.map(_hellaswag)


def _hellaswag(document: Document) -> dict[str, Any]:
    context = f"{document['ctx_a']} {document['ctx_b'].capitalize()}"
    return {
        "query": _unmarked(f"{document['activity_label']}: {context}"),
        "choices": [_unmarked(ending) for ending in cast("Sequence[str]", document["endings"])],
        "gold": int(document["label"]),
    }


def _unmarked(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


RESULTS: dict[str, Callable[[Document, Sequence[str]], dict[str, float]]] = {
    "gsm8k": gsm8k,
    "math": math,
    "bbh": bbh,
    "letter": letter,
    "humaneval": humaneval,
    "mbpp": mbpp,
}
"""What a task file may name under ``process_results``."""
DOCUMENTS: dict[str, Callable[[Any], Any]] = {"hellaswag": hellaswag}
"""What a task file may name under ``process_docs``."""
RUN_PROGRAMS = frozenset({"humaneval", "mbpp"})
