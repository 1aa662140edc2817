"""Comparing tensors in checks."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .outcome import expect


def expect_close(actual: Tensor, expected: Tensor, message: str, *, rtol: float, atol: float) -> None:
    """Raise ``CheckFailed`` with ``message``, completed by the worst difference, unless the tensors agree."""
    same = actual.shape == expected.shape
    expect(same, f"{message} (shape {tuple(actual.shape)} instead of {tuple(expected.shape)})")
    if not actual.numel():
        return
    actual, expected = actual.detach(), expected.detach()
    error = (actual.double() - expected.double()).abs() - rtol * expected.double().abs()
    worst = int(error.nan_to_num(nan=float("inf"), posinf=float("inf")).argmax())
    found, wanted = (side.flatten()[worst].item() for side in (actual, expected))
    expect(float(error.flatten()[worst]) <= atol, f"{message} ({found:.6g} instead of {wanted:.6g})")


def listed(tensor: Tensor) -> list[Any]:
    """Return the elements of a vector."""
    as_any: Any = tensor
    return as_any.tolist()
