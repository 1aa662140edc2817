"""The figures of a report counted one token at a time from byte offsets, sharing nothing with the implementation."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tide_specs import EncodedExample, TokenKind

Pieces = Sequence[bytes | None]


@dataclass
class Token:
    index: int
    end: int


@dataclass
class Chunk:
    start: int
    end: int
    student: list[Token]
    teacher: list[Token]
    levels: tuple[str, str] = ("", "")

    @property
    def lost(self) -> bool:
        return "lost" in self.levels


@dataclass
class Text:
    """One message: its chunks, and the tokens behind the last of them."""

    raw: bytes
    chunks: list[Chunk]
    tails: tuple[list[Token], list[Token]]
    tokens: tuple[list[Token], list[Token]] = field(default_factory=lambda: ([], []))


def content(side: EncodedExample, message: int) -> list[Token]:
    rows = zip(side.ids.tolist(), side.kind.tolist(), side.message.tolist(), side.end.tolist(), strict=True)
    return [Token(i, end) for i, kind, number, end in rows if kind == TokenKind.CONTENT and number == message]


def text_of(raw: bytes, ours: list[Token], theirs: list[Token], pieces: tuple[Pieces, Pieces]) -> Text:
    cuts = sorted({t.end for t in ours if t.end >= 0} & {t.end for t in theirs if t.end >= 0})
    left, right = list(ours), list(theirs)
    chunks: list[Chunk] = []
    start = 0
    for cut in cuts:
        chunk = Chunk(start, cut, taken(left, cut), taken(right, cut))
        chunk.levels = (
            level(raw[start:cut], chunk.student, pieces[0], first=start == 0),
            level(raw[start:cut], chunk.teacher, pieces[1], first=start == 0),
        )
        chunks.append(chunk)
        start = cut
    return Text(raw, chunks, (left, right), (ours, theirs))


def taken(tokens: list[Token], cut: int) -> list[Token]:
    """Take the tokens up to the one that ends at ``cut`` off the list."""
    found: list[Token] = []
    while not found or found[-1].end != cut:
        found.append(tokens.pop(0))
    return found


def level(raw: bytes, tokens: list[Token], pieces: Pieces, *, first: bool) -> str:
    spelled = b""
    for token in tokens:
        piece = pieces[token.index]
        if piece is None:
            return "lost"
        spelled += piece
    if spelled == raw or (first and spelled[:1] == b" " and spelled[1:] == raw):
        return "exact"
    return "normalised" if plain(spelled) == plain(raw) else "lost"


def plain(raw: bytes) -> str:
    """Lower case without accents and white space."""
    before, after = None, raw.decode("utf-8", "backslashreplace")
    while before != after:
        before, after = after, unicodedata.normalize("NFKD", after.casefold())
    return "".join(c for c in after if not c.isspace() and unicodedata.category(c) != "Mn")


def share(part: float, whole: float) -> float | None:
    return None if not whole else float(Fraction(part) / Fraction(whole))


def counted(texts: Sequence[Text], pieces: tuple[Pieces, Pieces], p: float) -> dict[str, Any]:
    """Every figure, in the shape of the report's JSON."""
    size = sum(len(text.raw) for text in texts)
    every = [chunk for text in texts for chunk in text.chunks]
    kept = [chunk for chunk in every if not chunk.lost]
    left = size - sum(c.end - c.start for c in every if c.lost)
    names = ("student", "teacher")
    return {
        "bytes": size,
        "messages": len(texts),
        "chunks": len(kept),
        "tokens": {name: sum(len(text.tokens[n]) for text in texts) for n, name in enumerate(names)},
        "round_trip": round_trip(every, size),
        "unknown_tokens": {name: unknown(texts, pieces[n], n) for n, name in enumerate(names)},
        "boundaries": boundaries(texts),
        "relation_bytes": relation_bytes(kept, left),
        "relation_chunks": {
            name: share(sum(relation(c) == name for c in kept), len(kept)) for name in ("1:1", "n:1", "1:m", "m:n")
        },
        "tokens_per_chunk": {
            "student": share(sum(len(c.student) for c in kept), len(kept)),
            "teacher": share(sum(len(c.teacher) for c in kept), len(kept)),
        },
        "bytes_per_chunk": sizes(kept),
        "first_token": first_token(kept),
        "masking": {"p": p, "ratio": ratio(texts, p)},
        "vocabulary_overlap": {
            "student": overlap(texts, 0, pieces[0], set(pieces[1])),
            "teacher": overlap(texts, 1, pieces[1], set(pieces[0])),
        },
    }


