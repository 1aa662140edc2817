"""Devices by name."""

from __future__ import annotations

import torch

from tide_specs import UnavailableError


def device_named(name: str, option: str) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where there is some.

    Raises ``UnavailableError`` naming ``option`` when it is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and count == 0:
        raise UnavailableError(
            f"{option}: '{name}' was asked for, but torch sees no CUDA device here; use cpu, or install a torch with CUDA"
        )
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UnavailableError(f"{option}: '{name}' was asked for, but torch sees cuda:0 to cuda:{count - 1} only")
    return device
