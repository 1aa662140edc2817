"""Both sides' probabilities, each sorted by itself, where chunks begin.

Shapes: c chunks, V_S and V_T columns of the two heads, k ranks, K = k + 1 outcomes: the ranks, then the tail.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tide_specs import Outcomes, StartContext, VocabularyBridge

from .projection import FLOOR, NEVER


class RankBridge(VocabularyBridge):
    """Compares the r-th most likely token of one side with the r-th of the other; what is below rank k goes to a tail.

    Args:
        top_k: number of ranks; ``None``: as many as the larger head has columns. A side with fewer tokens than ranks
            gives the others nothing.
    """

    def __init__(self, top_k: int | None) -> None:
        self.top_k = top_k

    def outcomes(self, student: Tensor, teacher: Tensor, at: StartContext) -> Outcomes:
        """Student logits [c, V_S], teacher probabilities [c, V_T + 1] -> both sides over K outcomes."""
        ranks = max(student.shape[1], teacher.shape[1] - 1) if self.top_k is None else self.top_k
        return Outcomes(_ranked_logs(student.log_softmax(1), ranks), _ranked_shares(teacher.detach(), ranks))


def _ranked_logs(log_p: Tensor, ranks: int) -> Tensor:
    """Log-probabilities [c, V] -> of the ranks and of all lower ones together [c, K]."""
    best, ids = log_p.topk(min(ranks, log_p.shape[1]), dim=1)
    missing = best.new_full((len(best), ranks - best.shape[1]), NEVER)
    if ids.shape[1] == log_p.shape[1]:
        return torch.cat([best, missing, best.new_full((len(best), 1), NEVER)], 1)
    return torch.cat([best, log_p.scatter(1, ids, FLOOR).logsumexp(1, keepdim=True)], 1)


def _ranked_shares(teacher: Tensor, ranks: int) -> Tensor:
    """Probabilities [c, V + 1], the last of tokens that are not listed -> [c, K]."""
    listed = teacher[:, :-1]
    best, ids = listed.topk(min(ranks, listed.shape[1]), dim=1)
    missing = best.new_zeros(len(best), ranks - best.shape[1])
    return torch.cat([best, missing, teacher.scatter(1, ids, 0.0).sum(1, keepdim=True)], 1)
