"""TIDAL restricted to the cross-entropy term.

Shapes: n masked positions, V vocabulary columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tide_specs import TokenContext

from .cross_entropy import WeightedCrossEntropy

if TYPE_CHECKING:
    from torch import Tensor


class TidalCrossEntropy(WeightedCrossEntropy):
    """Cross-entropy towards a target that moves from the student to the data.

    -sum_v r_v log p_v, with r = (1 - lambda) sg(p) + lambda onehot(x), sg: held constant. The paper suggests to restrict
    TIDAL to this term where the other objective is a reverse one (Appendix C); so this combines with ``reverse_calm`` and is
    refused by nothing.

    What it does: with z the logits, d/dz of -sum_v r_v log p_v is p - r, since r sums to one. Here p - r = p - (1 - lambda) p
    - lambda onehot = lambda (p - onehot): exactly lambda times the gradient of ``cross_entropy``. It is a learning rate for
    that term that rises along training and falls with the noise, no more; its value also holds (1 - lambda) times the
    student's entropy, which has no gradient. It is no bound on the likelihood unless lambda = 1.
    """

    name: Literal["tidal_cross_entropy"] = "tidal_cross_entropy"
    interpolated: ClassVar[bool] = True

    def bare(self, student: Tensor, at: TokenContext) -> Tensor:
        """Student logits [n, V] -> cross-entropies [n] to the moving target, in nats."""
        log_p = student.detach().log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1)
        return (1 - at.interpolation) * entropy - at.interpolation * at.log_likelihood(student)
