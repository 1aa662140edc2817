"""Where plugins come from: the bundled packages, entry points of group ``tide``, and single files."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from tide_specs import PROJECT, PluginError

from . import __version__

DISTRIBUTION = "tide-distill"
FILE_MARK = "__tide_plugin_file__"


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plugin that has not been imported yet."""

    name: str
    distribution: str
    version: str
    load: Callable[[], object]
    module: str = ""
    bundled: bool = False
    asked_for: bool = False
    """Named on the command line, so that ``TIDE_LOAD_PLUGINS`` does not leave it out."""
    requirements: Sequence[str] = field(default=())
    refusal: str | None = None
    withdraw: Callable[[], None] = _nothing
    """Undoes what ``load`` did to the interpreter."""


def bundled(modules: Sequence[str]) -> list[Candidate]:
    """The packages that ship with TIDE, named only here by strings."""
    return [
        Candidate(
            name=module,
            distribution=DISTRIBUTION,
            version=__version__,
            load=partial(import_module, module),
            module=module,
            bundled=True,
        )
        for module in modules
    ]


def installed() -> list[Candidate]:
    """Third parties' plugins, by entry point; in order of name, so that messages do not depend on the file system."""
    try:
        found = [_from_entry_point(point) for point in metadata.entry_points(group=PROJECT)]
    except Exception:  # one unreadable entry_points.txt spoils the whole query
        found = _one_by_one()
    return sorted(found, key=lambda candidate: (candidate.name, candidate.module))


def _one_by_one() -> list[Candidate]:
    found: dict[str, list[Candidate]] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] or "unknown distribution"
        if name in found:  # shadowed by an earlier one on the path
            continue
        try:
            found[name] = [_from_entry_point(point) for point in distribution.entry_points.select(group=PROJECT)]
        except Exception as error:
            reason = f"its entry_points.txt cannot be read: {error}"
            concerned = f"[{PROJECT}]" in (distribution.read_text("entry_points.txt") or "")
            broken = Candidate(
                name=name, distribution=name, version=distribution.version, load=_nothing, refusal=reason
            )
            found[name] = [broken] if concerned else []
    return [candidate for candidates in found.values() for candidate in candidates]


def _from_entry_point(point: metadata.EntryPoint) -> Candidate:
    distribution = point.dist
    return Candidate(
        name=point.name,
        distribution=(distribution.name if distribution else None) or "unknown distribution",
        version=(distribution.version if distribution else None) or "",
        load=point.load,
        module=point.value,
        requirements=tuple((distribution.requires if distribution else None) or ()),
    )


def from_file(path: str) -> Candidate:
    """A plugin that is one Python file; raises ``PluginError`` when there is no such file."""
    file = Path(path).resolve()
    if not file.is_file():
        raise PluginError(f"--plugin {path}: no such file")
    if not file.stem.isidentifier() or file.suffix != ".py":
        raise PluginError(f"--plugin {path}: the file's name must be a Python module's, e.g. my_loss.py")
    return Candidate(
        name=file.stem,
        distribution=path,
        version="",
        load=partial(_load_file, file),
        module=file.stem,
        asked_for=True,
        withdraw=partial(_withdraw_file, file),
    )


def _load_file(file: Path) -> ModuleType:
    present = sys.modules.get(file.stem)
    if present is not None and getattr(present, FILE_MARK, None) == str(file):
        return present
    if present is not None and hasattr(present, FILE_MARK):
        _withdraw_file(Path(getattr(present, FILE_MARK)))
    elif present is not None or _shadows_another(file):
        raise PluginError(f"a module '{file.stem}' exists already; rename the file {file.name}")
    # On the path, so that worker processes can unpickle the plugin's components; at its end, so that it shadows nothing.
    sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, FILE_MARK, str(file))
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _shadows_another(file: Path) -> bool:
    """Whether some other module has the file's name; a plugin loaded before from the same folder finds the file itself."""
    found = importlib.util.find_spec(file.stem)
    return found is not None and (found.origin is None or Path(found.origin).resolve() != file.resolve())


def _withdraw_file(file: Path) -> None:
    present = sys.modules.get(file.stem)
    if present is not None and getattr(present, FILE_MARK, None) == str(file):
        del sys.modules[file.stem]
        with contextlib.suppress(ValueError):
            sys.path.reverse()
            sys.path.remove(str(file.parent))
        sys.path.reverse()


def chosen(candidates: Sequence[Candidate], environment: Mapping[str, str]) -> tuple[list[Candidate], list[Candidate]]:
    """Split candidates into those to load and those that ``TIDE_LOAD_PLUGINS`` and ``TIDE_BLOCK_PLUGINS`` leave out.

    ``TIDE_LOAD_PLUGINS``: of the installed third-party plugins, load only these. ``TIDE_BLOCK_PLUGINS``: never load
    these, bundled ones included. Both hold names of plugins or distributions, separated by commas.
    """
    only = _names(environment.get("TIDE_LOAD_PLUGINS"))
    blocked = _names(environment.get("TIDE_BLOCK_PLUGINS")) or set()
    kept, left = [], []
    for candidate in candidates:
        names = {candidate.name, candidate.distribution}
        listed = only is None or candidate.bundled or candidate.asked_for or bool(names & only)
        (kept if listed and not names & blocked else left).append(candidate)
    return kept, left


def unknown_names(candidates: Sequence[Candidate], environment: Mapping[str, str]) -> list[str]:
    """Names in ``TIDE_LOAD_PLUGINS`` that no installed plugin has."""
    known = {name for candidate in candidates for name in (candidate.name, candidate.distribution)}
    return sorted((_names(environment.get("TIDE_LOAD_PLUGINS")) or set()) - known)


def _names(listed: str | None) -> set[str] | None:
    if listed is None:
        return None
    return {name.strip() for name in listed.split(",") if name.strip()}
