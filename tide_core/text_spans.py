"""Words and lines, as the student's tokens show them: coarser spans over which a loss may sum chunks.

Shapes: B rows, L tokens, n = B * L tokens in row-major order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import Resolution, TextTokenizer

LONGEST = 128
"""Tokens after which a span ends all the same, so that a paragraph on one line does not fill the head's memory."""


class SpanNumbers:
    """Numbers the words and lines of token ids; built once per tokenizer.

    A token belongs to the span that its first byte belongs to. A line ends after a token that holds a newline, so several
    newlines in one token end one line. A word is a run of white space and what follows it up to the next white space;
    indentation belongs to the word after it, a newline that stands alone is a word. Text without spaces (Chinese,
    Japanese) is one word per line. A token that is no text (end of turn, padding, unknown) is a word and a line of its
    own. Words never cross lines.

    Where no piece of the vocabulary holds white space (WordPiece), a word starts where ``decode`` puts a space, and lines
    cannot be told apart: a document is one line.

    A word of more than ``longest`` tokens is cut after each as many; a line is cut before the first word that starts
    beyond each multiple of ``longest`` tokens, so that no line has twice as many.
    """

    def __init__(self, tokenizer: TextTokenizer, *, longest: int = LONGEST) -> None:
        pieces = [None if piece is None else piece.decode(errors="replace") for piece in tokenizer.token_bytes()]
        self._longest = longest
        self._special = _flags([piece is None for piece in pieces])
        self._newline = _flags([piece is not None and "\n" in piece for piece in pieces])
        self._blank = _flags([piece is not None and piece.isspace() for piece in pieces])
        self._begins_white = _flags([piece is not None and piece[:1].isspace() for piece in pieces])
        self._ends_white = _flags([piece is not None and piece[-1:].isspace() for piece in pieces])
        if not self._begins_white.any():
            self._begins_white = _spaced_by_decoding(tokenizer, pieces)

    def number(self, ids: Tensor, documents: Tensor | None = None) -> dict[Resolution, Tensor]:
        """Clean ids [B, L] int64 and documents [B, L] -> number of each token's word and line, each [B, L] int64.

        Numbers rise over the whole batch, row by row; each row, and each document of a packed row, starts anew.
        """
        flat = ids.reshape(-1)
        line = self._line_starts(flat, _text_starts(ids, documents))
        word = _cut(line | self._word_starts(flat), self._longest)
        begins = _begin(word)
        line = line | _changes((begins - _begin(line)) // self._longest)
        return {"word": _numbered(word).view(ids.shape), "line": _numbered(line).view(ids.shape)}

    def _line_starts(self, ids: Tensor, text_starts: Tensor) -> Tensor:
        special = self._special[ids]
        return text_starts | special | _after(special | self._newline[ids])

    def _word_starts(self, ids: Tensor) -> Tensor:
        spaced = self._begins_white[ids] | _after(self._ends_white[ids])
        return spaced & ~_after(self._blank[ids])


def _flags(values: Sequence[bool]) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


def _spaced_by_decoding(tokenizer: TextTokenizer, pieces: Sequence[str | None]) -> Tensor:
    """Whether decoding puts white space before a piece that follows another, for tokenizers whose pieces hold none."""
    letters = (i for i, piece in enumerate(pieces) if piece is not None and len(piece) == 1 and piece.isalpha())
    first = next(letters, None)
    if first is None:
        return torch.zeros(len(pieces), dtype=torch.bool)
    after = len(tokenizer.decode([first]))
    known = (piece is not None and tokenizer.decode([first, i])[after:][:1].isspace() for i, piece in enumerate(pieces))
    return _flags(list(known))


def _text_starts(ids: Tensor, documents: Tensor | None) -> Tensor:
    """[n] bool: the first token of each row and document."""
    starts = torch.zeros(ids.shape, dtype=torch.bool)
    starts[:, :1] = True
    if documents is not None:
        starts[:, 1:] |= documents[:, 1:] != documents[:, :-1]
    return starts.reshape(-1)


def _after(flag: Tensor) -> Tensor:
    """[n] bool -> whether the token before has the flag."""
    return torch.nn.functional.pad(flag[:-1], (1, 0)) if len(flag) else flag


def _changes(number: Tensor) -> Tensor:
    """[n] int64 -> whether the number differs from that of the token before."""
    changed = torch.zeros_like(number, dtype=torch.bool)
    changed[1:] = number[1:] != number[:-1]
    return changed


def _begin(starts: Tensor) -> Tensor:
    """Span starts [n] bool -> place [n] at which the span of each token begins; the first token starts a span."""
    places = torch.arange(len(starts))
    return torch.where(starts, places, 0).cummax(0).values if len(starts) else places


def _cut(starts: Tensor, longest: int) -> Tensor:
    """Span starts [n] bool -> the starts once spans of more than ``longest`` tokens are cut after each as many."""
    return starts | ((torch.arange(len(starts)) - _begin(starts)) % longest == 0)


def _numbered(starts: Tensor) -> Tensor:
    return starts.cumsum(0) - 1
