"""The measuring process: reads a job as JSON from standard input, writes one JSON object a line.

Each line is ``{"model": ...}``, ``{"row": ...}``, or, as the last one, ``{"error": message, "kind": class}``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TextIO

from tide_specs import TideError

from .protocol import Job, Model


def main() -> None:
    """Measure the job that standard input describes."""
    with results_only() as out:
        try:
            from .measurement import measure

            for found in measure(Job.of(json.load(sys.stdin))):
                _write(out, "model" if isinstance(found, Model) else "row", asdict(found))
        except TideError as error:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}), file=out, flush=True)


def results_only() -> TextIO:
    """Return standard output for results alone: whatever else this process prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _write(out: TextIO, what: str, record: object) -> None:
    print(json.dumps({what: record}, default=str), file=out, flush=True)


if __name__ == "__main__":
    main()
