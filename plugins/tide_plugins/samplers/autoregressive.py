"""Token by token decoding of autoregressive models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from tide_specs import Denoiser, Sampled, Sampler, Watch


class AutoregressiveSampler(Sampler):
    """Write one token after the other, each from the model's distribution over the next one."""

    name: Literal["autoregressive"] = "autoregressive"

    temperature: NonNegativeFloat = Field(
        default=0.0, description="0: the likeliest token; 1: the model's distribution"
    )
    top_k: NonNegativeInt = Field(default=0, description="draw from so many of the likeliest tokens; 0: from all")
    top_p: float = Field(
        default=1.0, gt=0.0, le=1.0, description="draw from the fewest likeliest tokens that hold this probability"
    )
    min_new_tokens: NonNegativeInt = Field(default=0, description="tokens that an answer has before its turn may end")
    cache: bool = Field(default=True, description="keep keys and values of what is written")

    def sample(
        self,
        denoiser: Denoiser,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Sampled:
        """Continue each prompt. Raises ``ConfigError`` for a model that is not autoregressive, or an empty prompt."""
        from .next_token import decode

        return decode(self, denoiser, prompts, max_new_tokens=max_new_tokens, seed=seed, watch=watch)
