"""Checks of a model directory before anything reads it: what is missing, truncated or in a wrong form is named."""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from tide_specs import CheckpointError, UnavailableError

from ..families import FAMILIES, Family

_INDEX = "model.safetensors.index.json"
_READABLE = frozenset({"F64", "F32", "F16", "BF16"})
"""Dtypes, in the words of safetensors, whose values are the weights themselves."""


def check_source(
    source: str,
    *,
    trust_remote_code: bool,
    recognised: bool = False,
    families: Sequence[Family] = FAMILIES,
) -> None:
    """Raise ``CheckpointError`` when a local model is incomplete, ``UnavailableError`` when it needs its own code.

    A model ``recognised`` as one of a family that TIDE reads by itself needs none. A name that is neither a directory nor a
    path is left to the hub.
    """
    refuse_missing(source)
    path = Path(source)
    if not path.is_dir():
        return
    config = _read_json(path / "config.json")
    if not recognised and not ("auto_map" in config and trust_remote_code):
        _refuse_unknown_type(source, config, families)
    converted = not recognised and "quantization_config" in config
    for file in weight_files(path):
        header = check_safetensors(file)
        if not converted:
            _refuse_quantized(file, header)


def fetch_config(source: str) -> None:
    """Bring the ``config.json`` of a hub name onto this disk, so that its family can be recognised; failing is no error.

    Whoever loads the model next says what is wrong with the name.
    """
    path = Path(source)
    if path.exists() or source.count("/") != 1 or source[0] in "./" or source.endswith(".gguf"):
        return
    from transformers.utils.hub import cached_file

    with contextlib.suppress(OSError, ValueError):
        cached_file(source, "config.json")


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


def _refuse_unknown_type(source: str, config: dict[str, Any], families: Sequence[Family]) -> None:
    from transformers import CONFIG_MAPPING, __version__

    model_type = config.get("model_type")
    if model_type in CONFIG_MAPPING:
        return
    near = _nearest(config, families, list(CONFIG_MAPPING))
    if "auto_map" in config:
        raise UnavailableError(
            f"{source}: model_type {model_type!r} is not part of transformers{near}; the directory brings Python code of its "
            "own, which runs only with `trust_remote_code: true`. Read that code before you allow it"
        )
    raise CheckpointError(
        f"{Path(source) / 'config.json'}: transformers {__version__} knows no model_type {model_type!r}{near}; correct it, or "
        "update transformers"
    )


def _nearest(config: dict[str, Any], families: Sequence[Family], model_types: Sequence[str]) -> str:
    """Return `` (near it: ...)``: families and model types whose names resemble what the configuration says."""
    from ..families.family import published_classes

    model_type = str(config.get("model_type") or "")
    said = [model_type, *sorted(published_classes(config))]
    names = {
        _stem(name): family.title
        for family in families
        for name in (family.name, *family.model_types, *family.class_names)
    }
    close = [names[name] for text in said for name in get_close_matches(_stem(text), names, 2, 0.8)]
    close += [repr(name) for name in get_close_matches(model_type, model_types, 2, 0.75)]
    return f" (near it: {', '.join(dict.fromkeys(close))})" if close else ""


def _stem(name: str) -> str:
    """``DreamModel`` -> ``dream``: endings that all class names share say nothing."""
    return re.sub(r"(Model|For\w+|Model\w+)$", "", name).lower()


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


def check_safetensors(path: Path) -> dict[str, Any]:
    """Return the file's tensors: name -> ``dtype``, ``shape``, ``data_offsets``. Reads the header only.

    Raises ``CheckpointError`` when the file is shorter than its own header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = file.read(length) if length <= size - 8 else b""
    try:
        tensors: dict[str, Any] = json.loads(header)
        tensors.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: truncated or not a safetensors file; copy or download it again") from error
    if size != 8 + length + end:
        raise CheckpointError(f"{path}: {size} bytes, but its header promises {8 + length + end}; copy it again")
    return tensors


def _refuse_quantized(path: Path, header: Mapping[str, Any]) -> None:
    """Integers and float8 mean something together with scales only, which nobody applies here."""
    for name, entry in header.items():
        if name.endswith(".weight") and entry.get("dtype") not in _READABLE:
            raise CheckpointError(
                f"{path}: weight {name!r} is stored as {entry.get('dtype')}, a quantized form that is not converted; give the "
                "checkpoint in bfloat16, float16 or float32 (a teacher can be quantized at load: `quantization: 4bit`)"
            )
