"""What benchmarks over many small runs share: a run of the command, whether it is finished, and an interval over seeds."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t, 97.5 % quantile by degrees of freedom."""


def tide(base: Path, settings: Sequence[str]) -> None:
    """``tide run`` with settings, on one core; raises ``CalledProcessError`` when it fails."""
    command = [sys.executable, "-m", "tide_core.cli.main", "run", str(base)]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)


def finished(log: Path) -> bool:
    """Whether the run that wrote this event log came to its end."""
    return log.exists() and '"status": "finished"' in log.read_text()


def interval(gaps: Sequence[float]) -> str:
    """Mean of paired differences and its 95 % Student's t interval; empty for fewer than two."""
    if len(gaps) < 2:
        return ""
    half = T_975[len(gaps) - 1] * statistics.stdev(gaps) / len(gaps) ** 0.5
    mean = statistics.mean(gaps)
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"
