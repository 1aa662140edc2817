"""Does distillation generalise? Teachers and students are trained, the matrix between them is run, and a report written.

Run ``python benchmarks/generality``: less than two hours on two cores. It may be stopped and started again at any time;
what is finished is kept. Writes ``docs/evidence/generality``, and prints the tables of ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prepare import HERE, ROOT, STUDENTS, TOKENIZERS, WORK, prepare, tide

MATRIX = HERE / "generality.yaml"
EVIDENCE = ROOT / "docs" / "evidence" / "generality"

OWN_TOKENS = "smollm2"
"""The teacher that has a tokenizer of its own."""


def score_teachers() -> list[dict[str, object]]:
    """Measure every teacher on the texts that students are measured on; a run of one step evaluates it."""
    rows: list[dict[str, object]] = []
    for name, teacher in yaml.safe_load(MATRIX.read_text())["axes"]["teacher"].items():
        folder = WORK / "teachers" / name
        if not _evaluated(folder):
            shutil.rmtree(folder, ignore_errors=True)
            given = [
                f"teacher={json.dumps(_found(teacher))}",
                f"alignment={'byte_chunks' if name == OWN_TOKENS else 'shared_vocabulary'}",
                "training.steps=1",
                "training.warmup_steps=0",
                "evaluation=[{name: bits_per_byte, limit: 48, max_bytes: 256, forwards: 4, score_teacher: true}]",
                f"output={folder}",
            ]
            tide("run", str(HERE / "run.yaml"), *(part for setting in given for part in ("--set", setting)))
        events = _events(folder)
        facts = next(event["facts"] for event in events if event["event"] == "run_started")
        found = _evaluated(folder)[-1]["teacher_bits_per_byte"]
        rows.append({"teacher": name, "parameters": facts["teacher"]["parameters"], **found})
    return rows


def score_students() -> list[dict[str, object]]:
    """What students could do before any cell."""
    return [
        {"student": family, "tokenizer": tokenizer, **_evaluated(folder)[-1]["bits_per_byte"]}
        for family in STUDENTS
        for tokenizer in TOKENIZERS
        if (folder := WORK / "students" / f"{family}-{tokenizer}").exists()
    ]


def _found(teacher: Mapping[str, Any]) -> dict[str, Any]:
    beside = HERE / teacher["model"]
    return {**teacher, "model": str(beside.resolve()) if beside.exists() else teacher["model"]}


def _events(folder: Path) -> list[dict[str, Any]]:
    log = folder / "events.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _evaluated(folder: Path) -> list[dict[str, Any]]:
    return [event["evaluation"]["metrics"] for event in _events(folder) if event["event"] == "evaluation_finished"]


def write(name: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table beside the report."""
    with (EVIDENCE / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Yield rows that have ``value``, ``low`` and ``high`` as Markdown."""
    yield f"| {' | '.join(names)} | bits per byte (95 % interval over documents) |"
    yield "|---" * (len(names) + 1) + "|"
    for row in rows:
        told = [f"{row[name]:,}" if isinstance(row[name], int) else str(row[name]) for name in names]
        yield f"| {' | '.join(told)} | {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}) |"


def summary(effects: Path) -> Iterator[str]:
    """Yield the mean difference of each objective beside each teacher, and in how many settings it is shown, as Markdown."""
    with effects.open() as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] != "impossible"]
    teachers = list(dict.fromkeys(row["axis.teacher"] for row in rows))
    yield f"| objective | {' | '.join(teachers)} | better, unclear, worse |"
    yield "|---" * (len(teachers) + 2) + "|"
    for objective in dict.fromkeys(row["objective"] for row in rows):
        own = [row for row in rows if row["objective"] == objective]
        means = [_mean([row for row in own if row["axis.teacher"] == teacher]) for teacher in teachers]
        counts = ", ".join(str(sum(row["outcome"] == one for row in own)) for one in ("better", "unclear", "worse"))
        yield f"| `{objective}` | {' | '.join(means)} | {counts} |"


def _mean(rows: Sequence[Mapping[str, str]]) -> str:
    known = [float(row["difference"]) for row in rows if row["difference"]]
    return f"{sum(known) / len(known):+.3f} ({min(known):+.3f} to {max(known):+.3f})" if known else ""


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1)
    prepare(parser.parse_args().parallel)
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    teachers, students = score_teachers(), score_students()
    tide("matrix", "run", str(MATRIX))
    tide("matrix", "report", str(MATRIX), "-o", str(EVIDENCE))
    (EVIDENCE / "report.html").rename(EVIDENCE / "page.html")  # the site makes a report.html of report.md
    shutil.copy(WORK / "matrix" / "results.csv", EVIDENCE)
    write("teachers.csv", teachers)
    write("students.csv", students)
    printed = [table(teachers, ("teacher", "parameters")), table(students, ("student", "tokenizer"))]
    print("\n\n".join("\n".join(lines) for lines in [*printed, summary(EVIDENCE / "effects.csv")]))


if __name__ == "__main__":
    main()
