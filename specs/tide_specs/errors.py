"""The errors a user of TIDE may see. Each message says where, what was wrong and what to do next."""

from __future__ import annotations


class TideError(Exception):
    """Base of every error that TIDE raises on purpose; the command line prints its message without a traceback."""

    raised_by: object | None = None
    """The component that raised it. The core notes it, so that a message can name the place in the run file."""


class ConfigError(TideError):
    """A run file, an option or a command-line override is wrong."""


class DataError(TideError):
    """A dataset, an example, a tokenizer or a chat template cannot be used as asked."""


class AlignmentError(TideError):
    """Two tokenizations cannot be aligned in the way that was asked for."""


class UnavailableError(TideError):
    """A component exists but cannot serve here: a missing extra, device, dtype or feature."""


class CheckpointError(TideError):
    """A checkpoint or model directory is missing, truncated or belongs to another run."""


class TrainingError(TideError):
    """Training cannot go on, for example because a loss is not finite."""


class PluginError(TideError):
    """A plugin, or a component it contributed, broke its contract."""
