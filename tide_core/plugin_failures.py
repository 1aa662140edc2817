"""Why a plugin was skipped, in one sentence with a remedy."""

from __future__ import annotations

import re
import traceback

from tide_specs import CONTRACT_VERSION, PluginError

from .plugin_sources import Candidate

LIBRARIES = ("/pydantic/", "/pydantic_core/", "/pluggy/", "<frozen")


def explain(error: BaseException, candidate: Candidate) -> str:
    """Return the reason for which a plugin that raised ``error`` is skipped."""
    if isinstance(error, PluginError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"calls sys.exit({error.code!r}) when imported{where(error)}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, candidate)
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "tide_specs":
        return f"{error}; it was written for another contract than this TIDE's {CONTRACT_VERSION}"
    return f"raises {type(error).__name__} when imported: {error}{where(error)}"


def where(error: BaseException) -> str:
    """Return `` (file:line)`` of the innermost frame that is the plugin's own, or nothing."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename.replace("\\", "/") for part in (*LIBRARIES, "/tide_core/"))
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _missing(module: str, candidate: Candidate) -> str:
    if candidate.module and candidate.module.split(":")[0].startswith(module):
        return f"module '{module}' does not exist"
    top = module.split(".")[0]
    return f"needs '{top}', which is not installed; pip install {_install_target(top, candidate)}"


def _install_target(module: str, candidate: Candidate) -> str:
    """The plugin's own extra where one brings the module in, otherwise the module's name."""
    wanted = _normal(module)
    for requirement in candidate.requirements:
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra and name and _normal(name.group()) == wanted:
            return f"'{candidate.distribution}[{extra.group(1)}]'"
    return module


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
