"""The core: it validates a mix of components, assembles it and runs it, and knows none of them by name."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Looked up when asked for: importlib.metadata is the slowest import behind `tide --help`.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tide-distill")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
