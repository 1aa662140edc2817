"""Import a module in a fresh interpreter and see whether it imports something heavy, and where."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HEAVY = ("torch", "transformers", "datasets", "mlflow")
"""What no plugin may import merely by being discovered."""

_PROBE = """
import importlib, importlib.util, json, sys, traceback
name, path, heavy, search = json.loads(sys.argv[1])
sys.path[:] = search

class Watch:
    def find_spec(self, module, *rest):
        if module in heavy:
            frames = [f for f in traceback.extract_stack()[:-1] if "importlib" not in f.filename]
            print(json.dumps({"heavy": module, "file": frames[-1].filename, "line": frames[-1].lineno}))
            sys.stdout.flush()
            import os
            os._exit(0)

sys.meta_path.insert(0, Watch())
try:
    importlib.import_module(name)
except ModuleNotFoundError as error:
    if error.name != name.partition(".")[0] or not path:
        raise
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
print(json.dumps({"loaded": sorted(sys.modules)}))
"""

_light: set[str] = set()


def heavy_import(module: str) -> str | None:
    """Return what heavy module the import of ``module`` brings in, and the file and line that do it; or ``None``."""
    # A module that runs the kit when imported would be probed by its own probe, without end.
    return None if module in _light or os.environ.get(_PROBING) else _probe(module)


_PROBING = "TIDE_PROBING_IMPORTS"
"""Environment variable of an interpreter that was started by ``_probe``."""


@functools.cache
def _probe(module: str) -> str | None:
    path: Any = getattr(sys.modules.get(module), "__file__", None)
    arguments = json.dumps([module, path, HEAVY, sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, _PROBING: "1"},
    )
    if done.returncode != 0:
        raise ImportError(f"{module} cannot be imported on its own: {done.stderr.strip().splitlines()[-1]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if "heavy" in told:
        return f"{told['heavy']} ({Path(told['file']).name}, line {told['line']})"
    # A package's modules are loaded together, so one interpreter usually answers for all of them.
    _light.update(told["loaded"])
    return None
