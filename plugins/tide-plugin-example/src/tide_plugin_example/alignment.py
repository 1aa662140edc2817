"""An alignment: which tokens of two tokenizers speak of the same bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt
from tide_specs import AlignedPair, Alignment, EncodedExample, common_boundaries, cut_at, hookimpl


class Spans(Alignment):
    """Chunks of at least ``least`` bytes: longer spans than ``byte_chunks``, so that a likelihood rests on more text."""

    name: Literal["example_spans"] = "example_spans"
    least: PositiveInt = Field(
        default=8, description="smallest number of UTF-8 bytes of a chunk, a message's last excepted"
    )

    def align(self, student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
        """Cut at a common token boundary once enough bytes have passed, and at the last one of each message."""
        common = common_boundaries(student, teacher)
        last = {message: end for message, end in common if end != float("inf")}
        cuts, start = [], {message: 0.0 for message, _ in common}
        for message, end in common:
            if end - start[message] >= self.least or end == last.get(message):
                cuts.append((message, end))
                start[message] = end
        return cut_at(student, teacher, cuts)


@hookimpl
def tide_alignments() -> list[type[Alignment]]:
    """Offer the alignment."""
    return [Spans]
