"""Block-wise parallel decoding of masked diffusion models, as policies that combine freely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from .masked import MaskedSampler

if TYPE_CHECKING:
    from .policies import Policy

Commit = Literal["quota", "threshold", "threshold_or_quota", "first_hitting", "entropy_budget"]
Score = Literal["confidence", "margin", "entropy", "random"]
Revise = Literal["never", "rescaled", "confidence"]
EndOfTurn = Literal["free", "last", "never"]


class BlockSampler(MaskedSampler):
    """Fill blocks of mask tokens from left to right, several tokens of a block at a time.

    Independent policies: how many tokens a step commits (``commit``), which ones (``score``), whether they are committed
    for good (``revise``), and what is cached. Scores lie in [0, 1] and come from the untempered distribution, since
    tempered ones saturate and decode left to right: ``confidence`` is the chosen token's probability, ``margin`` the gap
    between the two likeliest tokens, ``entropy`` exp(-entropy), ``random`` a uniform number. Every step commits at least
    one token.

    ``first_hitting`` draws for every position the time in (0, 1] at which the linear schedule uncovers it: one token per
    step in the order of these times, which is the ancestral sampler without its error of discretisation; with
    ``steps_per_block`` k it is the ancestral sampler of k steps itself, of which those that uncover nothing cost no pass.
    ``entropy_budget`` (EB-Sampler) commits the best-scored positions as long as the sum of their entropies without the
    largest one stays within the budget, which bounds what is lost by drawing them independently.

    ``revise`` is ReMDM: a step takes back each token of the unfinished block with probability sigma, and commits as many
    others instead. With m of the block's tokens masked, h held and c due, ``rescaled`` means
    sigma = revision * min(1, (m - c) / h), and ``confidence`` shares that among the held tokens by
    softmax(-probability with which each was committed). The number of steps stays the same.

    Block-diffusion and block-causal models keep the keys and values of finished blocks, which is exact; their blocks lie
    where they lay in training. A bidirectional model reads prompt and whole answer at every step; its blocks (LLaDA's
    semi-autoregressive decoding) only order the work. A row ends at its first end-of-turn token, and finished rows are no
    longer computed.
    """

    name: Literal["block"] = "block"
    version: ClassVar[int] = 2

    commit: Commit = Field(
        default="quota",
        description="quota: tokens_per_step tokens; threshold: all that score at least threshold, or else the best one; "
        "threshold_or_quota: all that score at least threshold, and no fewer than tokens_per_step; first_hitting: those "
        "whose time has come; entropy_budget: the best ones whose entropies fit the budget",
    )
    score: Score = Field(
        default="confidence", description="how positions are ranked: confidence, margin, entropy, random"
    )
    tokens_per_step: PositiveInt = Field(default=1, description="tokens of a row that a step commits under a quota")
    steps_per_block: PositiveInt | None = Field(
        default=None,
        description="steps in which a block is written: a quota that is spread evenly, or first_hitting's time grid",
    )
    threshold: float = Field(default=0.9, gt=0.0, le=1.0, description="score from which a token is committed at once")
    entropy_budget: NonNegativeFloat = Field(default=0.1, description="nats that a step of entropy_budget may spend")
    revise: Revise = Field(
        default="never", description="whether ReMDM takes tokens back: never, rescaled, confidence (the unsure ones)"
    )
    revision: float = Field(
        default=0.1, gt=0.0, le=1.0, description="share of the largest possible probability of taking a token back"
    )
    end_of_turn: EndOfTurn = Field(
        default="free",
        description="free: ranked as any token; last: committed after the block's other tokens; never: not written",
    )
    block_length: PositiveInt | None = Field(
        default=None, description="tokens of a block; default: the model's block size, or 32 where it has none"
    )

    @model_validator(mode="after")
    def _policies_fit_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        if self.score == "random" and self.commit in ("threshold", "threshold_or_quota"):
            yield "random scores mean nothing to a threshold: use commit: quota, or another score"
        if self.steps_per_block is not None and self.commit in ("threshold", "entropy_budget"):
            yield f"commit: {self.commit} takes as many steps as it needs: leave steps_per_block out"
        if self.tokens_per_step != 1 and self.steps_per_block is not None:
            yield "tokens_per_step and steps_per_block both set the quota: give one of them"
        if self.tokens_per_step != 1 and self.commit in ("first_hitting", "entropy_budget"):
            yield f"commit: {self.commit} has no quota: leave tokens_per_step out"
        if self.revise != "never" and self.commit not in ("quota", "threshold_or_quota"):
            yield f"revise needs a quota, which replaces what is taken back, but commit: {self.commit} has none"
        if self.end_of_turn == "last" and self.commit == "first_hitting":
            yield "commit: first_hitting does not rank tokens: end_of_turn: last has no meaning there"
        if self.end_of_turn == "never" and self.min_new_tokens:
            yield "end_of_turn: never already ends no turn: leave min_new_tokens out"

    def policy(self) -> Policy:
        """Return the policies as they are set."""
        from .block_policy import BlockPolicy

        return BlockPolicy(self)
