"""A plugin: samplers that write what they are told to, whatever the model thinks, and tell of it as they are told to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tide_specs import Denoiser, Message, Sampled, Sampler, SamplingStep, Watch, hookimpl


def spelled(denoiser: Denoiser, text: str) -> list[int]:
    """The tokens of a text, without what opens it."""
    opening = denoiser.tokenizer.encode_prompt([Message(role="text", content="")])
    return denoiser.tokenizer.encode_prompt([Message(role="text", content=text)])[len(opening) :]


class Scripted(Sampler):
    """Write ``text`` from its last token to its first, after a first draft of the last one; then end the turn."""

    name: Literal["scripted"] = "scripted"
    text: str = Field("abc", description="what is written")
    tell: Literal["all", "nothing", "outside", "too_few", "nan"] = Field("all", description="what watch is told")

    def sample(
        self,
        denoiser: Denoiser,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Sampled:
        """Write the text after every prompt."""
        ids = spelled(denoiser, self.text)[:max_new_tokens]
        (draft,) = spelled(denoiser, "!")
        ending = [denoiser.tokenizer.end_of_turn_token_id] if len(ids) < max_new_tokens else []
        for row, prompt in enumerate(prompts):
            script = [(len(ids) - 1, draft, 0.25), *reversed([(n, i, 0.95) for n, i in enumerate(ids + ending)])]
            for forward, (place, token, score) in enumerate(script, 1):
                if watch is not None and self.tell != "nothing":
                    watch(self._step(row, len(prompt) + place, token, score, forward))
        return Sampled(ids=[ids for _ in prompts], forwards=len(ids) + len(ending) + 1, positions=99)

    def _step(self, row: int, place: int, token: int, score: float, forward: int) -> SamplingStep:
        position = 10_000 if self.tell == "outside" else place
        scores = {"too_few": [], "nan": [float("nan")]}.get(self.tell, [score])
        return SamplingStep(row=row, positions=[position], tokens=[token], scores=scores, forwards=forward)


class Earlier(Sampler):
    """Written before samplers told of their steps."""

    name: Literal["earlier"] = "earlier"

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, denoiser: Denoiser, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, seed: int = 0
    ) -> Sampled:
        """Write ``abc`` after every prompt."""
        return Sampled(ids=[spelled(denoiser, "abc") for _ in prompts], forwards=3)


@hookimpl
def tide_samplers() -> list[type[Sampler]]:
    """Both."""
    return [Scripted, Earlier]
