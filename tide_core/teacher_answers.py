"""What a teacher said, as little of it as the run's losses need, from a model that ran or from a cache.

Shapes: M teacher positions, A active chunks, H hidden size, V_T columns of the teacher's head, k cached tokens, r rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tide_core.micro_batch import KnownAnswers
from tide_specs import Head


@dataclass(frozen=True, kw_only=True)
class TeacherAnswers:
    """likelihoods [A]: log-likelihood of each active chunk in nats. hidden [M, H] and head, or known: distributions.

    columns: V_T.
    """

    likelihoods: Tensor | None = None
    hidden: Tensor | None = None
    head: Head | None = None
    known: KnownAnswers | None = None
    columns: int = 0

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        """Logits [r, V_T] at teacher positions ``rows`` [r], float32.

        Of a cached answer: log-probabilities, with what is left spread evenly over the tokens that are not listed.
        """
        if self.hidden is not None and self.head is not None:
            return self.head.logits(self.hidden[rows])
        ids, log_p, rest = self._listed(rows)
        others = max(1, self.columns - ids.shape[1])
        spread = (rest / others).clamp(min=torch.finfo(torch.float32).tiny).log()
        return spread[:, None].repeat(1, self.columns).scatter_(1, ids, log_p)

    @torch.no_grad()
    def probabilities(self, rows: Tensor) -> Tensor:
        """Probabilities [r, V_T + 1] at teacher positions ``rows`` [r]; the last column: all tokens not listed."""
        if self.hidden is not None and self.head is not None:
            shares = self.head.logits(self.hidden[rows]).softmax(1)
            return torch.cat([shares, shares.new_zeros(len(shares), 1)], 1)
        ids, log_p, rest = self._listed(rows)
        shares = log_p.new_zeros(len(ids), self.columns + 1).scatter_(1, ids, log_p.exp())
        shares[:, -1] = rest
        return shares

    def _listed(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        known = self.known
        assert known is not None and known.ids is not None and known.log_p is not None and known.rest is not None
        return known.ids[rows], known.log_p[rows], known.rest[rows]
