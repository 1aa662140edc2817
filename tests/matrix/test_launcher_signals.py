"""A job is seen through even when its scheduler interrupts while its process starts."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tide_plugins.launchers import processes
from tide_specs import Job


def test_an_interruption_amid_the_start_ends_the_process_that_was_started(tmp_path: Path, monkeypatch, request) -> None:
    script = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    job = Job(name="one", command=(sys.executable, "-c", script), directory=str(tmp_path), log=str(log))
    started = []

    def start(job: Job):
        started.append(processes_start(job))
        while "up" not in log.read_text():
            pass
        signal.raise_signal(signal.SIGINT)
        return started[0]

    # Where tests run in worker processes, the interruption may be ignored from the start.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    processes_start = processes.start
    monkeypatch.setattr(processes, "start", start)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        processes.execute(job)
    assert started[0].returncode == 7
    assert signal.getsignal(signal.SIGINT) is before
