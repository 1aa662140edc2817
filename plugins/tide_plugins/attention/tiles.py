"""Which rectangles of the attention square hold anything visible: the structured lowering, as plain numbers.

A tile is a span of queries and the spans of keys that any of them may see. Tiles cover every query once, in order.
For [x_t, x_0] of L tokens in tiles of w tokens, the rectangles cover about L^2 (1 + 2w/L) of the 4 L^2 products.
"""

from __future__ import annotations

from dataclasses import dataclass

from tide_specs import AttentionLayout, BlockCausal, BlockDiffusion, Causal

Span = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """Queries [start, stop) and the key spans that they may see.

    ``complete``: by structure alone, every query of the tile sees every key of its spans.
    """

    queries: Span
    keys: tuple[Span, ...]
    complete: bool = False

    @property
    def area(self) -> int:
        """Products of one head that the tile computes."""
        return (self.queries[1] - self.queries[0]) * sum(stop - start for start, stop in self.keys)


def tiles(layout: AttentionLayout, size: int) -> list[Tile]:
    """Split ``layout`` into tiles of about ``size`` queries, whole blocks each; an unknown layout is one tile."""
    if type(layout) is BlockDiffusion:
        return _block_diffusion(layout, size)
    if type(layout) is BlockCausal:
        return _prefix_tiles(layout.length, layout.block, size, start=0, complete=True)
    if type(layout) is Causal:
        return _prefix_tiles(layout.length, 1, size, start=0, complete=True)
    return [Tile((0, layout.query_length), ((0, layout.key_length),))]


def _steps(length: int, block: int, size: int) -> list[Span]:
    width = max(1, size // block) * block
    return [(begin, min(begin + width, length)) for begin in range(0, length, width)]


def _prefix_tiles(length: int, block: int, size: int, *, start: int, complete: bool) -> list[Tile]:
    """Tiles of a block-causal stream whose first position is ``start``: each sees everything up to its own end."""
    return [
        Tile((start + begin, start + end), ((start, start + end),), complete and end - begin <= block)
        for begin, end in _steps(length, block, size)
    ]


def _block_diffusion(layout: BlockDiffusion, size: int) -> list[Tile]:
    found: list[Tile] = []
    clean = layout.start_of(0)
    for stream in sorted(range(layout.streams + 1), key=layout.start_of):
        start = layout.start_of(stream)
        if stream == 0:
            found += _prefix_tiles(layout.length, layout.block, size, start=start, complete=not layout.causal)
        else:
            found += _noisy_tiles(layout, size, start=start, clean=clean)
    return found


def _noisy_tiles(layout: BlockDiffusion, size: int, *, start: int, clean: int) -> list[Tile]:
    """Tiles of a noisy stream: its own blocks, and the clean blocks before the last of them."""
    found: list[Tile] = []
    for begin, end in _steps(layout.length, layout.block, size):
        earlier = (end - 1) // layout.block * layout.block
        own = (start + begin, start + end)
        keys = ((clean, clean + earlier), own) if earlier else (own,)
        found.append(Tile(own, keys, end - begin <= layout.block and not layout.causal))
    return found
