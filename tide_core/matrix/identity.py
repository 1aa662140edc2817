"""What the numbers of a cell depend on, as one hash: its run, the code that computes it, and its data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tide_core import __version__
from tide_core.blame import blame
from tide_core.config import LoadedRun, config_record
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_core.yaml_source import Source
from tide_specs import Component

SILENT_SECTIONS = ("output", "observers", "allow")
SILENT_OPTIONS = ("log_every", "checkpoint_every", "keep_checkpoints", "workers")
"""Of ``training``. What may differ between two runs that give the same numbers."""


class Identities:
    """Computes identities; the fingerprint of a dataset is asked for once, however many cells read it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._fingerprints: dict[str, str] = {}

    def of(self, config: RunConfig, source: Source, *, data: bool = True) -> str:
        """Return the hash of a run; without its ``data`` where that is not to be read.

        Raises what the dataset raises when it cannot be read.
        """
        facts = {
            "run": _spoken(config_record(config)),
            "tide": __version__,
            "components": self._versions(config),
            "data": self._fingerprint(config, source) if data else None,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _versions(self, config: RunConfig) -> list[tuple[str, str, int]]:
        named = (component for place, component in config.components() if place[0] not in SILENT_SECTIONS)
        return [(component.kind, component.name, component.version) for component in named]

    def _fingerprint(self, config: RunConfig, source: Source) -> str:
        key = json.dumps(config.data.model_dump(mode="json"), sort_keys=True)
        if key not in self._fingerprints:
            with LoadedRun(config, source).located(), blame(config.data, "in fingerprint()", self._describe):
                self._fingerprints[key] = config.data.fingerprint()
        return self._fingerprints[key]

    def _describe(self, component: Component) -> str:
        return f"{component.kind} '{component.name}' of {self._registry.origin(component)}"


def _spoken(record: Mapping[str, Any]) -> dict[str, Any]:
    spoken = {key: value for key, value in record.items() if key not in SILENT_SECTIONS}
    spoken["training"] = {key: value for key, value in spoken["training"].items() if key not in SILENT_OPTIONS}
    return spoken
