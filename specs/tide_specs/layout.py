"""Symbolic attention layouts: which position may see which, without a matrix.

Shapes: B rows, Q query positions, K key positions, L tokens of the clean sequence, S noisy streams.
A layout is plain data. Backends lower it to their own form; ``dense()`` is the oracle that they are tested against.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionLayout:
    """What may see what among the positions of one forward pass.

    ``length``: L, tokens of the (padded) clean sequence. ``lengths`` [B]: valid tokens of each row, ``None`` when all
    are valid. ``documents`` [B, L]: document number of each token when rows are packed; tokens of different documents
    never see each other.

    Padding: a key beyond ``lengths`` is seen by nobody but itself, so that no row of the mask is ever empty (an empty
    row is NaN in a softmax). What a padded *query* computes is never read.
    """

    kind: ClassVar[str] = ""

    length: int
    lengths: Tensor | None = None
    documents: Tensor | None = None

    @property
    def query_length(self) -> int:
        """Q, the number of query positions."""
        return self.length

    @property
    def key_length(self) -> int:
        """K, the number of key positions."""
        return self.length

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Return where ``key`` is visible from ``query``, for broadcastable index tensors, padding and documents aside.

        Elementwise index arithmetic only, so that it serves both ``dense()`` and a flex-attention ``mask_mod``.
        """
        raise NotImplementedError

    def token_of(self, index: Tensor) -> Tensor:
        """Return the token, 0..L-1, that each position index stands for (several streams may hold one token)."""
        return index

    def with_rows(self, lengths: Tensor | None, documents: Tensor | None = None) -> AttentionLayout:
        """Return this layout for rows of these lengths and documents."""
        return replace(self, lengths=lengths, documents=documents)

    def dense(self, *, device: torch.device | str | None = None, window: int | None = None) -> Tensor:
        """Return the boolean mask [B or 1, 1, Q, K]; true means "may see".

        ``window``: a query at token i sees only keys whose token j has ``|i - j| < window``.
        """
        import torch

        if device is None and self.lengths is not None:
            device = self.lengths.device
        query = torch.arange(self.query_length, device=device)[:, None] + (self.key_length - self.query_length)
        key = torch.arange(self.key_length, device=device)[None, :]
        visible = self.pattern(query, key)[None]
        if window is not None:
            visible = visible & ((self.token_of(query) - self.token_of(key)).abs() < window)[None]
        if self.documents is not None:
            documents = self.documents.to(query.device)
            visible = visible & (documents[:, self.token_of(query)] == documents[:, self.token_of(key)])
        if self.lengths is not None:
            limit = self.lengths.to(query.device)[:, None, None]
            visible = (visible & (self.token_of(key)[None] < limit)) | (query == key)[None]
        return visible[:, None]


@dataclass(frozen=True, kw_only=True)
class Full(AttentionLayout):
    """Every position sees every position: BERT, LLaDA, Dream."""

    kind: ClassVar[str] = "full"

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """True everywhere."""
        return (query >= 0) & (key >= 0)


@dataclass(frozen=True, kw_only=True)
class Causal(AttentionLayout):
    """A position sees itself and what came before: autoregressive models."""

    kind: ClassVar[str] = "causal"

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Key not after query."""
        return key <= query


@dataclass(frozen=True, kw_only=True)
class BlockCausal(AttentionLayout):
    """A position sees its own block and all earlier blocks: LLaDA2, SDAR."""

    kind: ClassVar[str] = "block_causal"

    block: int

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Key's block not after query's block."""
        return key // self.block <= query // self.block


@dataclass(frozen=True, kw_only=True)
class BlockDiffusion(AttentionLayout):
    """Noisy streams beside the clean sequence: [x_t, x_0], as BD3LM trains (method of block diffusion).

    Positions are ``streams`` noisy copies of the L tokens and one clean copy; ``order`` says whether the noisy ones come
    first (``"noisy_first"``: [x_t, x_0]) or last (``"clean_first"``: [x_0, x_t]). A noisy token sees its own block of
    its own stream and the clean tokens of earlier blocks; a clean token sees the clean tokens of its own and earlier
    blocks. With ``causal=True`` visibility inside a block is causal as well, for the noisy and the clean stream alike.
    Two streams serve the two passes of a complementary teacher view with one clean stream.

    Blocks are counted from the start of the row, also when rows are packed (documents start at multiples of ``block``).
    """

    kind: ClassVar[str] = "block_diffusion"

    block: int
    order: str = "noisy_first"
    streams: int = 1
    causal: bool = False

    @property
    def query_length(self) -> int:
        """(streams + 1) L."""
        return self.length * (self.streams + 1)

    @property
    def key_length(self) -> int:
        """(streams + 1) L."""
        return self.query_length

    def token_of(self, index: Tensor) -> Tensor:
        """Position within its stream."""
        return index % self.length

    def stream_of(self, index: Tensor) -> Tensor:
        """Return 0 for the clean stream, 1..streams for the noisy ones."""
        stream = index // self.length
        if self.order == "clean_first":
            return stream
        return (stream + 1) % (self.streams + 1)

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Own noisy block, earlier clean blocks; clean sees clean up to its own block."""
        query_stream, key_stream = self.stream_of(query), self.stream_of(key)
        query_token, key_token = self.token_of(query), self.token_of(key)
        query_block, key_block = query_token // self.block, key_token // self.block
        within = (key_block == query_block) & (query_stream == key_stream)
        if self.causal:
            within = within & (key_token <= query_token)
        return within | ((key_stream == 0) & (key_block < query_block))


@dataclass(frozen=True, kw_only=True)
class Cached(AttentionLayout):
    """Decoding: ``length`` new tokens behind a key/value cache of ``cached`` slots.

    Keys are the ``cached`` slots followed by the new tokens. Row b sees slots below ``cached_lengths[b]`` (all of them
    when ``None``). Among themselves the new tokens see everything, or, with ``causal=True``, only what came before.
    """

    kind: ClassVar[str] = "cached"

    cached: int
    cached_lengths: Tensor | None = None
    causal: bool = False

    @property
    def key_length(self) -> int:
        """Cached slots plus new tokens."""
        return self.cached + self.length

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Everything cached, and the new tokens; ``query`` counts from the first cached slot."""
        if self.causal:
            return key <= query
        return (query >= 0) & (key >= 0)

    def dense(self, *, device: torch.device | str | None = None, window: int | None = None) -> Tensor:
        """Return the boolean mask [B or 1, 1, Q, K]; see the base class."""
        import torch

        if device is None and self.cached_lengths is not None:
            device = self.cached_lengths.device
        query = torch.arange(self.length, device=device)[:, None] + self.cached
        key = torch.arange(self.key_length, device=device)[None, :]
        visible = self.pattern(query, key)[None]
        filled = self.cached if self.cached_lengths is None else self.cached_lengths.to(query.device)[:, None, None]
        new = (key >= self.cached)[None]
        visible = visible & (new | (key[None] < filled))
        if window is not None:
            gap = self.cached - filled
            visible = visible & ((query[None] - gap) - torch.where(new, key[None] - gap, key[None]) < window)
            if not self.causal:
                visible = visible & (torch.where(new, key[None] - gap, key[None]) - (query[None] - gap) < window)
        if self.lengths is not None:
            limit = self.lengths.to(query.device)[:, None, None]
            visible = (visible & ((key[None] - self.cached) < limit)) | (query == key)[None]
        return visible[:, None]