def round_trip(chunks: Sequence[Chunk], size: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for n, name in enumerate(("student", "teacher")):
        found[name] = {
            kind: share(sum(c.end - c.start for c in chunks if c.levels[n] == kind), size)
            for kind in ("exact", "normalised", "lost")
        }
    return {**found, "excluded": share(sum(c.end - c.start for c in chunks if c.lost), size)}


def unknown(texts: Sequence[Text], pieces: Pieces, n: int) -> float | None:
    tokens = [token for text in texts for token in text.tokens[n]]
    return share(sum(pieces[token.index] is None for token in tokens), len(tokens))


def used(text: Text, n: int) -> list[Token]:
    """The tokens of a side that count."""
    inside = [t for c in text.chunks if not c.lost for t in (c.student, c.teacher)[n]]
    return [*inside, *text.tails[n]]


def boundaries(texts: Sequence[Text]) -> dict[str, float | None]:
    common = ours = theirs = union = 0
    for text in texts:
        left, right = ({t.end for t in used(text, n) if t.end >= 0} for n in (0, 1))
        common, union = common + len(left & right), union + len(left | right)
        ours, theirs = ours + len(left), theirs + len(right)
    return {"student": share(common, ours), "teacher": share(common, theirs), "jaccard": share(common, union)}


def relation(chunk: Chunk) -> str:
    if len(chunk.student) == 1:
        return "1:1" if len(chunk.teacher) == 1 else "1:m"
    return "n:1" if len(chunk.teacher) == 1 else "m:n"


def relation_bytes(kept: Sequence[Chunk], left: int) -> dict[str, float | None]:
    totals = {"1:1": 0, "n:1": 0, "1:m": 0, "m:n": 0}
    for chunk in kept:
        totals[relation(chunk)] += chunk.end - chunk.start
    return {name: share(part, left) for name, part in {**totals, "none": left - sum(totals.values())}.items()}


def sizes(kept: Sequence[Chunk]) -> dict[str, int | None]:
    ordered = sorted(c.end - c.start for c in kept)
    if not ordered:
        return {"p50": None, "p99": None, "max": None}
    return {
        "p50": ordered[math.ceil(Fraction(50, 100) * len(ordered)) - 1],
        "p99": ordered[math.ceil(Fraction(99, 100) * len(ordered)) - 1],
        "max": ordered[-1],
    }


def first_token(kept: Sequence[Chunk]) -> dict[str, float | None]:
    counts = {"equal": 0, "over": 0, "under": 0}
    for chunk in kept:
        ours = next(t.end for t in chunk.student if t.end >= 0)
        theirs = next(t.end for t in chunk.teacher if t.end >= 0)
        counts["equal" if ours == theirs else "over" if theirs > ours else "under"] += 1
    return {name: share(part, len(kept)) for name, part in counts.items()}


def ratio(texts: Sequence[Text], p: float) -> float | None:
    """Share of student tokens that are masked: a chunk is when not all of its tokens are spared."""
    tokens, masked = 0, 0.0
    for text in texts:
        for count in [*(len(c.student) for c in text.chunks if not c.lost), *[1] * len(text.tails[0])]:
            none_drawn = 1.0
            for _ in range(count):
                none_drawn *= 1 - p
            tokens, masked = tokens + count, masked + count * (1 - none_drawn)
    return masked / tokens if tokens else None


def overlap(texts: Sequence[Text], n: int, own: Pieces, other: set[bytes | None]) -> float | None:
    tokens = [token for text in texts for token in used(text, n)]
    hits = sum(own[token.index] is not None and own[token.index] in other for token in tokens)
    return share(hits, len(tokens))
