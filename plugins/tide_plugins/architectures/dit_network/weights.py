"""Weights in and out: safetensors under the published key names, one tensor at a time."""

# The stubs of torch and safetensors are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tide_specs import CheckpointError

from ..adapter.files import check_safetensors, weight_files

WEIGHTS = "model.safetensors"
COMPUTED = "backbone.rotary_emb.inv_freq"
"""The only key that may be missing: its values follow from the sizes."""


def read_weights(module: nn.Module, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Fill a module that was built without memory. Raises ``CheckpointError`` naming a wrong key; buffers keep their dtype."""
    files = weight_files(folder)
    for file in files:
        check_safetensors(file)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    _compare(folder, wanted, {key: shape for file in files for key, shape in _shapes(file)})
    parameters = {name for name, _ in module.named_parameters()}
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - the file is no mapping
                tensor = opened.get_tensor(key)
                kept = dtype if key in parameters else tensor.dtype
                # Copied: a tensor that maps the file would change when the file does.
                own = torch.empty(tensor.shape, dtype=kept, device=device).copy_(tensor)
                module.load_state_dict({key: own}, strict=False, assign=True)
    module.to(device)


def _shapes(file: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    with safe_open(str(file), framework="pt") as opened:
        for key in opened.keys():  # noqa: SIM118 - the file is no mapping
            yield key, tuple(opened.get_slice(key).get_shape())


def _compare(folder: Path, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    missing, left_over = sorted(wanted.keys() - found.keys() - {COMPUTED}), sorted(found.keys() - wanted.keys())
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weights are missing, first {missing[0]!r}: it is not a complete checkpoint of what "
            "config.json describes; copy or download it again"
        )
    if left_over:
        raise CheckpointError(
            f"{folder}: {len(left_over)} weights have no place in the network, first {left_over[0]!r}: config.json "
            "describes another model than the weights; copy both from one place"
        )
    for key, shape in found.items():
        if shape != wanted[key]:
            raise CheckpointError(
                f"{folder}: weight {key!r} is {list(shape)} where config.json makes it {list(wanted[key])}; weights and "
                "configuration belong to different models"
            )


def write_weights(module: nn.Module, folder: Path) -> None:
    """Write every parameter and buffer into ``model.safetensors``."""
    state: dict[str, Any] = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, str(folder / WEIGHTS), metadata={"format": "pt"})
