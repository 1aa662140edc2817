"""CALM at several resolutions: the likelihoods of chunks, and of the words and lines that they make up.

Shapes: c chunks, in text order. LP_i: log-likelihood of chunk i; n_s: active chunks of span s.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from tide_specs import ChunkContext, ChunkLoss, Resolution

from .chunk_losses import BernoulliKL, Calm, ReverseCalm
from .chunk_options import BernoulliChunkLoss

if TYPE_CHECKING:
    from torch import Tensor

with warnings.catch_warnings():
    # pydantic warns that the option hides ``Loss.direction``; here that is the purpose: the user chooses the direction.
    warnings.filterwarnings("ignore", message='Field name "direction"', category=UserWarning)

    class MultiResolutionCalm(BernoulliChunkLoss):
        """CALM over chunks, words and lines at once (this project's).

        For each chunk i of word w and line l, with f the objective's Bernoulli term:

        loss_i = (a f(LP_i) + b f(mean LP over w) + c f(mean LP over l)) / (a + b + c)

        a, b, c are the options ``chunks``, ``words``, ``lines``. The means run over the active (masked) chunks of the word or line
        on each side; a span's log-likelihood is the sum over its chunks, and dividing it by n_s is a temperature of T n_s:

        - *Why.* With p = exp(LP / T) a line of ten chunks at 2 nats each has p = e^-10 at T = 2 on either side, whatever the
          teacher thinks of it: every objective is flat there. With T n_s, p is the geometric mean of the chunks' tempered
          likelihoods, and the threshold 0.5^T says of an average chunk what it says of one chunk alone. What is new at a line
          is that the chunks' independent errors average out: it compares how well both sides know the line as a whole, while chunks
          compare how they divide that knowledge.
        - *Scale.* A span's value counts once per chunk, n_s f. Its gradient in LP_i is n_s f' / (T n_s) = f' / T, as a chunk's own:
          the length of a line multiplies nothing, and dividing by a + b + c keeps the scale of the plain objective. A span of
          one chunk gives the chunk's own term.

        Words and lines are those that the student's tokens show; a chunk belongs to the word and line it begins in. A
        tokenizer that shows no newlines (WordPiece) makes each text one line. Likelihoods of masked tokens are multiplied as if
        they were independent, as everywhere in CALM.
        """

        name: Literal["multi_resolution_calm"] = "multi_resolution_calm"
        resolutions: ClassVar[tuple[Resolution, ...]] = ("word", "line")
        objective: Literal["calm", "bernoulli_kl"] = Field(
            default="calm",
            description="compare at every resolution as calm and reverse_calm do, or as bernoulli_kl does",
        )
        direction: Literal["forward", "reverse"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
            default="reverse", description="weigh by the teacher (forward, mode-covering) or the student (reverse)"
        )
        chunks: NonNegativeFloat = Field(default=1.0, description="share of the chunks themselves")
        words: NonNegativeFloat = Field(default=1.0, description="share of the words")
        lines: NonNegativeFloat = Field(default=1.0, description="share of the lines")

        @model_validator(mode="after")
        def _shares_are_positive(self) -> MultiResolutionCalm:
            if not self.chunks + self.words + self.lines > 0:
                raise ValueError("chunks, words and lines are all 0, so nothing would be learned; raise one of them")
            return self

        def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
            """Log-likelihoods [c] of both sides -> losses [c]."""
            from .spans import mean_over_spans

            comparison, teacher = self._comparison(), teacher.detach()
            total = self.chunks * comparison.per_chunk(student, teacher, at)
            for share, span in ((self.words, at.spans["word"]), (self.lines, at.spans["line"])):
                if share:
                    ours, theirs = (mean_over_spans(side, span) for side in (student, teacher))
                    total = total + share * comparison.per_chunk(ours, theirs, at)
            return total / (self.chunks + self.words + self.lines)

        def _comparison(self) -> ChunkLoss:
            """The loss whose Bernoulli term is taken at each resolution."""
            if self.objective == "bernoulli_kl":
                return BernoulliKL(temperature=self.temperature, clamp=self.clamp, direction=self.direction)
            calm = Calm if self.direction == "forward" else ReverseCalm
            return calm(temperature=self.temperature, clamp=self.clamp)
