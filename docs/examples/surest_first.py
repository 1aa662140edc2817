"""A sampler: commit the surest token, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tide_specs import Denoiser, Sampled, Sampler, UnavailableError, hookimpl


class SurestFirst(Sampler):
    """Writes the whole answer as mask tokens and commits the surest token of it per step; no cache."""

    name: Literal["surest_first"] = "surest_first"

    def sample(
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, seed: int = 0
    ) -> Sampled:
        """Continue each prompt on its own, so that no row depends on another."""
        import torch

        mask = denoiser.mask_token_id
        if denoiser.form != "bidirectional" or mask is None:
            raise UnavailableError(f"sampler '{self.name}' reads whole texts; form '{denoiser.form}' needs another")
        device, written = next(denoiser.module.parameters()).device, []
        for prompt in prompts:
            ids = torch.tensor([[*prompt, *[mask] * max_new_tokens]], device=device)
            for _ in range(max_new_tokens):
                open_places = (ids[0] == mask).nonzero()[:, 0]
                with torch.no_grad():
                    hidden = denoiser.hidden(ids, ids, torch.tensor([ids.shape[1]], device=device))
                    logits = denoiser.head().logits(hidden[0, open_places])
                logits[:, mask] = -float("inf")
                best = logits.softmax(-1).max(-1)
                surest = best.values.argmax()
                ids[0, open_places[surest]] = best.indices[surest]
            written.append(ids[0, len(prompt) :].tolist())
        end = denoiser.tokenizer.end_of_turn_token_id
        cut = [row[: row.index(end)] if end in row else row for row in written]
        return Sampled(ids=cut, forwards=max_new_tokens * len(prompts))


@hookimpl
def tide_samplers() -> list[type[SurestFirst]]:
    """Contribute the sampler."""
    return [SurestFirst]
