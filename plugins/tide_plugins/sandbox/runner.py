"""Running programs that a model wrote, from the outside."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from .limits import Limits
from .wire import LARGEST

Verdict = Literal["passed", "failed", "raised", "definition", "died", "timeout", "broken"]
PROTECTIONS = ("namespaces", "unprivileged", "system_calls")
"""What the kernel is asked for; see ``Result.protections``."""
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from tide_plugins.sandbox.process import main; main()"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
SLACK = 2.0
"""Seconds for starting and ending the processes, beside those of the program."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is run: ``source`` defines the functions ``names``; ``test``, after ``setup``, calls them and asserts.

    ``setup`` and ``test`` are trusted and run apart from ``source``, whose functions take and return plain data: numbers,
    strings, bytes, None, and lists, tuples, sets and mappings of them.
    """

    source: str
    names: Sequence[str]
    test: str
    setup: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a program.

    verdict: ``passed``; ``failed`` (an assertion), ``raised`` (an exception while it was called), ``definition`` (an exception
    before), ``died`` (its process ended), ``timeout``, or ``broken`` (the sandbox itself). protections that held:
    ``namespaces`` (no network, an empty root of its own, processes that end with it), ``unprivileged`` (another user or no
    capabilities), ``system_calls`` (no sockets, processes or signals), ``limits``, ``python_audit`` (the weaker substitute).
    """

    verdict: Verdict
    message: str = ""
    protections: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the tests ran to their end."""
        return self.verdict == "passed"


def run(program: Program, limits: Limits | None = None, *, protections: Sequence[str] = PROTECTIONS) -> Result:
    """Run a program in processes of its own, which are gone, with all that they wrote, when this returns."""
    limits, token, started = limits or Limits(), secrets.token_hex(16), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tide-sandbox-", ignore_cleanup_errors=True) as root:
        # A user without rights must be able to stand in it where there is no root of its own.
        os.chmod(root, 0o711)
        request = {"limits": asdict(limits), "root": root, "protections": list(protections)}
        test = {"setup": program.setup, "test": program.test, "names": list(program.names), "token": token}
        output, errors = _run_process(root, [request, {"source": program.source}, test], limits.seconds + SLACK)
    return _result(output, errors, token, time.monotonic() - started)


def _run_process(root: str, messages: Sequence[Any], seconds: float) -> tuple[bytes | None, bytes]:
    """Return what the processes reported (``None``: they were out of time), and what the interpreter complained of."""
    places = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", START, str(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
        env=ENVIRONMENT,
        close_fds=True,
        start_new_session=True,
    )
    try:
        data = b"".join(_frame(message) for message in messages)
        return process.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, b""
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def _frame(message: Any) -> bytes:
    data = json.dumps(message).encode()
    return len(data).to_bytes(4, "big") + data


def _result(output: bytes | None, errors: bytes, token: str, seconds: float) -> Result:
    if output is None:
        return Result(verdict="timeout", seconds=seconds)
    try:
        report = cast("dict[str, Any]", json.loads(output[4:LARGEST]))
    except ValueError:
        return Result(verdict="broken", message=errors.decode(errors="replace")[-300:], seconds=seconds)
    verdict = cast("Verdict", report["verdict"])
    if verdict == "passed" and report.get("token") != token:
        return Result(verdict="broken", message="a pass without its token", seconds=seconds)
    found = tuple(map(str, report.get("active", ())))
    return Result(verdict=verdict, message=str(report.get("message", "")), protections=found, seconds=seconds)


@functools.cache
def available(protections: tuple[str, ...] = PROTECTIONS) -> tuple[str, ...]:
    """Return which protections hold here; empty when no program can be run at all."""
    if sys.platform == "win32":
        return ()
    trial = Program(source="def f():\n    return 1\n", names=["f"], test="assert f() == 1")
    return run(trial, protections=protections).protections
