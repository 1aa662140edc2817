"""Block-wise parallel decoding of masked diffusion models, as policies that combine freely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from tide_specs import Denoiser, Sampled, Sampler

Commit = Literal["quota", "threshold", "threshold_or_quota"]
Score = Literal["confidence", "margin", "entropy", "random"]


class BlockSampler(Sampler):
    """Fill blocks of mask tokens from left to right, several tokens of a block at a time.

    Independent policies: how many tokens a step commits (``commit``), which ones (``score``), and what is cached. Scores
    lie in [0, 1] and come from the untempered distribution, since tempered ones saturate and decode left to right:
    ``confidence`` is the chosen token's probability, ``margin`` the gap between the two likeliest tokens, ``entropy``
    exp(-entropy), ``random`` a uniform number. Tokens are committed for good.

    Block-diffusion and block-causal models keep the keys and values of finished blocks, which is exact; their blocks lie
    where they lay in training. A bidirectional model reads prompt and whole answer at every step; its blocks (LLaDA's
    semi-autoregressive decoding) only order the work. A row ends at its first end-of-turn token, and finished rows are no
    longer computed.
    """

    name: Literal["block"] = "block"

    commit: Commit = Field(
        default="quota",
        description="quota: tokens_per_step tokens; threshold: all that score at least threshold, or else the best one; "
        "threshold_or_quota: all that score at least threshold, and no fewer than tokens_per_step",
    )
    score: Score = Field(
        default="confidence", description="how positions are ranked: confidence, margin, entropy, random"
    )
    tokens_per_step: PositiveInt = Field(default=1, description="tokens of a row that a step commits under a quota")
    threshold: float = Field(default=0.9, gt=0.0, le=1.0, description="score from which a token is committed at once")
    temperature: NonNegativeFloat = Field(
        default=0.0, description="0: the likeliest token; 1: the model's distribution"
    )
    block_length: PositiveInt | None = Field(
        default=None, description="tokens of a block; default: the model's block size, or 32 where it has none"
    )
    cache: bool = Field(default=True, description="keep keys and values of finished blocks where that is exact")

    @model_validator(mode="after")
    def _has_scores_for_its_threshold(self) -> Self:
        if self.score == "random" and self.commit != "quota":
            raise ValueError("random scores mean nothing to a threshold: use commit: quota, or another score")
        return self

    def sample(
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, seed: int = 0
    ) -> Sampled:
        """Continue each prompt. Raises ``ConfigError`` for a model without mask token or a block that does not fit."""
        from .decoding import decode

        return decode(self, denoiser, prompts, max_new_tokens=max_new_tokens, seed=seed)
