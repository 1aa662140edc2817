"""``run_matrix``: the engine, the tables that it leaves, and who is told of the whole."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tide_core.registry import Registry
from tide_specs import ConfigError, UnavailableError

from .definition import LoadedMatrix
from .engine import Engine, Watch
from .locks import refusing
from .results import load_results, write_csv, write_parquet
from .whole import Whole

TABLES = {"results.csv": write_csv, "results.parquet": write_parquet}


def run_matrix(loaded: LoadedMatrix, registry: Registry, plugins: Sequence[str], watch: Watch) -> None:
    """Run every possible cell that is not finished, and write the tables of all results.

    Raises ``UnavailableError`` when the launcher is not installed or does not answer, ``ConfigError`` when another
    process runs this matrix or no cell is possible.
    """
    require_launcher(loaded, registry)
    if not any(cell.possible for cell in loaded.matrix.cells):
        raise ConfigError(f"{loaded.matrix.file}: every cell is impossible; the plan says why")
    with refusing(loaded.matrix.directory):
        whole = Whole(loaded.matrix, registry)
        whole.start()
        engine = Engine(matrix=loaded.matrix, options=loaded.options, plugins=plugins, watch=watch, part=whole.part)
        error: BaseException | None = None
        try:
            with contextlib.closing(engine.run()) as results:
                for result in results:
                    whole.ended(result)
        except BaseException as raised:
            error = raised
            raise
        finally:
            whole.finish(error, write_tables(loaded))


def require_launcher(loaded: LoadedMatrix, registry: Registry) -> None:
    """Raise ``UnavailableError`` that names the extra when the launcher is not installed."""
    launcher = loaded.options.launcher
    reason = registry.unavailable(type(launcher))
    if reason and launcher.extra:
        extra = f"{registry.origin(launcher).distribution}[{launcher.extra}]"
        reason = f"needs {', '.join(launcher.requires)}; pip install '{extra}'"
    if reason:
        raise UnavailableError(f"{loaded.matrix.file}: launcher '{launcher.name}' {reason}")


def write_tables(loaded: LoadedMatrix) -> list[Path]:
    """Write what all cells found out into the matrix' folder; returns the files."""
    results = load_results(loaded.matrix)
    paths = [loaded.matrix.directory / name for name in TABLES]
    for path in paths:
        TABLES[path.name](results, path)
    return paths
