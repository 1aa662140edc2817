"""What a model is, as one hash: equal hashes mean equal scores."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from tide_specs import Denoiser


def of_denoiser(denoiser: Denoiser) -> str:
    """Return the SHA-256 over weights and buffers, the configuration, how the model is run, and its tokenizer.

    It is taken of what was loaded, so that it holds for a student in the middle of its training as well as for one that was
    read from files, and tells one directory's models apart that are loaded in different forms.
    """
    found = hashlib.sha256()
    tensors = {**dict(denoiser.module.named_parameters()), **dict(denoiser.module.named_buffers())}
    for name in sorted(tensors):
        _add_tensor(found, name, tensors[name].detach())
    facts = {
        "form": denoiser.form,
        "block_size": denoiser.block_size,
        "mask_token_id": denoiser.mask_token_id,
        "class": type(denoiser).__qualname__,
        "configuration": _configuration(denoiser.module),
        "facts": denoiser.facts(),
        "tokenizer": denoiser.tokenizer.fingerprint(),
    }
    found.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return found.hexdigest()


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_tensor(found: Any, name: str, tensor: torch.Tensor) -> None:
    found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
    flat = tensor.contiguous().view(-1).cpu()
    if flat.numel():
        found.update(flat.view(torch.uint8).numpy().data)


def _configuration(module: torch.nn.Module) -> dict[str, Any]:
    """Return the configurations of transformers inside, where there are any, without where they were read from."""
    made: dict[str, Any] = {}
    for name, part in module.named_modules():
        to_dict = getattr(getattr(part, "config", None), "to_dict", None)
        if callable(to_dict) and not any(name == other or name.startswith(f"{other}.") or not other for other in made):
            record: Any = to_dict()
            made[name] = {
                key: value for key, value in record.items() if key not in ("_name_or_path", "transformers_version")
            }
    return made
