"""Decoding of models that denoise a canvas of random tokens, as DiffusionGemma does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from tide_specs import Denoiser, Sampled, Sampler, Watch


class CanvasSampler(Sampler):
    """Denoise one canvas after the other, from random tokens, under a bound on entropy (DiffusionGemma).

    For models that learned from random tokens in place of masked ones (corruption `uniform`). Every step draws a token for
    each position of the canvas and accepts those of lowest entropy: the k lowest whose entropies, the largest left out,
    add up to no more than `entropy_bound` nats, so that they are nearly independent of each other (arXiv 2505.24857). All
    other positions get new random tokens, those accepted earlier included. The temperature falls from t_max towards t_min.
    A canvas is finished when its likeliest tokens stay the same and the mean entropy is small, or after
    `max_denoising_steps`, and never takes more steps than it has tokens to write; its likeliest tokens are the text.

    The defaults are those of transformers' DiffusionGemma. A model that reads its own prediction (a session with `recall` and
    `condition`) is given it. Rows do not wait for each other; keys and values of finished canvases are kept.
    """

    name: Literal["canvas"] = "canvas"

    max_denoising_steps: PositiveInt = Field(default=48, description="most steps that a canvas may take")
    entropy_bound: PositiveFloat = Field(default=0.1, description="nats; larger: more tokens are accepted at once")
    t_max: NonNegativeFloat = Field(default=0.8, description="temperature of the first step; 0: the likeliest tokens")
    t_min: NonNegativeFloat = Field(
        default=0.4,
        description="end of the line along which the temperature falls: t_min + (t_max - t_min) n / N at n of N steps left",
    )
    stability_threshold: NonNegativeInt = Field(
        default=1, description="steps before for which the likeliest tokens must have been the same; 0: none"
    )
    confidence_threshold: NonNegativeFloat = Field(
        default=0.005,
        description="mean entropy in nats below which a stable canvas is finished; 0: never before its last step",
    )
    self_conditioning: bool = Field(
        default=True, description="let a model that can read its prediction of the step before read it"
    )
    noise: Literal["vocabulary", "ordinary"] = Field(
        default="vocabulary",
        description="random tokens come from all ids, as DiffusionGemma's do, or from those that stand for text, as those of "
        "corruption `uniform` do",
    )
    start: Literal["prompt", "block"] | None = Field(
        default=None,
        description="prompt: the first canvas starts behind the prompt; block: at the block in which the prompt ends, as in "
        "training; default: prompt for a model without a mask token, else block",
    )

    @model_validator(mode="after")
    def _cools_down(self) -> Self:
        if self.t_max < self.t_min:
            raise ValueError(
                f"the temperature falls from t_max to t_min: t_max {self.t_max} is below t_min {self.t_min}"
            )
        return self

    def sample(
        self,
        denoiser: Denoiser,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Sampled:
        """Continue each prompt. Raises ``ConfigError`` for a model without blocks or without a decoding session.

        ``watch`` is told of accepted tokens, and at the end of a canvas of those that became others; its scores are
        exp(-entropy).
        """
        from .canvas_decoding import decode

        return decode(self, denoiser, prompts, max_new_tokens=max_new_tokens, seed=seed, watch=watch)
