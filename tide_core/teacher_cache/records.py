"""One record: what the teacher answered for one sample under one noising, as bytes.

M answered tokens, k tokens of a distribution. Little-endian, nothing padded::

    crc32 u32 | draw u32 | M u32 | k u32 | sample i64 | mask 8 bytes      the checksum covers all that follows it
    likelihood f32 [M] | where k > 0: rest f32 [M], log_p f32 [M, k], ids i32 [M, k]
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tide_specs import DataError

HEADER = struct.Struct("<IIIIq8s")
_CHECKED = 4  # bytes of the checksum itself
_LIMIT = 2**32 - 1

Floats = NDArray[np.float32]


class Record(NamedTuple):
    """A sample's answers. Read from a cache, the arrays are read-only views of the file.

    mask: ``mask_digest`` of the noising that the teacher saw. likelihood [M] float32: log p(target) in nats. Of
    distributions: ids [M, k] int32 and log_p [M, k] float32, the most likely tokens, and rest [M] float32, the
    probability of all others.
    """

    sample: int
    mask: bytes
    likelihood: Floats
    ids: NDArray[np.int32] | None = None
    log_p: Floats | None = None
    rest: Floats | None = None


def mask_digest(*arrays: NDArray[Any]) -> bytes:
    """Return 8 bytes that tell a noising from another: give whatever describes it, e.g. positions and target ids."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def size_of(count: int, k: int) -> int:
    """Return the bytes of a record of ``count`` tokens."""
    return HEADER.size + 4 * count * (1 if k == 0 else 2 + 2 * k)


def encode(draw: int, record: Record, k: int) -> bytes:
    """Return a record's bytes. Raises ``ValueError`` for other shapes than ``k`` asks for, ``DataError`` for NaN."""
    count = len(record.likelihood)
    if len(record.mask) != 8:
        raise ValueError(f"a mask digest has 8 bytes, not {len(record.mask)}")
    if (size := size_of(count, k)) > _LIMIT:
        raise ValueError(f"a record of {size} bytes is too large")
    parts = [_values(record, "likelihood", "<f4", (count,))]
    if k:
        parts += [_values(record, "rest", "<f4", (count,)), _values(record, "log_p", "<f4", (count, k))]
        parts += [_values(record, "ids", "<i4", (count, k))]
    elif record.ids is not None or record.log_p is not None or record.rest is not None:
        raise ValueError("a cache of likelihoods takes no distributions")
    body = HEADER.pack(0, draw, count, k, record.sample, record.mask)[_CHECKED:] + b"".join(parts)
    return zlib.crc32(body).to_bytes(_CHECKED, "little") + body


def _values(record: Record, name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    given = getattr(record, name)
    if given is None or np.shape(given) != shape:
        raise ValueError(f"{name}: the shape is {None if given is None else np.shape(given)}, expected {shape}")
    if not np.can_cast(given.dtype, dtype, "same_kind") or (dtype == "<f4" and given.dtype.kind != "f"):
        raise ValueError(f"{name}: {given.dtype} cannot be kept as {np.dtype(dtype)}")
    array = np.ascontiguousarray(given, dtype)
    if dtype == "<f4" and np.isnan(array).any():
        raise DataError(f"sample {record.sample}: the teacher's answer is not a number ({name}); try another precision")
    return array.tobytes()


def decode(buffer: memoryview, k: int) -> tuple[int, Record] | None:
    """Return draw and record of bytes that ``encode`` made, ``None`` when they are damaged or hold another ``k``."""
    if len(buffer) < HEADER.size:
        return None
    checksum, draw, count, width, sample, mask = HEADER.unpack_from(buffer)
    if width != k or size_of(count, width) != len(buffer) or zlib.crc32(buffer[_CHECKED:]) != checksum:
        return None
    at = HEADER.size
    likelihood = np.frombuffer(buffer, "<f4", count, at)
    if k == 0:
        return draw, Record(sample, mask, likelihood)
    rest = np.frombuffer(buffer, "<f4", count, at := at + 4 * count)
    log_p = np.frombuffer(buffer, "<f4", count * k, at := at + 4 * count).reshape(count, k)
    ids = np.frombuffer(buffer, "<i4", count * k, at + 4 * count * k).reshape(count, k)
    return draw, Record(sample, mask, likelihood, ids, log_p, rest)


def length_at(buffer: memoryview, k: int) -> int | None:
    """Return the bytes that the record at the start of ``buffer`` claims to have, ``None`` when there is no header."""
    if len(buffer) < HEADER.size:
        return None
    _, _, count, width, _, _ = HEADER.unpack_from(buffer)
    return size_of(count, width) if width == k else None
