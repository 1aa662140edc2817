"""Checkpoints: complete or absent, exact on resume, readable without pickle.

``checkpoints/step-000200/`` holds ``student/`` (the model in its family's own format), ``training.safetensors`` (master
weights and optimizer moments by parameter name) and ``state.json``. A checkpoint is written beside its final place and
renamed when it is complete, so that a full disk or a kill leaves the previous one untouched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from tide_core.averaging import Average
from tide_specs import CheckpointError

TRAINING = "training.safetensors"
STATE = "state.json"
PREFIX = "step-"

_GATHERED = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int
    state: Mapping[str, Any]


def newest_checkpoint(directory: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint of a run, ``None`` when there is none."""
    for path in sorted(directory.glob(f"{PREFIX}*"), reverse=True):
        if (path / STATE).is_file():
            return read_checkpoint(path)
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's state. Raises ``CheckpointError`` when a file is missing or unreadable."""
    try:
        state = json.loads((path / STATE).read_text())
        return Checkpoint(path=path, step=int(state["step"]), state=state)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path / STATE}: cannot be read ({error}); delete {path} to resume from an older one"
        ) from error


def gather_training_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Master weights and optimizer moments by name, whole, on the CPU; empty but on the main process.

    Every process of the run must call this: shards are gathered.
    """
    weights = get_model_state_dict(module, options=_GATHERED)
    moments = get_optimizer_state_dict(module, optimizer, options=_GATHERED)
    tensors = {f"weight/{name}": weights[name] for name in _own_names(module) if name in weights}
    for name, state in moments.get("state", {}).items():
        tensors.update({f"optimizer/{key}/{name}": torch.as_tensor(value) for key, value in state.items()})
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def gather_average(module: nn.Module, average: Average | None) -> dict[str, Tensor]:
    """Averages by name, whole, on the CPU, while they stand in place of the weights; empty where there is none.

    Every process of the run must call this: shards are gathered.
    """
    if average is None:
        return {}
    weights = get_model_state_dict(module, options=_GATHERED)
    return {f"average/{name}": weights[name].contiguous().clone() for name in average.names if name in weights}


def restore_average(module: nn.Module, average: Average | None, checkpoint: Checkpoint) -> None:
    """Load what ``gather_average`` saved, after the weights; a checkpoint without one begins it at the weights."""
    if average is None:
        return
    average.start()
    tensors = _load_training(checkpoint.path / TRAINING)
    saved = {name.removeprefix("average/"): value for name, value in tensors.items() if name.startswith("average/")}
    if saved:
        with average.applied():
            set_model_state_dict(module, saved, options=StateDictOptions(full_state_dict=True, strict=False))


def restore_training_state(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Load what ``gather_training_state`` saved. Raises ``CheckpointError`` naming what does not fit."""
    tensors = _load_training(checkpoint.path / TRAINING)
    weights = {name.removeprefix("weight/"): value for name, value in tensors.items() if name.startswith("weight/")}
    missing = sorted(set(_own_names(module)) ^ set(weights))
    if missing:
        raise CheckpointError(
            f"{checkpoint.path / TRAINING}: weights do not match the student: {', '.join(missing[:5])}"
        )
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_model_state_dict(module, weights, options=options)
    state: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer/"):
            _, key, parameter = name.split("/", 2)
            state.setdefault(parameter, {})[key] = value
    groups = get_optimizer_state_dict(module, optimizer, options=options)["param_groups"]
    set_optimizer_state_dict(module, optimizer, {"state": state, "param_groups": groups}, options=options)


def write_checkpoint(
    directory: Path,
    step: int,
    *,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    save_student: Callable[[str], None],
    keep: int,
) -> Path:
    """Write a checkpoint and drop all but the newest ``keep``. Only the main process calls this.

    Raises ``CheckpointError`` when the disk refuses; earlier checkpoints are then intact.
    """
    final = directory / f"{PREFIX}{step:06d}"
    partial = directory / f".partial-{step:06d}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_student(str(partial / "student"))
        save_file(dict(tensors), str(partial / TRAINING))
        _write_text(partial / STATE, json.dumps({"step": step, **state}, indent=1))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        previous = newest_checkpoint(directory)
        kept = f"the checkpoint of step {previous.step} is intact" if previous else "there is no earlier checkpoint"
        raise CheckpointError(f"{final}: cannot be written ({error}); {kept}. Free some space and resume.") from error
    for old in sorted(directory.glob(f"{PREFIX}*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _own_names(module: nn.Module) -> list[str]:
    """Names of parameters and persistent buffers, tied ones once."""
    persistent = set(module.state_dict(keep_vars=True))
    named = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, _ in named if name in persistent]


def _load_training(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(str(path))
    except Exception as error:  # safetensors raises its own exception for a truncated file
        raise CheckpointError(
            f"{path}: cannot be read ({error}); delete {path.parent} to resume from an older one"
        ) from error


def _write_text(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
