"""Distilled across architectures, in steps, or both, and in which order? Five students, one table.

Run ``python benchmarks/step_order`` after ``python benchmarks/generality``, whose student, teachers and judge it takes. A
finished run is not trained again. Writes ``docs/evidence/step_order``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EVIDENCE = ROOT / "docs" / "evidence" / "step_order"
RUNS = ("plain", "tide", "sdtt", "tide_then_sdtt", "sdtt_then_tide")
JUDGE = "{name: huggingface, model: runs/generality/autoregressive_teacher/student, form: autoregressive}"
"""It read the same corpus as the teacher, and none of the students or teachers is made of it."""


def tide(*arguments: str) -> None:
    """Run a command of ``tide``; raises ``CalledProcessError``, whose output is shown, when it fails."""
    subprocess.run([sys.executable, "-m", "tide_core.cli.main", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Train what is not finished, and compare."""
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    for name in RUNS:
        if not (ROOT / "runs" / "step_order" / name / "student").exists():
            tide("run", str(HERE / f"{name}.yaml"))
    files = {"--html": "page.html", "--markdown": "comparison.md", "--csv": "comparison.csv"}
    written = [part for option, name in files.items() for part in (option, str(EVIDENCE / name))]
    named = [f"{name}=runs/step_order/{name}" for name in RUNS]
    tide("compare", *named, "--steps", "1,2,4,8,16", "--judge", JUDGE, "--new-tokens", "32", *written)


if __name__ == "__main__":
    main()
