"""A benchmark's variant in a process of its own: it is told what to do, one JSON object a line, and answers each with one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Process:
    """A worker and the pipe to it. ``script``: its file beside this one."""

    def __init__(self, script: str, *arguments: object) -> None:
        command = [sys.executable, str(HERE / script), *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        self._answer()

    def ask(self, do: str, **what: int) -> dict[str, Any]:
        """Tell the worker to do something; return what it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended early, exit status {self._process.wait()}; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the worker end."""
        self._process.communicate()


def serve(answer: Callable[..., Any], lines: Any = sys.stdin) -> None:
    """Be the worker: say that it is ready, then call ``answer(do, **what)`` for every line."""
    print(json.dumps({"ready": True}), flush=True)
    for line in lines:
        print(json.dumps(answer(**json.loads(line))), flush=True)
