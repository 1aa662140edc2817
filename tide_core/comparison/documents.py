"""Whether runs were evaluated on the same held-out documents: there is nothing to compare where they were not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tide_core.blame import blame
from tide_core.run_schema import RunConfig
from tide_specs import ConfigError, TideError

from .runs import FoundRun


def require_same_documents(runs: Sequence[FoundRun]) -> None:
    """Raise ``ConfigError`` naming the run whose held-out documents are not those of the first one.

    Runs whose prepared data had the same fingerprint need no second look; of others the documents are read again.
    """
    first = runs[0]
    for other in runs[1:]:
        if same_rows(first, other):
            continue
        ours, theirs = documents(first), documents(other)
        if ours != theirs:
            both = len(set(ours) & set(theirs))
            order = ", in another order" if sorted(ours) == sorted(theirs) else ""
            raise ConfigError(
                f"{other.label}: was evaluated on other held-out data than {first.label}: {len(theirs)} documents against "
                f"{len(ours)}, {both} of them the same{order}; evaluate both on the same ones, e.g. with the same data: in their run files"
            )


def same_rows(one: FoundRun, other: FoundRun) -> bool:
    """Whether two runs had the same documents in the same tokens, and so the same rows."""
    ours, theirs = (run.last.facts.get("evaluation_data") for run in (one, other))
    return ours is not None and ours == theirs


def documents(run: FoundRun) -> list[str]:
    """Return a hash of each held-out document, in order. Raises ``ConfigError`` when they cannot be read any more."""
    try:
        return _hashes(run.config)
    except TideError as error:
        raise ConfigError(
            f"{run.label}: its held-out data cannot be read, so that nobody knows them to be the same: {error}"
        ) from error


def _hashes(config: RunConfig) -> list[str]:
    found: list[str] = []
    with blame(config.data, "while its evaluation examples were read"):
        for example in config.data.examples("evaluation"):
            parts = [[message.role, message.content, message.trainable] for message in example.messages]
            found.append(hashlib.sha256(json.dumps(parts).encode()).hexdigest())
    return found
