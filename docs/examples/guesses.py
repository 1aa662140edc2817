"""An evaluator: how often the likeliest token is the true one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tide_specs import Denoiser, Estimate, Evaluation, EvaluationContext, Evaluator, hookimpl


class Guesses(Evaluator):
    """Share of hidden held-out tokens that the student guesses right, higher is better."""

    name: Literal["guesses"] = "guesses"
    hidden: float = Field(default=0.5, gt=0, lt=1, description="share of the response that is hidden")

    def evaluate(self, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext) -> Evaluation:
        """Hide tokens by the context's draws, so that every model is asked the same."""
        right = asked = 0
        for batch in context.batches(max(1, self.batch_size), self.limit or None):
            side = batch.student
            drawn = context.draws(batch).uniform("guesses", side.ids.shape[1]).to(side.ids.device)
            masked = side.maskable & (drawn < self.hidden)
            mask = student.mask_token_id
            noised = side.ids if mask is None else side.ids.masked_fill(masked, mask)
            states = student.hidden(noised, side.ids, side.lengths, side.documents)
            for part in (head := student.head()).slices(int(masked.sum())):
                guess = head.logits(states[masked][part]).argmax(-1)
                right += int((guess == side.ids[masked][part]).sum())
            asked += int(masked.sum())
        return Evaluation(metrics={"accuracy": Estimate(value=right / asked)} if asked else {})


@hookimpl
def tide_evaluators() -> list[type[Guesses]]:
    """Contribute the evaluator."""
    return [Guesses]
