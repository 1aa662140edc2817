"""What can be found wrong before any weights load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tide_core.assembly import describer, refuse_unavailable, tokenizer_of
from tide_core.blame import blame
from tide_core.devices import device_named
from tide_core.registry import Registry
from tide_specs import Architecture, ConfigError, Role, TideError

from .measurement import encode
from .protocol import Protocol


def require_device(protocol: Protocol, registry: Registry) -> None:
    """Raise ``UnavailableError`` when the device is not there, or attention cannot work on it in this precision."""
    device = device_named(protocol.device, "--device")
    refuse_unavailable(registry.build("attention", protocol.attention), device, getattr(torch, protocol.dtype))


def require_model(label: str, architecture: Architecture, protocol: Protocol, registry: Registry) -> None:
    """Look at a model's files, read the prompts, and see whether the longest row fits into its positions."""
    describe = describer(registry)
    with blame(architecture, "while its files were checked", describe):
        architecture.check(trust_remote_code=protocol.trust_remote_code)
    role: Role = "teacher" if architecture.serves("teacher") is None else "student"
    with blame(architecture, "while its tokenizer was loaded", describe):
        tokenizer = tokenizer_of(architecture, role, trust_remote_code=protocol.trust_remote_code)
        prompts = encode(tokenizer, protocol, max(protocol.batch_sizes))
    _require_positions(label, architecture, max(map(len, prompts)), max(protocol.new_tokens))


def _require_positions(label: str, architecture: Architecture, prompt: int, new_tokens: int) -> None:
    limit = _sizes(architecture).get("positions")
    whole = -(-(prompt + new_tokens) // architecture.length_multiple) * architecture.length_multiple
    if isinstance(limit, int) and whole > limit:
        raise ConfigError(
            f"--new-tokens {new_tokens}: {label} knows {limit} positions, and a prompt of {prompt} tokens with {new_tokens} "
            f"new ones needs {whole}; ask for fewer, or give shorter prompts"
        )


def _sizes(architecture: Architecture) -> Mapping[str, object]:
    """What the model says of its sizes; nothing where it cannot say it without running its own code."""
    try:
        return architecture.plan()
    except TideError:
        return {}


def require_writable(path: str) -> None:
    """Raise ``ConfigError`` when a table cannot be written to ``path``; leaves no file behind."""
    file = Path(path)
    there = file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigError(f"--csv {path}: cannot be written: {error.strerror or error}") from None
    if not there:
        file.unlink()


def distinct_labels(paths: Sequence[str]) -> list[str]:
    """Return what each checkpoint is called: its path, with a number where it is listed again."""
    return [
        path if path not in paths[:place] else f"{path} ({paths[: place + 1].count(path)})"
        for place, path in enumerate(paths)
    ]
