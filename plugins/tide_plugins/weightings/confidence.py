"""A weight that each text decides by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveFloat

from tide_specs import Mix, TeacherWeighting, WeightingContext

if TYPE_CHECKING:
    from torch import Tensor


class ByConfidence(TeacherWeighting):
    """Listen to the teacher that finds the text more likely: T * softmax over teachers of LP / temperature.

    LP is the log-likelihood, in nats, that each teacher gives to the text that is masked together with the chunk. At
    temperature 1 the softmax is the probability that this teacher, rather than another, wrote the text, all being equally
    likely beforehand. The factors of the T teachers add up to T, so that their mean is 1. A teacher with no chunk in the
    text does not take part. Give it to every teacher of the run.
    """

    name: Literal["by_confidence"] = "by_confidence"
    reads_likelihoods: ClassVar[bool] = True
    temperature: PositiveFloat = Field(
        default=1.0, description="divides log-likelihoods; large: all teachers alike, small: the likeliest alone"
    )

    def factor(self, at: WeightingContext) -> Tensor:
        """Chunks -> the factor of each [c]."""
        # The likeliest at 0 before the division: at a small temperature all quotients could become -inf.
        behind = at.likelihoods - at.likelihoods.amax(1, keepdim=True)
        return at.likelihoods.shape[1] * (behind / self.temperature).softmax(1)[:, at.teacher]

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Object where only some teachers are weighed by their confidence."""
        weightings = mix.of("weighting")
        if any(weighting.name != self.name for weighting in weightings):
            yield (
                f"'{self.name}' shares the weight among the teachers, but others of this run have a weighting of their own "
                f"({', '.join(sorted({str(w.name) for w in weightings if w.name != self.name}))}); give it to all of them"
            )
