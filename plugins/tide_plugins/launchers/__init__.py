"""Bundled launchers: processes of this machine, a Ray cluster, a Slurm cluster."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Launcher, hookimpl

from .local import Local
from .ray import Ray
from .slurm import Slurm


@hookimpl
def tide_launchers() -> Sequence[type[Launcher]]:
    """Contribute the bundled launchers."""
    return [Local, Ray, Slurm]
