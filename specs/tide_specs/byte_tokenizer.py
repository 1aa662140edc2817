"""A tokenizer over UTF-8 bytes that needs no files: for models of one's own, for tutorials and for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DataError
from .text import EncodedExample, Example, Message, TextTokenizer, TokenKind

FILE = "byte_tokenizer.json"
SPECIAL = ("start", "header", "end_of_turn", "pad", "mask")


class ByteTokenizer(TextTokenizer):
    """One token per byte, or per listed piece of several bytes (the longest that fits, from left to right).

    Ids: 256 bytes, then ``pieces``, then the special tokens start, header, end of turn, pad and mask. A conversation is
    rendered as ``start (header role content end_of_turn)*``, the role spelt in bytes unless ``short_headers``; a plain
    text as ``start content* end_of_turn``.

    Args:
        pieces: pieces of at least two bytes.
        short_headers: leave out the role after each header.
        vocabulary_size: pad the vocabulary with unused ids up to this size.
    """

    def __init__(
        self, pieces: Sequence[bytes] = (), *, short_headers: bool = False, vocabulary_size: int | None = None
    ) -> None:
        self.pieces = tuple(pieces)
        if any(len(piece) < 2 for piece in self.pieces) or len(set(self.pieces)) != len(self.pieces):
            raise DataError("pieces must be different from each other and at least two bytes long")
        self.short_headers = short_headers
        first = 256 + len(self.pieces)
        self.special = {name: first + rank for rank, name in enumerate(SPECIAL)}
        least = first + len(SPECIAL)
        self.vocabulary_size = least if vocabulary_size is None else vocabulary_size
        if self.vocabulary_size < least:
            raise DataError(f"vocabulary_size must be at least {least}, the number of ids in use")
        self.mask_token_id = self.special["mask"]
        self.pad_token_id = self.special["pad"]
        self.end_of_turn_token_id = self.special["end_of_turn"]
        self._ids = {piece: 256 + rank for rank, piece in enumerate(self.pieces)}
        self._longest = max(map(len, self.pieces), default=1)

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Render and encode examples."""
        return [self._encode(example) for example in examples]

    def _encode(self, example: Example) -> EncodedExample:
        rows = _Rows()
        rows.add(self.special["start"], TokenKind.MARKUP)
        last = len(example.messages) - 1
        for number, message in enumerate(example.messages):
            if not example.is_text:
                for token in self._header(message):
                    rows.add(token, TokenKind.MARKUP)
            for token, end in self._split(message.content.encode()):
                rows.add(token, TokenKind.CONTENT, number, end, message.trainable)
            if not example.is_text or number == last:
                rows.add(self.end_of_turn_token_id, TokenKind.END_OF_TURN, number, -1, message.trainable)
        return rows.encoded()

    def _header(self, message: Message) -> list[int]:
        spelt = [] if self.short_headers else [token for token, _ in self._split(message.role.encode())]
        return [self.special["header"], *spelt]

    def _split(self, text: bytes) -> list[tuple[int, int]]:
        """Ids and ends; an end that cuts a character is -1."""
        found: list[tuple[int, int]] = []
        at = 0
        while at < len(text):
            token, size = self._next(text, at)
            at += size
            cuts = at < len(text) and 0x80 <= text[at] < 0xC0
            found.append((token, -1 if cuts else at))
        return found

    def _next(self, text: bytes, at: int) -> tuple[int, int]:
        """Id and size of the longest piece at a place."""
        for size in range(min(self._longest, len(text) - at), 1, -1):
            token = self._ids.get(text[at : at + size])
            if token is not None:
                return token, size
        return text[at], 1

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids before the assistant's answer, or before the continuation of a text."""
        encoded = self._encode(Example(key="", messages=messages))
        if all(message.role == "text" for message in messages):
            return [int(token) for token in encoded.ids[: -1 if messages else None]]
        return [*map(int, encoded.ids), *self._header(Message(role="assistant", content=""))]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out; broken characters are replaced."""
        table = self.token_bytes()
        return b"".join(table[token] or b"" for token in ids).decode(errors="replace")

    def token_bytes(self) -> Sequence[bytes | None]:
        """Return the bytes of every id; ``None`` for special and unused ones."""
        known: list[bytes | None] = [bytes([byte]) for byte in range(256)]
        known.extend(self.pieces)
        return known + [None] * (self.vocabulary_size - len(known))

    def fingerprint(self) -> str:
        """Return a hash over everything that determines the ids."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    def save(self, path: str) -> None:
        """Write ``byte_tokenizer.json`` into the directory ``path``."""
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / FILE).write_text(json.dumps(self._facts()), encoding="utf-8")

    @classmethod
    def from_path(cls, path: str) -> ByteTokenizer:
        """Read what ``save`` wrote; raise ``DataError`` when it is not there."""
        try:
            facts = json.loads((Path(path) / FILE).read_text(encoding="utf-8"))
            pieces = [bytes.fromhex(piece) for piece in facts.pop("pieces")]
            return cls(pieces, **facts)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"cannot read {FILE} in {path!r}: {error}; give a directory that TIDE saved") from error

    def describe(self) -> Mapping[str, str]:
        """Return the algorithm and the vocabulary's size."""
        return {"algorithm": "bytes", "normaliser": "none", "vocabulary": str(self.vocabulary_size)}

    def _facts(self) -> dict[str, object]:
        return {
            "pieces": [piece.hex() for piece in self.pieces],
            "short_headers": self.short_headers,
            "vocabulary_size": self.vocabulary_size,
        }


@dataclass
class _Rows:
    """The columns of an encoded example while it grows."""

    ids: list[int] = field(default_factory=lambda: [])
    kind: list[int] = field(default_factory=lambda: [])
    message: list[int] = field(default_factory=lambda: [])
    end: list[int] = field(default_factory=lambda: [])
    trainable: list[bool] = field(default_factory=lambda: [])

    def add(self, token: int, kind: TokenKind, message: int = -1, end: int = -1, trainable: bool = False) -> None:
        """Append one token."""
        self.ids.append(token)
        self.kind.append(int(kind))
        self.message.append(message)
        self.end.append(end)
        self.trainable.append(trainable)

    def encoded(self) -> EncodedExample:
        """Return the columns as arrays."""
        import numpy as np

        return EncodedExample(
            ids=np.array(self.ids, dtype=np.int32),
            kind=np.array(self.kind, dtype=np.int8),
            message=np.array(self.message, dtype=np.int32),
            end=np.array(self.end, dtype=np.int32),
            trainable=np.array(self.trainable, dtype=np.bool_),
        )
