"""Symbolic attention layouts: which position may see which, without a matrix.

Shapes: B rows, Q query positions, K key positions, L tokens of the clean sequence, S noisy streams.
A layout is plain data. Backends lower it to their own form; ``dense()`` is the oracle that they are tested against.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionLayout:
    """What may see what among the positions of one forward pass.

    ``length``: L, tokens of the (padded) clean sequence. ``lengths`` [B]: valid tokens of each row, ``None`` when all
    are valid. ``documents`` [B, L]: document number of each token when rows are packed; tokens of different documents
    never see each other.

    Padding: a key beyond ``lengths`` is seen by nobody but itself, so that no row of the mask is ever empty (an empty
    row is NaN in a softmax). What a padded *query* computes is never read.

    Two layouts are equal when their plain numbers are equal and their tensors are the *same objects*: comparing and
    hashing never look into a tensor, so that a layout can key a cache without waiting for a device. Tensors handed to
    a layout must therefore not be changed in place. A subclass is declared with ``eq=False`` to keep this.
    """

    kind: ClassVar[str] = ""

    length: int
    lengths: Tensor | None = None
    documents: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that describe no layout; raises ``ValueError``."""
        _at_least_one(self, "length")

    def __eq__(self, other: object) -> bool:
        """Equal numbers and identical tensors."""
        return type(self) is type(other) and self._identity() == other._identity()  # pyright: ignore

    def __hash__(self) -> int:
        """Agrees with ``==``."""
        return hash((type(self), self._identity()))

    def _identity(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(id(value) if hasattr(value, "data_ptr") else value for value in values)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that describe rows, by field name; empty when all rows are alike."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if hasattr(value, "data_ptr")}

    @property
    def structure(self) -> AttentionLayout:
        """This layout without its tensors: what a lowered form depends on when rows are alike, and a safe cache key."""
        return replace(self, **dict.fromkeys(self.tensors()))

    @property
    def query_length(self) -> int:
        """Q, the number of query positions."""
        return self.length

    @property
    def key_length(self) -> int:
        """K, the number of key positions."""
        return self.length

    @property
    def query_offset(self) -> int:
        """Position index of the first query; keys count from 0."""
        return self.key_length - self.query_length

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Return where ``key`` is visible from ``query``, for broadcastable index tensors, padding and documents aside.

        Elementwise index arithmetic only, so that it serves both ``dense()`` and a flex-attention ``mask_mod``.
        """
        raise NotImplementedError

    def token_of(self, index: Tensor) -> Tensor:
        """Return the token, 0..L-1, that each position index stands for (several streams may hold one token)."""
        return index

    def distance(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Return by how many tokens ``key`` lies before ``query`` in the text; negative when it lies behind."""
        return self.token_of(query) - self.token_of(key)

    def visible(self, row: Tensor, query: Tensor, key: Tensor, *, window: int | None = None) -> Tensor:
        """Return where ``key`` is visible from ``query`` in ``row``, padding, documents and window included.

        The arguments are broadcastable index tensors: all of them scalars inside a flex-attention ``mask_mod``, or
        shaped [B, 1, 1], [1, Q, 1] and [1, 1, K] for a mask. ``query`` counts from ``query_offset``.
        ``window``: a query sees only keys less than ``window`` tokens away, on either side.
        """
        seen = self.pattern(query, key)
        if window is not None:
            seen = seen & (self.distance(row, query, key).abs() < window)
        if self.documents is not None:
            documents = self.documents.to(query.device)
            seen = seen & (documents[row, self.token_of(query)] == documents[row, self.token_of(key)])
        if self.lengths is not None:
            valid = self.token_of(key) < self.lengths.to(query.device)[row]
            seen = (seen & valid) | (query == key)
        return seen

    def with_rows(self, lengths: Tensor | None, documents: Tensor | None = None) -> AttentionLayout:
        """Return this layout for rows of these lengths and documents."""
        return replace(self, lengths=lengths, documents=documents)

    def dense(self, *, device: torch.device | str | None = None, window: int | None = None) -> Tensor:
        """Return the boolean mask [B or 1, 1, Q, K]; true means "may see". ``window``: see ``visible``."""
        import torch

        tensors = list(self.tensors().values())
        if device is None and tensors:
            device = tensors[0].device
        row = torch.arange(tensors[0].shape[0] if tensors else 1, device=device)
        query = torch.arange(self.query_length, device=device) + self.query_offset
        key = torch.arange(self.key_length, device=device)
        seen = self.visible(row[:, None, None], query[None, :, None], key[None, None, :], window=window)
        return seen[:, None]


def _at_least_one(layout: AttentionLayout, *names: str) -> None:
    for name in names:
        value = getattr(layout, name)
        if value < 1:
            raise ValueError(f"{type(layout).__name__}: {name} must be at least 1, not {value}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Full(AttentionLayout):
    """Every position sees every position: BERT, LLaDA, Dream."""

    kind: ClassVar[str] = "full"

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """True everywhere."""
        return (query >= 0) & (key >= 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Causal(AttentionLayout):
    """A position sees itself and what came before: autoregressive models."""

    kind: ClassVar[str] = "causal"

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Key not after query."""
        return key <= query


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockCausal(AttentionLayout):
    """A position sees its own block and all earlier blocks: LLaDA2, SDAR.

    Blocks are counted from the start of the row, also when rows are packed (documents start at multiples of ``block``).
    """

    kind: ClassVar[str] = "block_causal"

    block: int

    def __post_init__(self) -> None:
        """Refuse numbers that describe no layout; raises ``ValueError``."""
        _at_least_one(self, "length", "block")

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Key's block not after query's block."""
        return key // self.block <= query // self.block


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockDiffusion(AttentionLayout):
    """Noisy streams beside the clean sequence: [x_t, x_0], as BD3LM trains (method of block diffusion).

    Positions are ``streams`` noisy copies of the L tokens and one clean copy; ``order`` says whether the noisy ones come
    first (``"noisy_first"``: [x_t, x_0]) or last (``"clean_first"``: [x_0, x_t]). A noisy token sees its own block of
    its own stream and the clean tokens of earlier blocks; a clean token sees the clean tokens of its own and earlier
    blocks. With ``causal=True`` visibility inside a block is causal as well, for the noisy and the clean stream alike.
    Two streams serve the two passes of a complementary teacher view with one clean stream.

    Blocks are counted from the start of the row, also when rows are packed (documents start at multiples of ``block``;
    where one does not, the block it begins in is cut at the document's border). ``lengths`` and ``documents`` speak of
    tokens, so they hold for every stream alike, and so does a window: it is a distance between tokens.
    """

    kind: ClassVar[str] = "block_diffusion"

    block: int
    order: str = "noisy_first"
    streams: int = 1
    causal: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that describe no layout; raises ``ValueError``."""
        _at_least_one(self, "length", "block", "streams")
        if self.order not in ("noisy_first", "clean_first"):
            raise ValueError(f"BlockDiffusion: order must be 'noisy_first' or 'clean_first', not {self.order!r}")

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

    def start_of(self, stream: int) -> int:
        """Return the index of a stream's first position; ``stream`` as in ``stream_of``."""
        if self.order == "clean_first":
            return stream * self.length
        return (stream - 1) % (self.streams + 1) * self.length

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Own noisy block, earlier clean blocks; clean sees clean up to its own block."""
        query_stream, key_stream = self.stream_of(query), self.stream_of(key)
        query_token, key_token = self.token_of(query), self.token_of(key)
        query_block, key_block = query_token // self.block, key_token // self.block
        within = (key_block == query_block) & (query_stream == key_stream)
        if self.causal:
            within = within & (key_token <= query_token)
        return within | ((key_stream == 0) & (key_block < query_block))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cached(AttentionLayout):
    """Decoding: ``length`` new tokens behind a key/value cache of ``cached`` slots.

    Keys are the ``cached`` slots followed by the new tokens. Row b sees slots below ``cached_lengths[b]`` (all of them
    when ``None``); its new tokens continue the text where those slots end, so that a window, and blocks, count in
    tokens of the text. Among themselves the new tokens see everything, or, with ``causal=True``, only what came before,
    or, with ``block``, their own and earlier blocks of the text. ``lengths`` [B]: valid new tokens. Rows that are
    decoded are not packed: ``documents`` is refused.
    """

    kind: ClassVar[str] = "cached"

    cached: int
    cached_lengths: Tensor | None = None
    causal: bool = False
    block: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that describe no layout; raises ``ValueError``."""
        _at_least_one(self, "length", *(() if self.block is None else ("block",)))
        if self.cached < 0:
            raise ValueError(f"Cached: cached must not be negative, not {self.cached}")
        if self.documents is not None:
            raise ValueError("Cached: rows with a key/value cache cannot be packed; leave documents out")

    @property
    def key_length(self) -> int:
        """Cached slots plus new tokens."""
        return self.cached + self.length

    def token_of(self, index: Tensor) -> Tensor:
        """New token 0..L-1; negative for cached slots."""
        return index - self.cached

    def pattern(self, query: Tensor, key: Tensor) -> Tensor:
        """Everything cached, and the new tokens; ``query`` counts from the first cached slot."""
        if self.causal:
            return key <= query
        return (query >= 0) & (key >= 0)

    def position_of(self, row: Tensor, index: Tensor) -> Tensor:
        """Return the place in the row's text of a slot or new token."""
        if self.cached_lengths is None:
            return index
        unused = self.cached - self.cached_lengths.to(index.device)[row]
        return index - unused * (index >= self.cached)

    def distance(self, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """Distance in the row's text, unused slots not counted."""
        return self.position_of(row, query) - self.position_of(row, key)

    def visible(self, row: Tensor, query: Tensor, key: Tensor, *, window: int | None = None) -> Tensor:
        """See the base class; slots that a row has not filled are hidden."""
        seen = super().visible(row, query, key, window=window)
        if self.block is not None:
            block = self.position_of(row, query) // self.block
            seen = seen & (self.position_of(row, key) // self.block <= block)
        if self.cached_lengths is not None:
            seen = seen & ((key >= self.cached) | (key < self.cached_lengths.to(query.device)[row]))
        return seen
