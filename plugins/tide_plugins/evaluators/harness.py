"""Benchmarks of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from tide_specs import Denoiser, Evaluation, EvaluationContext, Evaluator, HeldComponent, Mix, Sampler, TideError


class LmEval(Evaluator):
    """Benchmarks of lm-evaluation-harness, for models of every form.

    Answers are written by the sampler. Log-likelihoods, by which multiple choice is decided, are exact for an autoregressive
    model and the bound of ``bits_per_byte`` for the others: ``forwards`` noised versions of each choice, their masks' sizes
    spread systematically; every model sees the same masks.

    Tasks of ours, after the paper's eight benchmarks: ``tide_gsm8k``, ``tide_math``, ``tide_bbh``, ``tide_mmlu_pro``,
    ``tide_hellaswag``, ``tide_mmlu``, ``tide_humaneval``, ``tide_mbpp``; their files say which settings are known. Besides, any
    task of the harness by its name, and any task file. Programs that a model writes run in the sandbox of ``code``; the harness's
    own tasks that run programs unprotected are refused.

    Metrics are called ``task/metric``; ``average`` is the mean of the tasks' first metrics. With ``results``, scores are kept in
    that folder under the SHA-256 of the model (weights, configuration, tokenizer) and of everything else that they depend on,
    and read from there when the very same is asked again.
    """

    name: Literal["lm_eval"] = "lm_eval"
    requires: ClassVar[tuple[str, ...]] = ("lm_eval",)

    tasks: tuple[str, ...] = Field(
        min_length=1, description="tide_gsm8k and so on, tasks of the harness, or task files"
    )
    path: str | None = Field(
        default=None,
        description="folder with the data of the tasks of ours, <benchmark>/<split>.jsonl; null: from the hub",
    )
    shots: NonNegativeInt | None = Field(
        default=None, description="worked examples before each question; null: as the task says"
    )
    chat: bool = Field(
        default=False, description="ask through the chat template, examples as turns; the paper's students need it"
    )
    system: str | None = Field(default=None, description="system message of a chat")
    max_new_tokens: PositiveInt | None = Field(default=None, description="tokens of an answer; null: as the task says")
    forwards: PositiveInt = Field(
        default=32, description="noised versions of each text whose log-likelihood is estimated"
    )
    results: str | None = Field(
        default=None, description="folder in which scores are kept and looked up; null: neither"
    )
    sampler: Annotated[Sampler, HeldComponent()] | None = Field(
        default=None, description="how answers are written; null: the run's sampler"
    )

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Object to tasks whose files are missing."""
        from .harness_tasks import prepare

        for task in self.tasks:
            try:
                prepare(task, self.path, self.shots)
            except TideError as error:
                yield str(error)

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Run the tasks, or read their scores. Raises ``ConfigError`` for a task that is unknown or not defined for the model."""
        from .harness_run import evaluate

        return evaluate(self, student, context)
