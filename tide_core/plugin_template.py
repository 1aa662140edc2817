"""Writes plugin projects from the example plugin, file by file, so that the two cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tide_specs import COMPONENT_HOOKS, ConfigError

PARTS = {
    "loss": ("loss.py", "ByteGap"),
    "schedule": ("schedule.py", "Smooth"),
    "alignment": ("alignment.py", "Spans"),
    "attention": ("attention.py", "Tiled"),
    "architecture": ("architecture.py", "ParallelBytes"),
    "observer": ("observer.py", "MetricsTable"),
}
"""Kind -> its file in the example plugin, and the class in it."""
ALSO = {"network.py": "architecture"}
"""Further files, and the kind that they belong to."""
WHOLE = ("examples/run.yaml", "examples/questions.jsonl", "tests/test_run.py")
"""Files that need every kind."""
LEFT_OUT = {"__pycache__", ".pytest_cache", ".ruff_cache", "dist", "build", ".venv"}
DISTRIBUTION, MODULE, PREFIX = "tide-plugin-example", "tide_plugin_example", "example_"


@dataclass(frozen=True)
class Names:
    """The names of a new plugin: of its distribution, its module, and what its components' names start with."""

    distribution: str
    module: str
    prefix: str


def names_of(name: str) -> Names:
    """Return the names that follow from NAME; raise ``ConfigError`` when no distribution can be called so."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_.]?[A-Za-z0-9]+)*", name):
        raise ConfigError(
            f"'{name}' cannot name a distribution; use letters, digits and hyphens, for example tide-plugin-sharp"
        )
    module = re.sub(r"[-.]", "_", name).lower()
    if module.split("_")[0] in {"torch"} or module in {"tide", "tide_core", "tide_specs", "tide_plugins"}:
        raise ConfigError(f"'{name}' would hide the module '{module}' that TIDE itself uses; choose another name")
    return Names(name, module, module.removeprefix("tide_plugin_").removeprefix("tide_") + "_")


def template_root() -> Path:
    """Return the example plugin: shipped inside the wheel, or beside the core in a source tree."""
    here = Path(__file__).resolve().parent
    for root in (here / "_template", here.parent / "plugins" / DISTRIBUTION):
        if (root / "pyproject.toml").is_file():
            return root
    raise ConfigError("this installation of TIDE lacks the example plugin that new ones are written from; reinstall it")


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds in the template's order; raise ``ConfigError`` for one that it does not hold."""
    for kind in kinds:
        if kind not in PARTS:
            known = "there is no template for it yet" if kind in COMPONENT_HOOKS else "there is no such kind"
            raise ConfigError(f"--kinds: '{kind}': {known}; choose among {', '.join(PARTS)}")
    return tuple(kind for kind in PARTS if kind in kinds)


def write_project(target: Path, names: Names, kinds: Sequence[str]) -> list[Path]:
    """Write a project with components of these kinds into ``target``; return the files, relative to it.

    Raises ``ConfigError`` when the directory exists and holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} exists already and is not empty; give another NAME or --directory")
    written: list[Path] = []
    for source in _sources(kinds):
        relative = Path(*(names.module if part == MODULE else part for part in source.parts))
        text = (template_root() / source).read_text(encoding="utf-8")
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        (target / relative).write_text(_renamed(_without(text, source, kinds), names), encoding="utf-8")
        written.append(relative)
    return written


def _sources(kinds: Sequence[str]) -> Iterator[Path]:
    """The template's files that a plugin of these kinds needs."""
    unwanted = {file for kind, (file, _) in PARTS.items() if kind not in kinds}
    unwanted |= {file for file, kind in ALSO.items() if kind not in kinds}
    root = template_root()
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not path.is_file() or LEFT_OUT & set(relative.parts) or path.name.endswith((".pyc", ".egg-info")):
            continue
        if relative.parent.name == MODULE and path.name in unwanted:
            continue
        if len(kinds) < len(PARTS) and relative.as_posix() in WHOLE:
            continue
        yield relative


def _without(text: str, source: Path, kinds: Sequence[str]) -> str:
    """Leave out what belongs to kinds that are not wanted."""
    unwanted = [kind for kind in PARTS if kind not in kinds]
    if source.name == "README.md":
        for kind in [*unwanted, *(["all"] if unwanted else [])]:
            text = re.sub(rf"<!-- kind: {kind} -->\n.*?<!-- end -->\n", "", text, flags=re.DOTALL)
            text = re.sub(rf"^\| {kind} \|.*\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"<!-- (kind: \w+|end) -->\n", "", text)
        return re.sub(r"\n{3,}", "\n\n", text)
    if source.name == "test_reach.py":
        words = [f'"{kind}": [' for kind in unwanted]
    elif source.name in ("__init__.py", "test_conformance.py"):
        words = [word for kind in unwanted for word in (COMPONENT_HOOKS[kind], f"{PARTS[kind][1]}(", f".{kind} import")]
    else:
        return text
    return "".join(line for line in text.splitlines(keepends=True) if not any(word in line for word in words))


def _renamed(text: str, names: Names) -> str:
    text = text.replace(DISTRIBUTION, names.distribution).replace(MODULE, names.module)
    return re.sub(rf"\b{PREFIX}", names.prefix, text)
