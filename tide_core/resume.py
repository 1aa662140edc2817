"""Whether the run that a directory holds may be continued: the same file, the same data, the same effective batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tide_core.checkpoints import Checkpoint, newest_checkpoint
from tide_core.config import differences
from tide_specs import ConfigError

HARMLESS_SECTIONS = frozenset({"observers", "output", "allow", "evaluation"})
HARMLESS_FIELDS = frozenset(
    f"training.{name}" for name in ("log_every", "checkpoint_every", "keep_checkpoints", "workers", "device")
)
"""What may change between two parts of a run without changing what it computes."""

REMEDY = "Undo the change, choose another output:, or resume all the same with --allow-changes."


def find_checkpoint(
    directory: Path, record: Mapping[str, Any], *, resume: bool, allow_changes: bool
) -> Checkpoint | None:
    """Return the checkpoint to go on from, ``None`` when there is none.

    Raises ``ConfigError`` when there is one and ``resume`` is off, or when it belongs to another configuration.
    """
    checkpoint = newest_checkpoint(directory / "checkpoints")
    if checkpoint is None:
        return None
    if not resume:
        raise ConfigError(
            f"{directory} already holds a run (checkpoint of step {checkpoint.step}); resume it, delete it, or choose "
            "another place with output: or --set output=DIR"
        )
    found = differences(checkpoint.state["config"], record)
    _refuse([str(difference) for difference in found if not _harmless(difference.field)], checkpoint, allow_changes)
    return checkpoint


def require_same_work(checkpoint: Checkpoint, state: Mapping[str, Any], *, allow_changes: bool) -> None:
    """Raise ``ConfigError`` when the data or the effective batch is not what the checkpoint was trained with."""
    old, new = checkpoint.state, state
    changed: list[str] = []
    if old["facts"]["data"] != new["facts"]["data"]:
        changed.append(f"the training data: hash {old['facts']['data']} -> {new['facts']['data']}")
    if old["effective_batch_size"] != new["effective_batch_size"]:
        changed.append(
            f"rows of an optimizer step over all processes: {old['effective_batch_size']} -> "
            f"{new['effective_batch_size']}; adapt training.accumulate to the number of processes"
        )
    if "noise_draws" in old and old["noise_draws"] != new["noise_draws"]:
        changed.append(f"noisings of each example: {old['noise_draws']} -> {new['noise_draws']}")
    _refuse(changed, checkpoint, allow_changes)


def _refuse(changed: list[str], checkpoint: Checkpoint, allow_changes: bool) -> None:
    if changed and not allow_changes:
        directory = checkpoint.path.parent.parent
        listed = "\n  ".join(changed)
        raise ConfigError(
            f"{directory} holds a run with another configuration (checkpoint of step {checkpoint.step}):\n  {listed}\n{REMEDY}"
        )


def _harmless(path: str) -> bool:
    return path.split("[")[0].split(".")[0] in HARMLESS_SECTIONS or path in HARMLESS_FIELDS
