"""How far a student is from its teacher, at fixed masking ratios."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Denoiser, Evaluation, EvaluationContext, Evaluator

Ratio = Annotated[float, Field(gt=0.0, le=1.0)]


class TeacherDivergence(Evaluator):
    """Divergence between the teacher's and the student's predictions of the same hidden text, in nats; lower is closer.

    Whole chunks are hidden with probability ``t`` on both sides. For every hidden chunk: ``bernoulli_kl``, the divergence
    KL(p_T || p_S) of the two-way event "this chunk or another", with p = exp(LP / temperature), and
    ``log_likelihood_gap``, |LP_S - LP_T|. Where the vocabularies share columns, ``token_kl``: KL(teacher || student) over
    them, at the tokens of one-to-one chunks.
    """

    name: Literal["teacher_divergence"] = "teacher_divergence"
    needs_teacher: ClassVar[bool] = True
    needs_mask_token: ClassVar[bool] = True

    ratios: tuple[Ratio, ...] = Field(
        default=(0.25, 0.5, 0.75), min_length=1, description="masking ratios t at which the two are compared"
    )
    temperature: PositiveFloat = Field(
        default=1.0, description="divides chunk log-likelihoods in bernoulli_kl; 1 compares the likelihoods themselves"
    )

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Compare the two over the held-out batches. Raises ``ConfigError`` without a teacher."""
        from .divergence import evaluate

        return evaluate(self, student, teacher, context)
