"""The figures of a teacher's pass in float64, by loops over bytes, tokens and chunks; shares nothing with the implementation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from report_oracle import Chunk, Pieces, content, text_of

from tide_core.alignment_report.texts import Document
from tide_specs import TextTokenizer, TokenKind

FLOOR = 1e-10


@dataclass
class Asked:
    """A chunk with the place of its first teacher token in the encoded document."""

    domain: str
    chunk: Chunk
    places: list[int]


def chunks_of(documents: Sequence[Document], student: TextTokenizer, teacher: TextTokenizer) -> list[list[Asked]]:
    """Every chunk that holds text, document by document."""
    pieces = (student.token_bytes(), teacher.token_bytes())
    found: list[list[Asked]] = []
    for document in documents:
        ours, theirs = student.encode([document.example])[0], teacher.encode([document.example])[0]
        found.append([])
        for number, (message, domain) in enumerate(zip(document.example.messages, document.domains, strict=True)):
            right = content(theirs, number)
            kinds = zip(theirs.kind.tolist(), theirs.message.tolist(), strict=True)
            at = [i for i, (kind, of) in enumerate(kinds) if kind == TokenKind.CONTENT and of == number]
            place = {id(token): i for token, i in zip(right, at, strict=True)}
            text = text_of(message.content.encode(), content(ours, number), right, pieces)
            found[-1] += [Asked(domain, c, [place[id(t)] for t in c.teacher]) for c in text.chunks]
    return found


def image(piece: bytes | None, known: Mapping[bytes, int]) -> int | None:
    """The longest student token that a teacher token begins with."""
    for size in range(len(piece or b""), 0, -1):
        if piece is not None and piece[:size] in known:
            return known[piece[:size]]
    return None


class Projection:
    def __init__(self, student: TextTokenizer, teacher: TextTokenizer) -> None:
        known: dict[bytes, int] = {}
        for index, piece in reversed(list(enumerate(student.token_bytes()))):
            if piece and index not in (student.end_of_turn_token_id, student.mask_token_id):
                known[piece] = index
        self.pieces: Pieces = teacher.token_bytes()
        roles = (teacher.end_of_turn_token_id, teacher.mask_token_id)
        self.images = [None if i in roles else image(p, known) for i, p in enumerate(self.pieces)]
        self.images[teacher.end_of_turn_token_id] = student.end_of_turn_token_id
        exact = [p is not None and p in known for p in self.pieces]
        exact[teacher.end_of_turn_token_id] = True
        self.exact = exact

    def figures(self, logits: np.ndarray, chunk: Chunk, likelihood: float) -> dict[str, float]:
        """Figures of one chunk start from the teacher's logits there."""
        shares = np.exp(logits - logits.max())
        q = [float(x) for x in shares / shares.sum()]
        exact = [*self.exact, *[False] * (len(q) - len(self.exact))]
        images = [*self.images, *[None] * (len(q) - len(self.images))]
        mass: dict[int | None, float] = {}
        for column, x in zip(images, q, strict=True):
            mass[column] = mass.get(column, 0.0) + x
        best = max(range(len(q)), key=q.__getitem__)
        dropped = [x for x, same in zip(q, exact, strict=True) if not same]
        target, first = chunk.student[0].index, chunk.teacher[0].index
        corrected = mass.get(target, 0.0)
        if len(chunk.student) == 1 and len(chunk.teacher) > 1 and images[first] != target:
            corrected += math.exp(likelihood)
        return {
            "covered": sum(q) - sum(dropped),
            "top": float(exact[best]),
            "dropped": sum(dropped) * entropy([x / sum(dropped) for x in dropped]) if sum(dropped) else 0.0,
            "entropy": entropy(q),
            "projected": entropy(list(mass.values())),
            "mass": mass.get(target, 0.0),
            "corrected": corrected,
            "likelihood": likelihood,
            "short": float(len(chunk.student) == 1 and len(chunk.teacher) > 1),
        }


def entropy(q: Sequence[float]) -> float:
    return -sum(x * math.log(x) for x in q if x > 0)


def log_softmax(logits: np.ndarray, index: int) -> float:
    top = float(logits.max())
    return float(logits[index]) - top - math.log(sum(math.exp(float(x) - top) for x in logits))


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def summed_up(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Every figure, in the shape of the report's JSON."""

    def logs(name: str, some: Sequence[Mapping[str, float]]) -> float | None:
        return mean([math.log(max(row[name], FLOOR)) for row in some])

    short = [row for row in rows if row["short"]]
    before, after = (sum(row[name] for row in rows) for name in ("entropy", "projected"))
    minus = logs("covered", rows)
    pull = [(math.exp(row["likelihood"]), math.exp(row["likelihood"] / 2) / 2) for row in rows]
    return {
        "chunks": len(rows),
        "log_likelihood": mean([row["likelihood"] for row in rows]),
        "covered": {
            "mass": mean([row["covered"] for row in rows]),
            "minus_log": None if minus is None else -minus,
            "below_half": mean([float(row["covered"] < 0.5) for row in rows]),
            "top1_kept": mean([row["top"] for row in rows]),
            "dropped_entropy": mean([row["dropped"] for row in rows]),
        },
        "entropy": {
            "teacher": mean([row["entropy"] for row in rows]),
            "projected": mean([row["projected"] for row in rows]),
            "lost_percent": 100 * (before - after) / before if before else None,
        },
        "undershoot": {
            "chunks": mean([row["short"] for row in rows]),
            "log_mass_before": logs("mass", short),
            "log_mass_after": logs("corrected", short),
            "log_likelihood": mean([row["likelihood"] for row in short]),
        },
        "vanishing": {
            "calm_1": mean([float(one < 0.01) for one, _ in pull]),
            "calm_2": mean([float(two < 0.01) for _, two in pull]),
            "projected": mean([float(row["mass"] < 0.01) for row in rows]),
            "corrected": mean([float(row["corrected"] < 0.01) for row in rows]),
        },
    }
