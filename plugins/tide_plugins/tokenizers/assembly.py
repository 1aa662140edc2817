"""Encoded examples put together from tokenised markup and contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tide_specs import EncodedExample, TokenKind

from .offsets import Ends


@dataclass(frozen=True)
class Markup:
    """Tokenised markup; ``turn_end`` is the place of its end-of-turn token, -1 when it has none."""

    ids: list[int]
    turn_end: int = -1


@dataclass(frozen=True)
class Content:
    """Tokenised content of one message: n ids, and their ends [n] in its raw bytes."""

    ids: Sequence[int]
    ends: Ends
    trainable: bool


def assemble(markup: Sequence[Markup], contents: Sequence[Content]) -> EncodedExample:
    """Join markup 0, content 0, markup 1, ... The end-of-turn token in markup i + 1 belongs to message i."""
    sizes = [len(markup[0].ids)]
    ids: list[int] = list(markup[0].ids)
    for content, after in zip(contents, markup[1:], strict=True):
        ids += content.ids
        ids += after.ids
        sizes += [len(content.ids), len(after.ids)]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    numbers = np.full(len(sizes), -1, dtype=np.int32)
    numbers[1::2] = np.arange(len(contents))
    message = np.repeat(numbers, sizes)
    kind = np.where(message >= 0, TokenKind.CONTENT, TokenKind.MARKUP).astype(np.int8)
    end = np.full(len(ids), -1, dtype=np.int32)
    trainable = np.zeros(len(ids), dtype=np.bool_)
    for number, (content, after) in enumerate(zip(contents, markup[1:], strict=True)):
        first, last = starts[2 * number + 1], starts[2 * number + 2]
        end[first:last] = content.ends
        trainable[first:last] = content.trainable
        if after.turn_end >= 0:
            at = last + after.turn_end
            kind[at], message[at], trainable[at] = TokenKind.END_OF_TURN, number, content.trainable
    return EncodedExample(
        ids=np.array(ids, dtype=np.int32), kind=kind, message=message.astype(np.int32), end=end, trainable=trainable
    )
