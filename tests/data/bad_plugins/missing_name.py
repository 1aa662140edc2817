"""A plugin that imports what another contract had."""

from __future__ import annotations

from tide_specs import Distiller  # type: ignore[attr-defined]

print(Distiller)
