"""The process of one cell: ``python -m tide_core.matrix.cell_process FOLDER``.

The folder holds ``job.json``; the run goes into the same folder, and ``result.json`` is written when it is finished. At
most one process works on a folder, and it ends when the process that started it does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tide_core.registry import Registry
from tide_specs import TideError

from .locks import waiting
from .recording import facts, measured, read_events, seconds_of_parts
from .results import RESULT, read_record, write_record

JOB = "job.json"
REFUSED, INTERRUPTED = 2, 130
"""Exit status of a run that would fail in the same way again, and of one that was told to stop."""
ORPHAN_SECONDS = 0.5


def main(folder: str) -> int:
    """Run the cell of a folder; returns the exit status."""
    began = time.time()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tide_core").setLevel(logging.INFO)
    logging.captureWarnings(True)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    directory = Path(folder)
    job = read_record(directory / JOB)
    if job is None:
        print(f"{directory / JOB}: no such file", file=sys.stderr)
        return REFUSED
    try:
        with waiting(directory):
            return _run(directory, job, began)
    except TideError as error:
        print(str(error), file=sys.stderr)
        return REFUSED


def _run(directory: Path, job: Mapping[str, Any], began: float) -> int:
    result = read_record(directory / RESULT)
    if result is not None and result["identity"] == job["identity"]:
        return 0  # another process finished it while this one waited
    registry = Registry.discover(job["plugins"])
    from tide_core.config import run_from_record

    config = run_from_record(job["config"], registry=registry)
    import torch

    from tide_core.run import run

    torch.set_num_threads(job["threads"])
    outcome = run(config, registry)
    if outcome.status != "finished":
        return INTERRUPTED
    events = read_events(directory)
    started = facts(events)
    record = {
        "identity": job["identity"],
        "labels": job["labels"],
        **measured(events, config.training.steps),
        "seconds": time.time() - began + seconds_of_parts(events, began),
        **{name: job[name] for name in ("teacher_forwards", "student_forwards")},
        "parameters": started["facts"]["student"].get("parameters"),
        "facts": started["facts"],
        "components": started["components"],
    }
    write_record(directory / RESULT, record)
    return 0


def _end_with(parent: int) -> None:
    """Ask this process to stop, as Ctrl-C would, when the one that started it has gone."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
