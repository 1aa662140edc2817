"""Alignments that are wrong on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from kit_correct import KitChunks
from kit_mutation import Mutant

from tide_specs import AlignedPair, SharedColumns, TokenKind
from tide_specs.chunking import boundaries, cut_at


class ShiftedBoundary(KitChunks):
    """Off by one: each teacher token is given the chunk of the token behind it."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        shifted = pair.teacher.copy()
        for place in np.flatnonzero(teacher.kind[:-1] == TokenKind.CONTENT):
            if pair.teacher[place] >= 0 and teacher.kind[place + 1] == TokenKind.CONTENT:
                shifted[place] = max(pair.teacher[place], pair.teacher[place + 1])
        return replace(pair, teacher=shifted)


class Uncommon(KitChunks):
    """Cuts where one side alone has a boundary: pairs the n-th tokens."""

    def align(self, student, teacher):
        ours = np.flatnonzero((student.kind == TokenKind.CONTENT) & (student.end >= 0))
        theirs = np.flatnonzero((teacher.kind == TokenKind.CONTENT) & (teacher.end >= 0))
        count = min(len(ours), len(theirs))
        left, right = np.full(len(student.ids), -1, np.int32), np.full(len(teacher.ids), -1, np.int32)
        left[ours[:count]] = right[theirs[:count]] = np.arange(count)
        ends = student.end[ours[:count]]
        sizes = np.where(np.diff(ends, prepend=0) > 0, np.diff(ends, prepend=0), ends).astype(np.int32)
        return AlignedPair(student=left, teacher=right, bytes=sizes, relation=np.zeros(count, np.int8))


class Gaps(KitChunks):
    """Non-tiling: every third chunk is dropped."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        return without(pair, np.arange(len(pair.bytes)) % 3 != 1)


class LastChunkMissing(KitChunks):
    """Forgets the last chunk of content."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        content = np.flatnonzero(pair.bytes > 0)
        return without(pair, np.arange(len(pair.bytes)) != (content[-1] if len(content) else -1))


class CountsCharacters(KitChunks):
    """Bytes counted in tokens."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        sizes = np.bincount(pair.student[pair.student >= 0], minlength=len(pair.bytes))
        return replace(pair, bytes=np.minimum(sizes, pair.bytes).astype(np.int32))


class AllOneToOne(KitChunks):
    """Relation never computed."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        return replace(pair, relation=np.zeros_like(pair.relation))


class AlignsMarkup(KitChunks):
    """Pairs the start tokens of both templates."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        ours, theirs = pair.student.copy(), pair.teacher.copy()
        ours, theirs = np.where(ours >= 0, ours + 1, -1), np.where(theirs >= 0, theirs + 1, -1)
        ours[0] = theirs[0] = 0
        return AlignedPair(
            student=ours.astype(np.int32),
            teacher=theirs.astype(np.int32),
            bytes=np.insert(pair.bytes, 0, 0),
            relation=np.insert(pair.relation, 0, 0),
        )


class KeepsHalfChunks(KitChunks):
    """Aligns before truncation: chunks of the lost text stay."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        rest = np.flatnonzero((student.kind == TokenKind.CONTENT) & (pair.student < 0))
        if not len(rest) or len(pair.bytes) == 0:
            return pair
        ours = pair.student.copy()
        ours[rest] = len(pair.bytes)
        return replace(pair, student=ours, bytes=np.append(pair.bytes, 1), relation=np.append(pair.relation, 0))


class Reversed(KitChunks):
    """Numbers chunks from the end."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        last = len(pair.bytes) - 1
        flip = [np.where(side >= 0, last - side, -1).astype(np.int32) for side in (pair.student, pair.teacher)]
        return AlignedPair(student=flip[0], teacher=flip[1], bytes=pair.bytes[::-1], relation=pair.relation[::-1])


class WrongTurn(KitChunks):
    """Puts the end of the turn into the last chunk of content."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        ours = pair.student.copy()
        for place in np.flatnonzero(student.kind == TokenKind.END_OF_TURN):
            if ours[place - 1] >= 0:
                ours[place] = ours[place - 1]
        return replace(pair, student=ours)


class TakesAnything(KitChunks):
    """Never notices that the texts differ."""

    def align(self, student, teacher):
        return cut_at(student, teacher, sorted(boundaries(student).keys() & boundaries(teacher).keys()))


class CrashesOnEmpty(KitChunks):
    """Assumes that there is a chunk."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        assert pair.bytes.max() > 0
        return pair


class OffsetBatch(KitChunks):
    """Numbers the chunks of a batch through."""

    def align_batch(self, students, teachers):
        done, first = [], 0
        for pair in super().align_batch(students, teachers):
            moved = [np.where(side >= 0, side + first, -1) for side in (pair.student, pair.teacher)]
            done.append(replace(pair, student=moved[0], teacher=moved[1]))
            first += len(pair.bytes)
        return done


class Floats(KitChunks):
    """Chunk ids that are not integers."""

    def align(self, student, teacher):
        pair = super().align(student, teacher)
        return replace(pair, student=pair.student.astype(np.float32))


class SharesBySize(KitChunks):
    """Shares every id below the smaller size, whatever it means."""

    yields: ClassVar[frozenset[str]] = frozenset({"chunks"})

    def columns(self, student, teacher):
        return SharedColumns(size=min(student.vocabulary_size, teacher.vocabulary_size))


class NoColumns(KitChunks):
    """Yields tokens, but tells no columns."""

    yields: ClassVar[frozenset[str]] = frozenset({"tokens"})


class ManyTokensPerToken(KitChunks):
    """Yields tokens, but its chunks hold several."""

    yields: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def columns(self, student, teacher):
        return SharedColumns(size=256)


def without(pair: AlignedPair, kept: np.ndarray) -> AlignedPair:
    number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
    return AlignedPair(
        student=number[pair.student], teacher=number[pair.teacher], bytes=pair.bytes[kept], relation=pair.relation[kept]
    )


MUTANTS = [
    Mutant(Uncommon(), "check_equal_bytes", "cut only where both sides have a token boundary"),
    Mutant(ShiftedBoundary(), "check_arrays", r"chunks have no teacher token"),
    Mutant(Gaps(), "check_tiling", "lie in no chunk"),
    Mutant(LastChunkMissing(), "check_tiling", "the last chunk is missing"),
    Mutant(CountsCharacters(), "check_equal_bytes", "count raw UTF-8 bytes"),
    Mutant(AllOneToOne(), "check_relation", r"its relation is MANY_TO_\w+, not 0"),
    Mutant(AlignsMarkup(), "check_markup_is_left_out", "align the contents of messages only"),
    Mutant(KeepsHalfChunks(), "check_truncation", r"likelihood would be exp\(0\) = 1"),
    Mutant(Reversed(), "check_order", "number chunks in text order"),
    Mutant(WrongTurn(), "check_markup_is_left_out", "align it by role"),
    Mutant(TakesAnything(), "check_different_texts_are_refused", "raise AlignmentError"),
    Mutant(CrashesOnEmpty(), "check_arrays", "raised .*it must handle this input"),
    Mutant(OffsetBatch(), "check_batches_equal_single_examples", "number the chunks of every example from 0"),
    Mutant(Floats(), "check_arrays", "not an integer array"),
    Mutant(SharesBySize(), "check_columns", "compare bytes, not sizes"),
    Mutant(NoColumns(), "check_columns", r"columns\(\) returns None"),
    Mutant(ManyTokensPerToken(), "check_tiling", "leave such spans out"),
]
