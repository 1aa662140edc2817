"""A byte-level tokenizer, a tokenizer of two-byte tokens and an exact alignment, small enough to check by eye."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tide_core import data
from tide_specs import (
    AlignedPair,
    Alignment,
    Dataset,
    EncodedExample,
    Example,
    Message,
    Split,
    TextTokenizer,
    TokenKind,
)

BOS, END, PAD, MASK = 256, 257, 258, 259


class WideBytes(TextTokenizer):
    """Tokens of ``width`` raw bytes; id = first byte. BOS, the messages' tokens, end of turn."""

    vocabulary_size = 260
    mask_token_id: int | None = MASK
    pad_token_id = PAD
    end_of_turn_token_id = END

    def __init__(self, width: int = 1, mask: int | None = MASK, log: str | None = None) -> None:
        self.width = width
        self.mask_token_id = mask
        self.log = log

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write("encoded\n" * len(examples))
        return [self._encode(example) for example in examples]

    def _encode(self, example: Example) -> EncodedExample:
        ids, kind, message, end, trainable = [BOS], [TokenKind.MARKUP], [-1], [-1], [False]
        for number, one in enumerate(example.messages):
            if "explode" in one.content:
                raise RuntimeError("boom")
            raw = one.content.encode()
            for start in range(0, len(raw), self.width):
                ids.append(raw[start])
                kind.append(TokenKind.CONTENT)
                message.append(number)
                end.append(min(start + self.width, len(raw)))
                trainable.append(one.trainable)
        ids.append(END)
        kind.append(TokenKind.END_OF_TURN)
        message.append(len(example.messages) - 1)
        end.append(-1)
        trainable.append(trainable[-1])
        return EncodedExample(
            ids=np.array(ids, dtype=np.int32),
            kind=np.array(kind, dtype=np.int8),
            message=np.array(message, dtype=np.int32),
            end=np.array(end, dtype=np.int32),
            trainable=np.array(trainable, dtype=np.bool_),
        )

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        return [BOS, *b"".join(message.content.encode() for message in messages)]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(one for one in ids if one < 256).decode("utf-8", "replace")

    def token_bytes(self) -> Sequence[bytes | None]:
        return [bytes([one]) for one in range(256)] + [None] * 4

    def fingerprint(self) -> str:
        return f"wide-bytes-{self.width}"

    def save(self, path: str) -> None:
        raise NotImplementedError


class CommonEnds(Alignment):
    """Chunks between common byte ends of each message, in slow and plain Python."""

    name: Literal["common_ends"] = "common_ends"
    option: int = 0

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        out = {"student": np.full(len(student.ids), -1), "teacher": np.full(len(teacher.ids), -1)}
        sizes: list[int] = []
        for number in sorted(set(student.message.tolist()) - {-1}):
            start = 0
            ends = [
                {int(e) for e in side.end[(side.message == number) & (side.kind == TokenKind.CONTENT)]}
                for side in (student, teacher)
            ]
            for stop in sorted(ends[0] & ends[1]):
                for name, side in (("student", student), ("teacher", teacher)):
                    here = (side.message == number) & (side.end > start) & (side.end <= stop)
                    out[name][here] = len(sizes)
                sizes.append(stop - start)
                start = stop
        for name, side in (("student", student), ("teacher", teacher)):
            out[name][side.kind == TokenKind.END_OF_TURN] = len(sizes)
        sizes.append(0)
        return AlignedPair(
            student=out["student"].astype(np.int32),
            teacher=out["teacher"].astype(np.int32),
            bytes=np.array(sizes, dtype=np.int32),
            relation=np.zeros(len(sizes), dtype=np.int8),
        )

    def align_batch(self, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]) -> list[AlignedPair]:
        return [self.align(student, teacher) for student, teacher in zip(students, teachers, strict=True)]


class Listed(Dataset):
    """Examples from a list of (prompt, response)."""

    name: Literal["listed"] = "listed"
    pairs: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    def examples(self, split: Split) -> Iterator[Example]:
        for number, (prompt, response) in enumerate(self.pairs):
            time.sleep(self.seconds)
            yield Example(
                key=str(number),
                source=f"list:{number + 1}",
                messages=[
                    Message(role="text", content=prompt),
                    Message(role="text", content=response, trainable=True),
                ],
            )

    def fingerprint(self) -> str:
        return "|".join(map("=".join, self.pairs))


def prepare(
    dataset: Dataset,
    split: str,
    *,
    teacher: TextTokenizer | None = None,
    alignment: Alignment | None = None,
    teacher_length_multiple: int = 1,
    **options: Any,
) -> data.PreparedData:
    """``tide_core.data.prepare`` for one teacher at most."""
    pairing = data.Pairing(teacher=teacher, alignment=alignment, length_multiple=teacher_length_multiple)
    return data.prepare(dataset, split, pairings=[pairing], **options)  # type: ignore[arg-type]
