"""One group of examples -> rows on the way to disk: encode, align, cut to the window, fill, count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tide_specs import AlignedPair, Alignment, DataError, EncodedExample, Example, PluginError, TextTokenizer, TideError

from .rows import PreparationReport
from .window import (
    Bools,
    FlatSide,
    Ints,
    chunk_offsets,
    fill_blocks,
    flatten,
    renumber,
    surviving_chunks,
)

NOTHING = "nothing to train on"
PROMPT = "prompt longer than the window"
TEACHER_NOTHING = "nothing to train on for the teacher"
TEACHER_PROMPT = "prompt longer than the teacher's window"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how an example becomes a row; travels to the worker processes."""

    student: TextTokenizer
    teacher: TextTokenizer | None
    alignment: Alignment | None
    window: int
    teacher_window: int
    multiple: int
    teacher_multiple: int


def encode_group(examples: Sequence[Example], first: int, recipe: Recipe) -> tuple[pa.RecordBatch, PreparationReport]:
    """Encode examples number ``first``, ``first + 1``, ... of a dataset.

    Any failure surfaces as a ``TideError`` that names the example.
    """
    try:
        return _encode_group(examples, first, recipe)
    except Exception as error:
        if len(examples) == 1:
            raise _located(error, examples[0]) from error
        for number, example in enumerate(examples):  # find the culprit; only ever runs on the way to an error
            encode_group([example], first + number, recipe)
        raise _located(error, examples[0]) from error


def _located(error: Exception, example: Example) -> TideError:
    where = example.source or example.key
    if isinstance(error, TideError):
        if where not in str(error):
            error.args = (f"{where}: {error}",)
        return error
    return PluginError(f"{where}: this example cannot be encoded: {type(error).__name__}: {error}")


def _encode_group(examples: Sequence[Example], first: int, recipe: Recipe) -> tuple[pa.RecordBatch, PreparationReport]:
    encoded = _encode(recipe.student, examples, "student")
    taught = None if recipe.teacher is None else _encode(recipe.teacher, examples, "teacher")
    if taught is None or recipe.alignment is None:
        pairs = None
        offsets = np.zeros(len(examples), dtype=np.int64)
    else:
        pairs = list(recipe.alignment.align_batch(encoded, taught))
        offsets = chunk_offsets(pairs)
    student = flatten(encoded, None if pairs is None else [pair.student for pair in pairs], offsets)
    teacher = None
    if taught is not None:
        teacher = flatten(taught, None if pairs is None else [pair.teacher for pair in pairs], offsets)
    return _windowed(examples, first, student, teacher, pairs, recipe)


def _encode(tokenizer: TextTokenizer, examples: Sequence[Example], side: str) -> list[EncodedExample]:
    encoded = tokenizer.encode(examples)
    if len(encoded) != len(examples):
        raise PluginError(f"the {side}'s tokenizer returned {len(encoded)} encodings of {len(examples)} examples")
    mask = tokenizer.mask_token_id
    if mask is None:
        return encoded
    for example, one in zip(examples, encoded, strict=True):
        if bool((one.ids == mask).any()):
            raise DataError(_mask_found(tokenizer, mask, example, side))
    return encoded


def _mask_found(tokenizer: TextTokenizer, mask: int, example: Example, side: str) -> str:
    spelled = tokenizer.token_bytes()[mask]
    text = "" if spelled is None else f" ({spelled.decode('utf-8', 'replace')!r})"
    return (
        f"{example.source or example.key}: the text contains the {side}'s mask token, id {mask}{text}; a model that is "
        "trained to replace it cannot also learn to write it: choose a mask token that no text contains, or remove the example"
    )


