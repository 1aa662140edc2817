"""The decoding loop of the samplers that replace mask tokens; it reads top to bottom.

Shapes: B rows still being written, W positions of a window, n open positions, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import Denoiser, Sampled, Watch

from .block_policy import PROBABILITIES
from .board import Board, View
from .inputs import Texts
from .masked import MaskedSampler
from .policies import Decision, Policy, Proposal
from .proposing import Wanted, propose
from .randomness import RowRandomness
from .readers import DEFAULT_BLOCK, Reader, reader_for
from .watching import tell


@torch.no_grad()
def decode(
    sampler: MaskedSampler, denoiser: Denoiser, texts: Texts, *, seed: int, watch: Watch | None = None
) -> Sampled:
    """Replace the mask tokens of texts."""
    rows = [row for row, ids in enumerate(texts.ids) if texts.mask in ids]
    results = [[] if texts.ends else list(ids) for ids in texts.ids]
    if not rows:
        return Sampled(ids=results, forwards=0)
    decoding = Decoding(sampler, denoiser, texts, rows, seed, watch)
    decoding.run(results)
    return Sampled(ids=results, forwards=decoding.reader.forwards, positions=decoding.reader.positions)


class Decoding:
    """One call of a sampler: its board, how it is read, and who decides."""

    def __init__(
        self,
        sampler: MaskedSampler,
        denoiser: Denoiser,
        texts: Texts,
        rows: Sequence[int],
        seed: int,
        watch: Watch | None,
    ) -> None:
        self.sampler, self.denoiser, self.watch = sampler, denoiser, watch
        self.policy = sampler.policy()
        self.reader = _reader(sampler, self.policy, denoiser, texts, rows)
        device = denoiser.head().weight.device
        self.board = Board(
            texts,
            rows,
            [self.reader.start(texts.ids[row].index(texts.mask)) for row in rows],
            width=self.reader.width,
            part=self.reader.part,
            end_of_turn=denoiser.tokenizer.end_of_turn_token_id,
            device=device,
        )
        known = [ids[:prompt] if texts.ends else ids for ids, prompt in zip(texts.ids, texts.prompts, strict=True)]
        self.randomness = RowRandomness(known, seed, device)
        self.wanted = Wanted(
            forbidden=texts.mask,
            end_of_turn=self.board.end_of_turn,
            score=self.policy.score,
            temperature=sampler.temperature,
            guidance=sampler.guidance,
            entropies=self.policy.entropies,
            probabilities=self.policy.probabilities,
        )

    def run(self, results: list[list[int]]) -> None:
        """Step until every row is finished; put them into ``results``."""
        self.policy.begin(self.board, self.randomness)
        self.reader.begin(self.board)
        while self.board.rows:
            view = self.board.view()
            open_ = self.policy.open(view)
            counts = self._settle(view, open_, results)
            if counts is not None:
                self._step(view, open_, counts)

    def _settle(self, view: View, open_: Tensor, results: list[list[int]]) -> list[int] | None:
        """Take finished rows off the board, or move on from finished blocks; else count the open positions of each row.

        Waits for the device once.
        """
        finished_rows = self.board.finished(view, settled=self.policy.revises)
        done_rows = ~view.masked.any(dim=1)
        finished, done, counts = torch.stack([finished_rows.long(), done_rows.long(), open_.sum(dim=1)]).tolist()
        if any(finished):
            self._retire(finished, results)
            return None
        if any(done):
            self.reader.advance(self.board, view, [bool(row) for row in done])
            return None
        return counts

    def _retire(self, finished: Sequence[int], results: list[list[int]]) -> None:
        for place in (place for place, over in enumerate(finished) if over):
            results[self.board.rows[place]] = self.board.written(place)
        kept = self.board.keep([place for place, over in enumerate(finished) if not over])
        if self.board.rows:
            self.reader.keep(kept)

    def _step(self, view: View, open_: Tensor, counts: Sequence[int]) -> None:
        proposal = self._propose(view, open_, counts)
        decision = self.policy.decide(proposal, open_, view, self.board, self.randomness)
        self.board.write(view, decision.chosen, proposal.tokens, decision.taken)
        if proposal.probabilities is not None:
            self.board.note(PROBABILITIES, view, decision.chosen, proposal.probabilities)
        self._tell(view, proposal, decision)

    def _propose(self, view: View, open_: Tensor, counts: Sequence[int]) -> Proposal:
        """Ask the model; only open positions reach the head, and only they hold something."""
        states = self.reader.hidden(self.board, view).flatten(0, 1)
        # Their number is known, so that finding them does not wait for the device.
        index = (~open_).flatten().to(torch.uint8).argsort(stable=True)[: sum(counts)]
        owners = [self.randomness.generators[row] for row, count in zip(self.board.rows, counts, strict=True) for _ in range(count)]  # fmt: skip
        found = propose(
            states[index],
            self.denoiser.head(),
            self.wanted,
            owners,
            unconditional=states[index + open_.numel()] if self.reader.guided else None,
            unended=self._unended(view, index),
        )
        scores = _spread(found.scores, index, open_)
        if self.policy.score == "random":
            scores = self.randomness.uniforms(self.board.rows, open_.shape[1])
        return Proposal(
            tokens=_spread(found.tokens, index, open_),
            scores=scores,
            entropies=None if found.entropies is None else _spread(found.entropies, index, open_),
            probabilities=None if found.probabilities is None else _spread(found.probabilities, index, open_),
        )

    def _unended(self, view: View, index: Tensor) -> Tensor | None:
        """Return at which open positions [n] no end-of-turn token may be written; ``None`` where it may everywhere."""
        if not self.board.ends or not self.policy.end_of_turn:
            return torch.ones_like(index, dtype=torch.bool)
        if not self.sampler.min_new_tokens:
            return None
        return (view.places < self.board.first[:, None] + self.sampler.min_new_tokens).flatten()[index]

    def _tell(self, view: View, proposal: Proposal, decision: Decision) -> None:
        if self.watch is not None:
            tell(self.watch, self.board, view, proposal, decision, self.reader.forwards)


def _reader(sampler: MaskedSampler, policy: Policy, denoiser: Denoiser, texts: Texts, rows: Sequence[int]) -> Reader:
    longest = max(len(texts.ids[row]) - texts.ids[row].index(texts.mask) for row in rows)
    return reader_for(
        denoiser,
        len(rows),
        block_length=policy.block_length,
        default=longest if policy.whole else DEFAULT_BLOCK,
        cache=sampler.cache,
        guided=sampler.guidance > 0,
    )


def _spread(values: Tensor, index: Tensor, open_: Tensor) -> Tensor:
    """Values [n] at flat positions ``index`` [n] -> [B, W], zero elsewhere."""
    flat = torch.zeros(open_.numel(), dtype=values.dtype, device=values.device)
    return flat.scatter(0, index, values).view_as(open_)
