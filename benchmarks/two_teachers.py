"""Two teachers with different knowledge, one student: does it beat the students of either, on the texts of both?

Run ``python benchmarks/two_teachers.py`` after the demo, whose teacher knows Python functions. A second teacher
goes on from it with English: the paragraphs of the docstrings of an installed library. Students see little of both. Every cell is
one ``tide run``; a finished one is not run again. Writes ``docs/assets/two_teachers.csv`` and prints the table of
``docs/results.md``.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import importlib.util
import itertools
import json
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cells import ROOT, finished, interval, tide

from tide_core.registry import Registry

WORK = ROOT / "runs" / "two_teachers"
DEMO = ROOT / "examples" / "demo"
CSV = ROOT / "docs" / "assets" / "two_teachers.csv"

LIBRARY = "torch"
"""Whose docstrings the second teacher reads."""
SEEN, HELD_OUT = 200, 48
"""Examples of each kind that a student sees, and that it is measured on."""

CODE = "{name: huggingface, model: examples/demo/teacher, form: bidirectional}"
LOSS = "[{name: forward_kl, temperature: 2, weight: 3}]"
OBJECTIVES = ("no teacher", "code teacher", "prose teacher", "both", "both, by confidence")


def paragraphs(library: str) -> Iterator[str]:
    """English paragraphs of a library's docstrings, each once, in the order of its files."""
    found = importlib.util.find_spec(library)
    assert found is not None and found.submodule_search_locations
    seen: set[str] = set()
    for path in sorted(Path(found.submodule_search_locations[0]).rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        for node in ast.walk(tree):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n") if isinstance(node, documented) else ():
                text = " ".join(paragraph.split())
                if _is_prose(text) and text not in seen:
                    seen.add(text)
                    yield text


def _is_prose(text: str) -> bool:
    words = text.count(" ")
    return 150 < len(text) < 900 and ">>>" not in text and words / len(text) > 0.12 and text.isascii()


def _held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 13  # one in twenty


def write_data() -> None:
    """Write the texts of the prose teacher, and little of both kinds for students; held-out texts alternate in kind."""
    WORK.mkdir(parents=True, exist_ok=True)
    prose = [{"text": text} for text in paragraphs(LIBRARY)]
    apart = {
        split: [line for line in prose if _held_out(line["text"]) is (split == "held-out")]
        for split in ("train", "held-out")
    }
    functions = Registry.discover().build("dataset", "python_stdlib")
    code = {
        name: [
            {"prompt": one.messages[0].content, "response": one.messages[1].content}
            for one in functions.examples(split)
        ]
        for name, split in (("train", "train"), ("held-out", "evaluation"))
    }
    for name, limit in (("train", SEEN), ("held-out", HELD_OUT)):
        _write(WORK / f"prose-{name}.jsonl", apart[name])
        step = max(1, len(code[name]) // limit), max(1, len(apart[name]) // limit)
        both = zip(code[name][:: step[0]][:limit], apart[name][:: step[1]][:limit], strict=True)
        _write(WORK / f"both-{name}.jsonl", [line for pair in both for line in pair])
    print(f"prose: {len(apart['train'])} paragraphs, {sum(len(line['text']) for line in apart['train']):,} characters")


def _write(path: Path, lines: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def data(name: str, length: int) -> str:
    train, held_out = (WORK / f"{name}-{split}.jsonl" for split in ("train", "held-out"))
    return f"{{name: jsonl, path: {train}, evaluation_path: {held_out}, chat: false, max_length: {length}}}"


PROSE_TEACHER = WORK / "prose-teacher"


def train_prose_teacher() -> None:
    """Go on from the demo's teacher with other texts: from nothing it would need many more steps to see that words have order."""
    if not (PROSE_TEACHER / "student").exists():
        settings = [
            "student={name: huggingface, model: examples/demo/teacher, form: bidirectional}",
            "training.steps=700",
            "training.learning_rate=1e-3",
            f"data={data('prose', 144)}",
            "observers=[]",
            f"output={PROSE_TEACHER}",
            "training.workers=0",
        ]
        tide(DEMO / "teacher.yaml", settings)


@dataclass(frozen=True)
class Cell:
    """One student."""

    objective: str
    seed: int

    @property
    def output(self) -> Path:
        return WORK / "".join(c if c.isalnum() else "_" for c in f"{self.objective}-{self.seed}")

    @property
    def log(self) -> Path:
        return self.output / "events.jsonl"

    def finished(self) -> bool:
        return finished(self.log)

    def teachers(self) -> str:
        prose = f"{{name: huggingface, model: {PROSE_TEACHER / 'student'}, form: bidirectional}}"
        weighting = "by_confidence" if "confidence" in self.objective else "constant"
        models = {"code teacher": [CODE], "prose teacher": [prose], "no teacher": []}.get(self.objective, [CODE, prose])
        shared = f"alignment: shared_vocabulary, losses: {LOSS}, weighting: {weighting}"
        return "[" + ", ".join(f"{{teacher: {model}, {shared}}}" for model in models) + "]"

    def run(self) -> None:
        settings = [
            "teacher=null",
            f"teachers={self.teachers()}",
            f"data={data('both', 144)}",
            "student.form=bidirectional",
            "student.block_size=null",
            "student.tokenizer_from=examples/demo/teacher-tokenizer",
            "training.steps=400",
            f"training.seed={self.seed}",
            "training.workers=0",
            f"evaluation=[{{name: bits_per_byte, limit: {2 * HELD_OUT}, max_bytes: 384, forwards: 4}}]",
            "observers=[]",
            f"output={self.output}",
        ]
        base = WORK / "base.yaml"
        # Without the sections that stand in each entry of ``teachers``.
        lines = (DEMO / "cross_entropy.yaml").read_text().splitlines()
        base.write_text("\n".join(line for line in lines if not line.startswith(("teacher:", "alignment:"))))
        tide(base, settings)

    def bits_per_byte(self) -> dict[str, float]:
        """Over held-out texts of each kind, and over all: all bits over all bytes. Odd lines of the file are code."""
        events = (json.loads(line) for line in self.log.read_text().splitlines())
        last = [event for event in events if event["event"] == "evaluation_finished"][-1]
        examples = last["evaluation"]["tables"]["examples"]
        line = [int(example["key"].rsplit(":", 1)[1]) for example in examples]
        kinds = {
            "code": lambda number: number % 2 == 1,
            "prose": lambda number: number % 2 == 0,
            "both": lambda _: True,
        }
        found: dict[str, float] = {}
        for kind, fits in kinds.items():
            its = [example for number, example in zip(line, examples, strict=True) if fits(number)]
            found[kind] = sum(e["bits"] for e in its) / sum(e["bytes"] for e in its)
        return found


def table(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    yield "| student of | code | prose | both | against no teacher, on both (95 % interval over seeds) |"
    yield "|---|---|---|---|---|"
    value = {(str(r["objective"]), int(str(r["seed"]))): r for r in rows}
    seeds = sorted({seed for _, seed in value})
    for objective in OBJECTIVES:
        its = [value[objective, seed] for seed in seeds if (objective, seed) in value]
        means = " | ".join(
            f"{statistics.mean(float(str(r[kind])) for r in its):.3f}" for kind in ("code", "prose", "both")
        )
        gaps = [
            float(str(value[objective, seed]["both"])) - float(str(value["no teacher", seed]["both"]))
            for seed in seeds
            if (objective, seed) in value
        ]
        yield f"| {objective} | {means} | {interval(gaps) if objective != 'no teacher' else ''} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=2)
    arguments = parser.parse_args()
    write_data()
    train_prose_teacher()
    cells = [Cell(objective, seed) for seed, objective in itertools.product(range(arguments.seeds), OBJECTIVES)]
    waiting = [cell for cell in cells if not cell.finished()]
    print(f"{len(cells)} students, {len(waiting)} to train", flush=True)
    with ThreadPoolExecutor(arguments.parallel) as pool:
        for number, _ in enumerate(pool.map(Cell.run, waiting), 1):
            print(f"{number}/{len(waiting)}", flush=True)
    rows = [{"objective": cell.objective, "seed": cell.seed, **cell.bits_per_byte()} for cell in cells]
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
