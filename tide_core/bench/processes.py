"""A process for each model, so that its memory is its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import tide_specs
from tide_specs import PluginError, TideError, UnavailableError

from .protocol import Job, Model, Row


def run_job(job: Job) -> Iterator[Model | Row]:
    """Measure in a fresh process; yield what it finds as it finds it.

    Raises what the process raised of ``tide_specs.errors``, ``UnavailableError`` when it was killed.
    """
    command = [sys.executable, "-m", "tide_core.bench.worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdin is not None and process.stdout is not None
    try:
        try:
            json.dump(job.as_record(), process.stdin)
            process.stdin.close()
        except BrokenPipeError:  # it ended before it read; its status says why
            pass
        for line in process.stdout:
            yield _found(json.loads(line))
        if process.wait() != 0:
            raise _died(job, process.returncode)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _found(message: dict[str, Any]) -> Model | Row:
    if "error" in message:
        kind: Any = getattr(tide_specs, message["kind"], TideError)
        raise kind(message["error"])
    return Model(**message["model"]) if "model" in message else Row(**message["row"])


def _died(job: Job, status: int) -> TideError:
    label = job.contender.label
    if status == -signal.SIGKILL:
        return UnavailableError(
            f"{label}: the process that measured it was killed, most likely because memory ran out: measure smaller "
            "batches or fewer new tokens"
        )
    return PluginError(f"{label}: the process that measured it ended with status {status}; its messages are above")
