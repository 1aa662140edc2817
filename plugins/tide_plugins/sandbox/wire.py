"""What goes between the sandbox's processes: framed JSON, and plain Python values within it.

Nothing is unpickled. What arrives is of exactly the built-in types, so that no object of the candidate's making, with a
comparison of its own, ever reaches a test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, cast

LARGEST = 1 << 24
"""Bytes of a frame; more is refused."""
CONTAINERS: tuple[tuple[str, type[Any]], ...] = (("t", tuple), ("l", list), ("s", set), ("z", frozenset))


class WireError(Exception):
    """The other side is gone, or sends what is no message."""


class Opaque:
    """Stands for a value that is no plain data; equal to nothing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def send(descriptor: int, message: Any) -> None:
    """Write one frame. Raises ``WireError`` when it is too large or nobody listens."""
    data = json.dumps(message).encode()
    if len(data) > LARGEST:
        raise WireError(f"a message of {len(data)} bytes; the most is {LARGEST}")
    view = memoryview(len(data).to_bytes(4, "big") + data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise WireError(f"the other process is gone ({error.strerror})") from None


def receive(descriptor: int) -> Any:
    """Read one frame. Raises ``WireError`` at the end of the stream and for what is no frame."""
    size = int.from_bytes(_exactly(descriptor, 4), "big")
    if size > LARGEST:
        raise WireError(f"a message of {size} bytes; the most is {LARGEST}")
    try:
        return json.loads(_exactly(descriptor, size))
    except (ValueError, RecursionError):
        raise WireError("a message that is no JSON") from None


def _exactly(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        try:
            part = os.read(descriptor, min(size, 1 << 16))
        except OSError as error:
            raise WireError(f"the other process is gone ({error.strerror})") from None
        if not part:
            raise WireError("the other process is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def encode(value: Any) -> Any:
    """Return a plain value as JSON that ``decode`` turns back; subclasses become their built-in base."""
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return {"i": hex(value)}
    if isinstance(value, float):
        return {"f": value.hex()}
    if isinstance(value, complex):
        return {"c": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, bytes | bytearray):
        return {"b": value.hex()}
    if isinstance(value, dict):
        return {"d": [[encode(key), encode(item)] for key, item in cast("dict[Any, Any]", value).items()]}
    for tag, kind in CONTAINERS:
        if isinstance(value, kind):
            return {tag: [encode(item) for item in cast("list[Any]", value)]}
    return {"o": type(value).__name__}


def decode(data: Any) -> Any:
    """Return the plain value; ``Opaque`` for what is none. Raises ``WireError``."""
    if data is None or isinstance(data, bool | str):
        return data
    try:
        ((tag, body),) = data.items()
        return DECODERS[tag](body)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, OverflowError):
        raise WireError("a value that is no plain data") from None


DECODERS: dict[str, Callable[[Any], Any]] = {
    "i": lambda body: int(body, 16),
    "f": lambda body: float.fromhex(body),
    "c": lambda body: complex(*map(float.fromhex, body)),
    "b": lambda body: bytes.fromhex(body),
    "d": lambda body: {decode(key): decode(item) for key, item in body},
    "o": lambda body: Opaque(str(body)[:80]),
    **{tag: (lambda body, kind=kind: kind(decode(item) for item in body)) for tag, kind in CONTAINERS},
}
