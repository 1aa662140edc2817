"""Splits by hash: an item's split depends on its content alone, never on its place or on what stands beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from tide_specs import Split


def split_of(identity: bytes | str, evaluation_fraction: float) -> Split:
    """Return the split of an item; equal items always share one."""
    data = identity.encode() if isinstance(identity, str) else identity
    number = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    return "evaluation" if number < evaluation_fraction * 2.0**64 else "train"


def fingerprint_of(facts: Mapping[str, object]) -> str:
    """Return a hash of plain facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
