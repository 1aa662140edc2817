"""``prepare``: every example encoded and aligned once, whatever the number of epochs, processes and runs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tide_specs import Alignment, ConfigError, DataError, Dataset, Example, Split, TextTokenizer

from .encode import Recipe
from .packing import join, pack
from .rows import PreparationReport, Row
from .store import Encoded, Store, open_or_write
from .workers import encode_all

FORMAT = 1
"""Raised whenever this package turns the same examples into other rows; caches of other formats are not read."""

Progress = Callable[[int, int | None], None]

logger = logging.getLogger(__name__)


class PreparedData:
    """The rows of one split. ``report`` counts what became of the examples; ``fingerprint`` names rows and packing."""

    def __init__(self, store: Store, fingerprint: str, packed: Sequence[NDArray[np.int64]] | None = None) -> None:
        self._store = store
        self._packed = packed
        self.report: PreparationReport = store.report
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        """Return the number of rows: packed ones where the data is packed, otherwise kept examples."""
        return self._store.size if self._packed is None else len(self._packed)

    @property
    def packed(self) -> bool:
        """Whether a row may hold several documents."""
        return self._packed is not None

    def rows(self, indices: Sequence[int] | NDArray[np.int64]) -> list[Row]:
        """Return the rows at ``indices`` (0 to ``len(self)`` - 1), in that order."""
        return [self._row(int(index)) for index in indices]

    def lengths(self) -> NDArray[np.int64]:
        """[rows] student tokens of each row."""
        lengths = self._store.lengths("student")
        if self._packed is None:
            return lengths
        return np.array([lengths[members].sum() for members in self._packed], dtype=np.int64)

    def _row(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        if self._packed is None:
            return self._store.row(index)
        return join([self._store.row(member) for member in self._packed[index].tolist()], sample=index)


def prepare(
    dataset: Dataset,
    split: Split,
    *,
    student: TextTokenizer,
    teacher: TextTokenizer | None = None,
    alignment: Alignment | None = None,
    length_multiple: int = 1,
    teacher_length_multiple: int = 1,
    cache_directory: str,
    workers: int = 1,
    max_examples: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """Encode, align and window the examples of a split, or open what an earlier call left in ``cache_directory``.

    An example is cut to ``dataset.max_length`` tokens (``teacher_max_length`` on the teacher's side, by default twice
    that); a chunk counts only when all its tokens are inside both windows and trainable; an example that keeps nothing
    to train on is dropped; both kinds are counted in the report. Rows of a block form are filled with trainable
    end-of-turn tokens up to ``length_multiple``.

    workers: processes that encode; 0: this one. max_examples: look at the first so many examples only. progress:
    called with the number of examples done and the total, where one is known; not called when the cache is hit.

    Raises ``ConfigError`` for a window that is not a multiple of the block, ``DataError`` when nothing is left to train
    on, when a text contains the mask token, or when the cache cannot be written.
    """
    window, teacher_window = windows(dataset, length_multiple, teacher_length_multiple)
    recipe = Recipe(
        student=student,
        teacher=teacher,
        alignment=alignment,
        window=window,
        teacher_window=teacher_window,
        multiple=length_multiple,
        teacher_multiple=teacher_length_multiple,
    )
    fingerprint = _fingerprint(dataset, split, recipe, max_examples)

    def encoded() -> Encoded:
        examples = islice(dataset.examples(split), max_examples)
        total = PreparationReport()
        for batch, report in encode_all(_counted(examples, max_examples, progress), recipe, workers):
            total += report
            yield batch, report
        _require_rows(total, f"data '{dataset.name}', split '{split}'")

    store = open_or_write(Path(cache_directory) / fingerprint, encoded)
    logger.info("%s data: %s", split, store.report)
    if not dataset.packing:
        return PreparedData(store, fingerprint)
    return PreparedData(store, f"{fingerprint}-packed", _packed(store, window, teacher_window))


def windows(dataset: Dataset, multiple: int, teacher_multiple: int) -> tuple[int, int]:
    """Return the longest row of student and teacher, in tokens; ``ConfigError`` when a block does not divide it."""
    teacher = dataset.teacher_max_length
    if teacher is None:
        teacher = -(-2 * dataset.max_length // teacher_multiple) * teacher_multiple
    for field, length, block in (
        ("max_length", dataset.max_length, multiple),
        ("teacher_max_length", teacher, teacher_multiple),
    ):
        if length % block:
            below, above = length // block * block, -(-length // block) * block
            choice = f"{below} or {above}" if below else str(above)
            raise ConfigError(f"data.{field}: {length} is not a multiple of the block size {block}; use {choice}")
    return dataset.max_length, teacher


def _require_rows(report: PreparationReport, where: str) -> None:
    if report.kept:
        return
    if not report.examples:
        raise DataError(
            f"{where}: no usable example: the split is empty; check where the data comes from, and what share of it is held out"
        )
    reasons = "; ".join(f"{count} of {report.examples}: {reason}" for reason, count in report.dropped.items())
    raise DataError(
        f"{where}: no usable example: {reasons}; raise data.max_length, or check which messages are trained on"
    )


def _packed(store: Store, window: int, teacher_window: int) -> list[NDArray[np.int64]]:
    lengths = [store.lengths("student")]
    if store.has_teacher:
        lengths.append(store.lengths("teacher"))
    return pack(np.stack(lengths, axis=1), (window, teacher_window)[: len(lengths)])


def _counted(examples: Iterator[Example], limit: int | None, progress: Progress | None) -> Iterator[Example]:
    done = 0
    for example in examples:
        if progress is not None and done % 64 == 0:
            progress(done, limit)
        done += 1
        yield example
    if progress is not None:
        progress(done, done)


def _fingerprint(dataset: Dataset, split: Split, recipe: Recipe, max_examples: int | None) -> str:
    alignment = recipe.alignment
    facts = {
        "format": FORMAT,
        "dataset": [_class(dataset), dataset.version, dataset.fingerprint()],
        "split": split,
        "max_examples": max_examples,
        "student": recipe.student.fingerprint(),
        "student_ids": _special(recipe.student),
        "teacher": None if recipe.teacher is None else recipe.teacher.fingerprint(),
        "teacher_ids": None if recipe.teacher is None else _special(recipe.teacher),
        "alignment": None
        if alignment is None
        else [_class(alignment), alignment.version, alignment.model_dump(mode="json")],
        "windows": [recipe.window, recipe.teacher_window],
        "multiples": [recipe.multiple, recipe.teacher_multiple],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _class(component: object) -> str:
    return f"{type(component).__module__}.{type(component).__qualname__}"


def _special(tokenizer: TextTokenizer) -> list[int | None]:
    return [tokenizer.mask_token_id, tokenizer.end_of_turn_token_id]
