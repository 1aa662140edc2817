"""Checks of a model directory before anything reads it: what is missing or truncated is named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, cast

from tide_specs import CheckpointError, UnavailableError

_INDEX = "model.safetensors.index.json"


def check_source(source: str, *, trust_remote_code: bool, recognised: bool = False) -> None:
    """Raise ``CheckpointError`` when a local model is incomplete, ``UnavailableError`` when it needs its own code.

    A model ``recognised`` as one of a family that TIDE reads by itself needs none. A name that is neither a directory nor a path is left to the hub.
    """
    refuse_missing(source)
    path = Path(source)
    if not path.is_dir():
        return
    config = _read_json(path / "config.json")
    if not recognised and not ("auto_map" in config and trust_remote_code):
        _refuse_unknown_type(source, config)
    for file in weight_files(path):
        check_safetensors(file)


def refuse_missing(source: str) -> None:
    """Raise ``CheckpointError`` when ``source`` can only be a path, and nothing is there."""
    path = Path(source)
    if source.startswith("package:") or path.is_dir():
        return
    if source.endswith(".gguf"):
        if not path.is_file():
            raise CheckpointError(f"{source}: no such file")
    elif path.exists():
        raise CheckpointError(f"{source}: is a file; name a directory, a hub name, or a .gguf file")
    elif path.is_absolute() or source.startswith(".") or source.count("/") > 1:
        raise CheckpointError(f"{source}: no such directory; name one that holds a model or a tokenizer, or a hub name")


def _refuse_unknown_type(source: str, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING, __version__

    model_type = config.get("model_type")
    if model_type in CONFIG_MAPPING:
        return
    if "auto_map" in config:
        raise UnavailableError(
            f"{source}: model_type {model_type!r} is not part of transformers; the directory brings Python code of its "
            "own, which runs only with `trust_remote_code: true`. Read that code before you allow it"
        )
    raise CheckpointError(
        f"{Path(source) / 'config.json'}: transformers {__version__} knows no model_type {model_type!r}; correct it, or "
        "update transformers"
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; a model directory needs config.json and *.safetensors")
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); copy or download it again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: not a JSON object; copy or download it again")
    return cast("dict[str, Any]", found)


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model directory. Raises ``CheckpointError`` naming what is missing."""
    if (folder / _INDEX).is_file():
        shards = sorted(set(_read_json(folder / _INDEX).get("weight_map", {}).values()))
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(f"{folder / missing[0]}: missing; {_INDEX} lists {len(shards)} files")
        return [folder / name for name in shards]
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        reason = f"{pickled[0].name} is a pickle, which TIDE never loads: convert it to safetensors" if pickled else ""
        reason = reason or "a model directory needs config.json and *.safetensors"
        raise CheckpointError(f"{folder / 'model.safetensors'}: missing; {reason}")
    return files


def check_safetensors(path: Path) -> None:
    """Raise ``CheckpointError`` when the file is shorter than its own header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = file.read(length) if length <= size - 8 else b""
    try:
        tensors = json.loads(header)
        end = max((entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file; copy or download it again") from error
    if size != 8 + length + end:
        raise CheckpointError(f"{path}: {size} bytes, but its header promises {8 + length + end}; copy it again")
