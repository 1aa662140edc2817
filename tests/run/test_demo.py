"""The demo prints a table of real numbers and some text, here after two steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_trains_compares_and_writes(tmp_path) -> None:
    short = ["training.steps=2", "training.warmup_steps=0", "training.log_every=1", "data.max_examples=20"]
    short += ["evaluation[0].limit=3", "evaluation[1].limit=3"]
    command = [sys.executable, str(DEMO), *(part for setting in short for part in ("--set", setting))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for row in ("the teacher itself", "cross-entropy alone", "TIDE-Cross, published", "TIDE-Cross, corrected"):
        assert row in done.stdout
    assert "2,164,416" in done.stdout
    assert "the student completes, in" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///runs/demo/mlflow.db" in done.stdout.replace("\n", " ")
    assert (tmp_path / "runs" / "demo" / "mlflow.db").is_file()