def _windowed(
    examples: Sequence[Example],
    first: int,
    student: FlatSide,
    teacher: FlatSide | None,
    pairs: Sequence[AlignedPair] | None,
    recipe: Recipe,
) -> tuple[pa.RecordBatch, PreparationReport]:
    kept, dropped = _judge(student, teacher, recipe)
    sides = [(student, (student.position < recipe.window) & kept[student.owner])]
    if teacher is not None:
        sides.append((teacher, (teacher.position < recipe.teacher_window) & kept[teacher.owner]))
    counts = np.array([len(pair.bytes) for pair in pairs] if pairs else [0] * len(examples), dtype=np.int64)
    alive = surviving_chunks(sides, int(counts.sum()))
    rows = [
        renumber(side, alive, np.cumsum(counts) - counts).select(tokens).without_empty(kept) for side, tokens in sides
    ]
    rows[0] = fill_blocks(rows[0], recipe.multiple, recipe.student.end_of_turn_token_id)
    if recipe.teacher is not None:
        rows[1] = fill_blocks(rows[1], recipe.teacher_multiple, recipe.teacher.end_of_turn_token_id)
    columns: dict[str, pa.Array] = {"sample": pa.array(first + np.flatnonzero(kept))}
    for name, row in zip(("student", "teacher"), rows, strict=False):
        columns |= _side_columns(name, row)
    columns |= _chunk_columns(pairs or (), counts, alive, kept)
    too_long = [
        int((kept & (side.lengths > window)).sum())
        for (side, _), window in zip(sides, (recipe.window, recipe.teacher_window), strict=False)
    ]
    report = PreparationReport(
        examples=len(examples),
        kept=int(kept.sum()),
        dropped=dropped,
        truncated=too_long[0],
        teacher_truncated=sum(too_long[1:]),
        tokens=len(rows[0].ids),
        trainable=int(rows[0].trainable.sum()),
        fill=int(rows[0].fill.sum()),
        teacher_tokens=sum(len(row.ids) for row in rows[1:]),
        chunks=int(alive.sum()),
        bytes=sum(_bytes(example) for example, keep in zip(examples, kept, strict=True) if keep),
    )
    return pa.RecordBatch.from_pydict(columns), report


def _chunk_columns(pairs: Sequence[AlignedPair], counts: Ints, alive: Bools, kept: Bools) -> dict[str, pa.Array]:
    owner = np.repeat(np.arange(len(counts)), counts)
    left = np.bincount(owner[alive], minlength=len(counts))[kept]
    sizes = np.concatenate([pair.bytes for pair in pairs] or [np.zeros(0)])
    relations = np.concatenate([pair.relation for pair in pairs] or [np.zeros(0)])
    return {
        "chunk_bytes": _lists(sizes[alive].astype(np.int32), left),
        "chunk_relation": _lists(relations[alive].astype(np.int8), left),
    }


def _judge(student: FlatSide, teacher: FlatSide | None, recipe: Recipe) -> tuple[Bools, dict[str, int]]:
    """[E] which examples are kept, and for what reason the others are not; the first reason counts."""
    kept = np.ones(len(student.lengths), dtype=np.bool_)
    dropped: dict[str, int] = {}
    judged = [(student, recipe.window, NOTHING, PROMPT)]
    if teacher is not None:
        judged.append((teacher, recipe.teacher_window, TEACHER_NOTHING, TEACHER_PROMPT))
    for side, window, nothing, prompt in judged:
        start = side.first_trainable()
        for reason, bad in ((nothing, start >= side.lengths), (prompt, start >= window)):
            if count := int((bad & kept).sum()):
                dropped[reason] = count
            kept &= ~bad
    return kept, dropped


def _side_columns(name: str, side: FlatSide) -> dict[str, pa.Array]:
    return {
        f"{name}_ids": _lists(side.ids, side.lengths),
        f"{name}_maskable": _lists(side.trainable.view(np.uint8), side.lengths),
        f"{name}_chunk": _lists(side.chunk, side.lengths),
    }


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([np.zeros(1, dtype=np.int32), np.cumsum(lengths, dtype=np.int32)])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _bytes(example: Example) -> int:
    return sum(len(message.content.encode("utf-8", "surrogatepass")) for message in example.messages)
