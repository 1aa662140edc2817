"""Bundled launchers: processes of this machine, a Ray cluster, a Slurm cluster."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Launcher, hookimpl

from .local import Local


@hookimpl
def tide_launchers() -> Sequence[type[Launcher]]:
    """Contribute the bundled launchers."""
    return [Local]
