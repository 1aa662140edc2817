"""The weights that a published checkpoint must hold, held against the headers of its files before anything is loaded.

The library reports a wrong weight under the native name, an incomplete set of experts without a name, and misnumbered
experts, whose count is right, not at all.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from tide_specs import CheckpointError

from .files import check_safetensors, weight_files

Shapes = dict[str, tuple[int, ...]]


def check_names(source: str, kind: Any, config: Any, title: str) -> None:
    """Raise ``CheckpointError`` naming a weight that is missing, has another shape or is left over, as published.

    Nothing for a checkpoint whose files are not in a local directory, nor where the names are the native ones.
    """
    if not Path(source).is_dir():
        return
    with torch.device("meta"):
        model = kind._from_config(deepcopy(config), attn_implementation="eager")
    expected, optional = _expected(model)
    if expected.keys() == model.state_dict().keys():
        return
    headers = [check_safetensors(file) for file in weight_files(Path(source))]
    found: Shapes = {name: tuple(entry["shape"]) for header in headers for name, entry in header.items()}
    _compare(source, title, expected, found, optional)


def _expected(model: Any) -> tuple[Shapes, set[str]]:
    """Return the published shapes by name, and the names of tied weights, which may be left out."""
    from transformers.core_model_loading import revert_weight_conversion

    native: dict[str, Any] = model.state_dict()
    tied: dict[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    whole: dict[str, Any] = revert_weight_conversion(model, native)
    untied = revert_weight_conversion(model, {name: each for name, each in native.items() if name not in tied})
    return {name: tuple(each.shape) for name, each in whole.items()}, whole.keys() - untied.keys()


def _compare(source: str, title: str, expected: Shapes, found: Shapes, optional: set[str]) -> None:
    missing = [name for name in expected if name not in found and name not in optional]
    if missing:
        raise CheckpointError(
            f"{source}: {len(missing)} weights are missing, first {missing[0]!r}: it is not a complete {title}"
        )
    for name, shape in expected.items():
        if found.get(name, shape) != shape:
            raise CheckpointError(
                f"{source}: weight {name!r} is {list(found[name])} where config.json makes it {list(shape)} ({title}); "
                "weights and configuration belong to different models"
            )
    left_over = [name for name in found if name not in expected]
    if left_over:
        raise CheckpointError(
            f"{source}: {len(left_over)} weights have no place in a {title}, first {left_over[0]!r}: config.json describes "
            "another model than the weights"
        )
