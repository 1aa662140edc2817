"""What the samplers of mask-predicting models have in common: options, and the two ways to use them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from tide_specs import Denoiser, Sampled, Sampler, Watch

if TYPE_CHECKING:
    from .policies import Policy


class MaskedSampler(Sampler):
    """Writes by replacing mask tokens; a subclass says which of them a step replaces."""

    temperature: NonNegativeFloat = Field(
        default=0.0, description="0: the likeliest token; 1: the model's distribution"
    )
    guidance: NonNegativeFloat = Field(
        default=0.0,
        description="weight w of classifier-free guidance: logits are u + (1 + w) (c - u), where u does not see the prompt; "
        "0: off; otherwise every pass holds twice the rows",
    )
    min_new_tokens: NonNegativeInt = Field(default=0, description="tokens that an answer has before its turn may end")
    cache: bool = Field(default=True, description="keep keys and values of finished blocks where that is exact")

    @abstractmethod
    def policy(self) -> Policy:
        """Return what decides which mask tokens a step replaces."""
        raise NotImplementedError

    def sample(
        self,
        denoiser: Denoiser,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Sampled:
        """Continue each prompt. Raises ``ConfigError`` for options that do not fit, ``DataError`` for such prompts."""
        from .decoding import decode
        from .inputs import continuations

        texts = continuations(self, denoiser, prompts, max_new_tokens)
        return decode(self, denoiser, texts, seed=seed, watch=watch)

    def infill(
        self, denoiser: Denoiser, texts: Sequence[Sequence[int]], *, seed: int = 0, watch: Watch | None = None
    ) -> Sampled:
        """Fill in the mask tokens of each text; what stands around them is kept, and no turn ends inside."""
        from .decoding import decode
        from .inputs import gaps

        return decode(self, denoiser, gaps(self, denoiser, texts), seed=seed, watch=watch)
