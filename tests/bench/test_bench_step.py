"""The step benchmark runs against the project as it is: ours and a textbook step agree on loss and gradient."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_step_and_its_textbook_reference_agree() -> None:
    pytest.importorskip("dashscope", reason="its tokenizers come with the extra 'examples'")
    command = [sys.executable, "step.py", "--shape", "tiny", "--rounds", "1", "--threads", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True)
    if done.returncode and "memory" in done.stderr.splitlines()[-1]:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    (found,) = re.findall(r"loss ([\d.]+) and ([\d.]+), gradient norm ([\d.]+) and ([\d.]+)", done.stdout)
    loss, textbook_loss, gradient, textbook_gradient = map(float, found)
    assert loss == pytest.approx(textbook_loss, rel=1e-4) and gradient == pytest.approx(textbook_gradient, rel=1e-4)
