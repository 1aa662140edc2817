"""Whether the tokens of a chunk still say what the text says."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import IntEnum


class Fidelity(IntEnum):
    """What is left of a text in its tokens."""

    EXACT = 0
    """The tokens spell the bytes of the text."""
    NORMALISED = 1
    """They spell it up to letter case, accents, white space and Unicode's normal forms."""
    LOST = 2
    """Something else, or an unknown token, stands in its place."""


def fidelity(raw: bytes, pieces: Sequence[bytes | None], *, opening: bool) -> Fidelity:
    """Compare the bytes of a text with those of its tokens; ``None`` is an unknown token.

    ``opening``: the text starts its message, where SentencePiece puts a space that the text does not have.
    """
    known = [piece for piece in pieces if piece is not None]
    if len(known) < len(pieces):
        return Fidelity.LOST
    spelled = b"".join(known)
    if spelled == raw or (opening and spelled == b" " + raw):
        return Fidelity.EXACT
    return Fidelity.NORMALISED if folded(spelled) == folded(raw) else Fidelity.LOST


def folded(raw: bytes) -> str:
    """Return a text without letter case, marks (Unicode's Mn), white space and compatibility forms."""
    text = raw.decode("utf-8", "backslashreplace").casefold()
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(one for one in text if not one.isspace() and unicodedata.category(one) != "Mn")
