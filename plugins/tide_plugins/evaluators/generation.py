"""What a model writes, judged by another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from tide_specs import Architecture, Denoiser, Evaluation, EvaluationContext, Evaluator, HeldComponent, Mix, Sampler


class Generation(Evaluator):
    """Text written for held-out prompts: how likely a judge finds it, and, always beside that, how varied it is.

    ``judge_bits_per_byte``: bits that the ``judge``, a model of any architecture, needs for a byte of the samples; exact for an
    autoregressive judge, an upper bound otherwise (see ``bits_per_byte``). A low value alone means nothing: text that repeats
    itself is cheap. So there are ``token_entropy``, the entropy in bits of the tokens within a sample, averaged over samples, and
    ``distinct_1`` to ``distinct_3``, different over all sequences of so many words; and the same of the texts that people wrote
    for these prompts, cut to the same length (``reference_``). Further: ``tokens`` of a sample, ``ended`` (the share that ended
    its turn), ``forwards`` (passes in all) and ``tokens_per_forward``.

    A prompt is what comes before an example's first trainable message; where nothing does, the beginning of that message.
    """

    name: Literal["generation"] = "generation"

    judge: Annotated[Architecture, HeldComponent()] | None = Field(
        default=None,
        description="the model that judges, neither teacher nor student; null: only variety and lengths are reported",
    )
    judge_template: bool = Field(
        default=False, description="show the judge a conversation through its chat template; off: as plain paragraphs"
    )
    judge_forwards: PositiveInt = Field(
        default=8, description="noised versions of each sample that a judge which denoises reads"
    )
    max_new_tokens: PositiveInt = Field(default=128, description="tokens of a sample")
    prefix_bytes: NonNegativeInt = Field(
        default=64, description="bytes of a text that serve as its prompt, where nothing comes before it"
    )
    sampler: Annotated[Sampler, HeldComponent()] | None = Field(
        default=None, description="how samples are written; null: the run's sampler"
    )

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Object to a judge that is the run's teacher or student."""
        model = getattr(self.judge, "model", None)
        for role, architecture in mix.roles.items():
            if model is not None and model == getattr(architecture, "model", None):
                yield f"the judge is the run's {role} ({model}), whose own habits it would find likely; name another model"

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Write and judge. Loads the judge, and lets go of it."""
        from .samples import evaluate

        return evaluate(self, student, context)
