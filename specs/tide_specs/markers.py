"""The pluggy project that plugins and core share."""

from __future__ import annotations

import pluggy

PROJECT = "tide"
"""Name of the pluggy project and of the entry point group."""

CONTRACT_VERSION = "1.0"
"""Version of the contract in ``tide_specs``: MAJOR changes break plugins, MINOR ones only add.

A plugin module may state ``tide_contract = "1.0"``, the version that it was written against.
"""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
