"""The core: it validates a mix of components, assembles it and runs it, and knows none of them by name."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tide-distill")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
