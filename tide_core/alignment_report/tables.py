"""Texts, encoded by both sides and aligned, as flat tables.

Shapes: M messages of all documents; N content tokens of one side; C chunks that hold text. Tokens and chunks are in text order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tide_specs import AlignedPair, Alignment, EncodedExample, TextTokenizer, TokenKind

from .fidelity import Fidelity, fidelity
from .texts import Document, batches

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TokenTable:
    """ids, message, end (byte of the message, -1: bounds nothing) and chunk (-1: none) of each token [N]."""

    ids: Ints
    message: Ints
    end: Ints
    chunk: Ints

    def per_chunk(self, count: int) -> Ints:
        """Number of tokens in each chunk [C]."""
        return np.bincount(self.chunk[self.chunk >= 0], minlength=count).astype(np.int64)

    def first_ends(self, count: int) -> Ints:
        """Where the first token of each chunk that bounds something ends [C]."""
        found = np.full(count, np.iinfo(np.int64).max)
        bounds = (self.chunk >= 0) & (self.end >= 0)
        np.minimum.at(found, self.chunk[bounds], self.end[bounds])
        return found


@dataclass(frozen=True, kw_only=True)
class ChunkTable:
    """message, start and end (bytes of the message) and relation of each chunk [C]; fidelity of each side [C]."""

    message: Ints
    start: Ints
    end: Ints
    relation: Ints
    student_fidelity: Ints
    teacher_fidelity: Ints

    @property
    def bytes(self) -> Ints:
        """UTF-8 bytes of each chunk [C]."""
        return self.end - self.start

    @property
    def excluded(self) -> NDArray[np.bool_]:
        """Chunks whose text one of the sides lost [C]."""
        return np.maximum(self.student_fidelity, self.teacher_fidelity) == Fidelity.LOST


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Everything that figures are counted from. raw and domains: text and domain of each message, M of them."""

    raw: Sequence[bytes]
    domains: Sequence[str]
    student: TokenTable
    teacher: TokenTable
    chunks: ChunkTable


def tabulate(
    documents: Sequence[Document],
    student: TextTokenizer,
    teacher: TextTokenizer,
    alignment: Alignment,
    progress: Progress | None = None,
) -> Tables:
    """Encode, align and check every document. Raises what the tokenizers and the alignment raise."""
    parts = _Parts()
    for group in batches(documents):
        examples = [document.example for document in group]
        ours, theirs = student.encode(examples), teacher.encode(examples)
        pairs = alignment.align_batch(ours, theirs)
        for document, own, other, pair in zip(group, ours, theirs, pairs, strict=True):
            parts.add(document, own, other, pair)
        if progress is not None:
            progress(len(parts.raw), len(documents))
    return parts.tables(student.token_bytes(), teacher.token_bytes())


@dataclass
class _Parts:
    """What has been encoded so far. Token parts: (ids, message, end, chunk) of each document."""

    raw: list[bytes] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    student: list[tuple[Any, ...]] = field(default_factory=list)
    teacher: list[tuple[Any, ...]] = field(default_factory=list)
    sizes: list[Any] = field(default_factory=list)
    relations: list[Any] = field(default_factory=list)
    chunks: int = 0

    def add(self, document: Document, ours: EncodedExample, theirs: EncodedExample, pair: AlignedPair) -> None:
        kept = pair.bytes > 0  # the chunks of the ends of turns hold no text
        numbers = np.append(np.where(kept, self.chunks + np.cumsum(kept) - 1, -1), -1)
        self.student.append(_content(ours, numbers[pair.student], len(self.raw)))
        self.teacher.append(_content(theirs, numbers[pair.teacher], len(self.raw)))
        self.sizes.append(pair.bytes[kept])
        self.relations.append(pair.relation[kept])
        self.chunks += int(kept.sum())
        self.raw += [message.content.encode() for message in document.example.messages]
        self.domains += document.domains

    def tables(self, student_pieces: Sequence[bytes | None], teacher_pieces: Sequence[bytes | None]) -> Tables:
        student, teacher = _table(self.student), _table(self.teacher)
        ends, messages = np.zeros(self.chunks, np.int64), np.zeros(self.chunks, np.int64)
        inside = student.chunk >= 0
        np.maximum.at(ends, student.chunk[inside], student.end[inside])
        messages[student.chunk[inside]] = student.message[inside]
        spans = messages, ends - _joined(self.sizes), ends
        chunks = ChunkTable(
            message=messages,
            start=spans[1],
            end=ends,
            relation=_joined(self.relations),
            student_fidelity=_fidelity(student, student_pieces, self.raw, spans),
            teacher_fidelity=_fidelity(teacher, teacher_pieces, self.raw, spans),
        )
        return Tables(raw=self.raw, domains=self.domains, student=student, teacher=teacher, chunks=chunks)


def _content(side: EncodedExample, chunk: Any, messages: int) -> tuple[Any, ...]:
    at = np.flatnonzero((side.kind == TokenKind.CONTENT) & (side.message >= 0))
    return side.ids[at], side.message[at] + messages, side.end[at], chunk[at]


def _joined(parts: Sequence[Any]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def _table(parts: Sequence[tuple[Any, ...]]) -> TokenTable:
    ids, message, end, chunk = (_joined([part[column] for part in parts]) for column in range(4))
    return TokenTable(ids=ids, message=message, end=end, chunk=chunk)


def _fidelity(
    side: TokenTable, pieces: Sequence[bytes | None], raw: Sequence[bytes], spans: tuple[Ints, Ints, Ints]
) -> Ints:
    """Fidelity of each chunk [C]. spans: message, start and end of each."""
    inside = side.chunk >= 0
    ids, chunk = side.ids[inside].tolist(), side.chunk[inside]
    cuts = np.searchsorted(chunk, np.arange(len(spans[0]) + 1)).tolist()
    found = [
        fidelity(raw[message][start:end], [pieces[i] for i in ids[cuts[number] : cuts[number + 1]]], opening=start == 0)
        for number, (message, start, end) in enumerate(zip(*(span.tolist() for span in spans), strict=True))
    ]
    return np.array(found, dtype=np.int64)
