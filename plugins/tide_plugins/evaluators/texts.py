"""Which tokens of which texts are scored: the same bytes for every tokenizer.

Shapes: n tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tide_specs import EncodedExample, Example, Message, TextTokenizer, TokenKind


@dataclass(frozen=True, kw_only=True)
class Text:
    """One content to score, given what comes before it.

    example: index of the held-out example; message: number of the message; ids [n] int64: prompt, content and, when the
    message is closed, the tokens up to its end-of-turn token; first, last: the content is ``ids[first:last]``; bytes:
    UTF-8 bytes of the content.
    """

    example: int
    message: int
    ids: NDArray[np.int64]
    first: int
    last: int
    bytes: int


def cut(example: Example, limit: int) -> Example:
    """Return the example cut after ``limit`` UTF-8 bytes of contents, between characters."""
    kept: list[Message] = []
    for message in example.messages:
        content = message.content.encode()[:limit].decode(errors="ignore")
        kept.append(replace(message, content=content))
        limit -= len(message.content.encode())
        if limit <= 0:
            break
    return replace(example, messages=kept)


def is_scorable(example: Example) -> bool:
    """Whether anything of the example is to be scored."""
    return any(message.trainable and message.content for message in example.messages)


def texts_of(
    number: int, example: Example, encoded: EncodedExample, tokenizer: TextTokenizer, *, lossless: bool
) -> list[Text] | None:
    """Return one text per trainable message; ``None`` when the tokens of any of them do not tile its bytes."""
    pieces: Sequence[bytes | None] = tokenizer.token_bytes() if lossless else ()
    texts: list[Text] = []
    for position, message in enumerate(example.messages):
        if not message.trainable or not message.content:
            continue
        own = np.flatnonzero((encoded.message == position) & (encoded.kind == TokenKind.CONTENT))
        if not _tiles(own, encoded, len(message.content.encode())):
            return None
        if lossless and not _reproduces(encoded.ids[own].tolist(), message.content, tokenizer, pieces):
            return None
        texts.append(text_at(number, position, own, encoded, len(message.content.encode())))
    return texts


def _tiles(own: NDArray[np.intp], encoded: EncodedExample, size: int) -> bool:
    """Whether content tokens are contiguous, all trainable, and their ends rise to the content's size."""
    if own.size == 0 or own[-1] - own[0] + 1 != own.size or not encoded.trainable[own].all():
        return False
    ends = encoded.end[own]
    bounds = ends[ends >= 0]
    return bounds.size > 0 and int(bounds[-1]) == size and bool((np.diff(bounds) > 0).all())


def _reproduces(ids: Sequence[int], content: str, tokenizer: TextTokenizer, pieces: Sequence[bytes | None]) -> bool:
    """Whether the tokens spell the content exactly; a first token may carry the space that the template puts before it."""
    spelled = [pieces[i] for i in ids]
    if None not in spelled:
        joined = b"".join(piece or b"" for piece in spelled)
        if content.encode() in (joined, joined.removeprefix(b" ")):
            return True
    decoded = tokenizer.decode(ids)
    return content in (decoded, decoded.removeprefix(" "))


def text_at(number: int, message: int, own: NDArray[np.intp], encoded: EncodedExample, size: int) -> Text:
    """Return the text whose content are the tokens ``own`` [n], with what comes before it and its end of turn."""
    first, last = int(own[0]), int(own[-1]) + 1
    closing = np.flatnonzero((encoded.message == message) & (encoded.kind == TokenKind.END_OF_TURN))
    stop = int(closing[0]) + 1 if closing.size and closing[0] >= last else last
    ids = encoded.ids[:stop].astype(np.int64)
    return Text(example=number, message=message, ids=ids, first=first, last=last, bytes=size)
