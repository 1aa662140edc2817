"""``prepare``: every example encoded and aligned once, whatever the number of epochs, processes and runs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """A teacher's side of the data: its tokenizer, how it is aligned with the student, and the multiple of its rows."""

    teacher: TextTokenizer | None = None
    alignment: Alignment | None = None
    length_multiple: int = 1


class PreparedData:
    """The rows of one split. ``report`` counts what became of the examples; ``fingerprint`` names rows and packing.

    stores: one per teacher (one without any). places: of each example, its place in every store, where they differ.
    packed: the examples of each row.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        fingerprint: str,
        places: Sequence[NDArray[np.int64]] | None = None,
        packed: Sequence[NDArray[np.int64]] | None = None,
    ) -> None:
        self._stores = stores
        self._places = places
        self._packed = packed
        self.report: PreparationReport = stores[0].report
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        """Return the number of rows: packed ones where the data is packed, otherwise kept examples."""
        if self._packed is not None:
            return len(self._packed)
        return self._stores[0].size if self._places is None else len(self._places[0])

    @property
    def packed(self) -> bool:
        """Whether a row may hold several documents."""
        return self._packed is not None

    def rows(self, indices: Sequence[int] | NDArray[np.int64], teacher: int = 0) -> list[Row]:
        """Return the rows at ``indices`` (0 to ``len(self)`` - 1), in that order, as a teacher pairs them."""
        return [self._row(int(index), teacher) for index in indices]

    def samples(self) -> NDArray[np.int64]:
        """[rows] identity of each row, rising, which seeds its noise."""
        if self._packed is not None:
            return np.arange(len(self._packed), dtype=np.int64)
        samples = self._stores[0].samples()
        return samples if self._places is None else samples[self._places[0]]

    def lengths(self) -> NDArray[np.int64]:
        """[rows] student tokens of each row."""
        lengths = self._example_lengths("student", 0)
        if self._packed is None:
            return lengths
        return np.array([lengths[members].sum() for members in self._packed], dtype=np.int64)

    def _example_lengths(self, side: str, teacher: int) -> NDArray[np.int64]:
        lengths = self._stores[teacher].lengths(side)
        return lengths if self._places is None else lengths[self._places[teacher]]

    def _row(self, index: int, teacher: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        if self._packed is None:
            return self._example(index, teacher)
        return join([self._example(member, teacher) for member in self._packed[index].tolist()], sample=index)

    def _example(self, index: int, teacher: int) -> Row:
        place = index if self._places is None else int(self._places[teacher][index])
        return self._stores[teacher].row(place)

    def packed_into(self, window: int, teacher_windows: Sequence[int]) -> PreparedData:
        """Return the same examples, several in a row as far as they fit on every side."""
        lengths, capacity = [self._example_lengths("student", 0)], [window]
        for number, store in enumerate(self._stores):
            if store.has_teacher:
                lengths.append(self._example_lengths("teacher", number))
                capacity.append(teacher_windows[number])
        packed = pack(np.stack(lengths, axis=1), capacity)
        return PreparedData(self._stores, f"{self.fingerprint}-packed", self._places, packed)


def prepare(
    dataset: Dataset,
    split: Split,
    *,
    student: TextTokenizer,
    pairings: Sequence[Pairing],
    length_multiple: int = 1,
    cache_directory: str,
    workers: int = 1,
    max_examples: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """Encode, align and window the examples of a split, or open what an earlier call left in ``cache_directory``.

    pairings: one per teacher, or one without a teacher; of several, the examples that all of them keep are kept.

    An example is cut to ``dataset.max_length`` tokens (``teacher_max_length`` on the teacher's side, by default twice
    that); a chunk counts only when all its tokens are inside both windows and trainable; an example that keeps nothing
    to train on is dropped; both kinds are counted in the report. Rows of a block form are filled with trainable
    end-of-turn tokens up to ``length_multiple``.

    workers: processes that encode; 0: this one. max_examples: look at the first so many examples only. progress:
    called with the number of examples done and the total, where one is known; not called when the cache is hit.

    Raises ``ConfigError`` for a window that is not a multiple of the block, ``DataError`` when nothing is left to train
    on, when a text contains the mask token, or when the cache cannot be written.
    """
    opened = [
        _prepare_one(
            dataset, split, student, pairing, length_multiple, cache_directory, workers, max_examples, progress
        )
        for pairing in pairings
    ]
    stores, fingerprints = [store for store, _ in opened], [fingerprint for _, fingerprint in opened]
    if len(stores) == 1:
        data = PreparedData(stores, fingerprints[0])
    else:
        name = hashlib.sha256(json.dumps(fingerprints).encode()).hexdigest()[:32]
        data = PreparedData(stores, name, _kept_by_all(stores, f"data '{dataset.name}', split '{split}'"))
    if not dataset.packing:
        return data
    teacher_windows = [windows(dataset, length_multiple, pairing.length_multiple)[1] for pairing in pairings]
    return data.packed_into(dataset.max_length, teacher_windows)


def _kept_by_all(stores: Sequence[Store], where: str) -> list[NDArray[np.int64]]:
    """Return the places, in each store, of the examples that every store has, in one order."""
    samples = [store.samples() for store in stores]
    common = samples[0]
    for other in samples[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    if not len(common):
        raise DataError(
            f"{where}: no example is usable with every teacher; raise data.max_length or data.teacher_max_length"
        )
    return [np.searchsorted(one, common) for one in samples]


def _prepare_one(
    dataset: Dataset,
    split: Split,
    student: TextTokenizer,
    pairing: Pairing,
    length_multiple: int,
    cache_directory: str,
    workers: int,
    max_examples: int | None,
    progress: Progress | None,
) -> tuple[Store, str]:
    """Open or write the encoded examples of one teacher; their fingerprint."""
    window, teacher_window = windows(dataset, length_multiple, pairing.length_multiple)
    recipe = Recipe(
        student=student,
        teacher=pairing.teacher,
        alignment=pairing.alignment,
        window=window,
        teacher_window=teacher_window,
        multiple=length_multiple,
        teacher_multiple=pairing.length_multiple,
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
    return store, fingerprint


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
