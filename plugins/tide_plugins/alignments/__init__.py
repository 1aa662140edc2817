"""Bundled alignments between two tokenizations of the same text."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Alignment, hookimpl

from .byte_chunks import ByteChunks
from .minimum_edit import MinimumEdit
from .ranked import Ranked
from .shared_vocabulary import SharedVocabulary
from .vocabulary_projection import VocabularyProjection


@hookimpl
def tide_alignments() -> Sequence[type[Alignment]]:
    """Contribute the bundled alignments."""
    return [ByteChunks, SharedVocabulary, VocabularyProjection, MinimumEdit, Ranked]
