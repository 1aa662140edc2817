"""Bits per byte: the likelihood of text, comparable across tokenizers and forms."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from tide_specs import Denoiser, Evaluation, EvaluationContext, Evaluator


class BitsPerByte(Evaluator):
    """Negative log-likelihood of held-out responses in bits, divided by their UTF-8 bytes; lower is better.

    Exact for an autoregressive model, an upper bound for a masked diffusion model:
    ``-log p(x) <= n E_k [mean over M of -log p(x_i | x without M)]`` with k uniform in 1..n and M uniform of size k; inside
    each block, given the clean blocks before it, for block models. The k of a text are spread systematically over the
    forwards, which has a far smaller variance than Bernoulli masks weighted by 1/t.

    Only contents of trainable messages are scored, each given what comes before it: no end-of-turn token, no markup.
    Whatever follows a scored content is hidden, so that its length is not given away. Examples whose tokens do not
    reproduce the text byte by byte are left out and counted. Texts, and random numbers, are the same for every model.
    """

    name: Literal["bits_per_byte"] = "bits_per_byte"
    needs_mask_token: ClassVar[bool] = True

    forwards: PositiveInt = Field(
        default=8, description="noised versions of each text (of each block of it, for block_causal); more: less noise"
    )
    max_bytes: PositiveInt = Field(
        default=1024, description="cut examples after so many UTF-8 bytes, prompt included; the same for every model"
    )
    lossless: bool = Field(
        default=True, description="leave out texts that the tokenizer changes; off: score what it makes of them"
    )
    score_teacher: bool = Field(default=False, description="score the teacher on the same texts as well, and compare")

    @property
    def uses_teacher(self) -> bool:
        """Only to score it."""
        return self.score_teacher

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Score the held-out texts."""
        from .likelihood import evaluate

        return evaluate(self, student, teacher, context)
