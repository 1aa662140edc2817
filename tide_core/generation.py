"""Text from a saved model: prompts encoded as in training, one of the samplers, text back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tide_core.assembly import refuse_unavailable, tokenizer_of
from tide_core.blame import Describe, blame
from tide_core.devices import device_named
from tide_core.prompting import Prompting
from tide_core.registry import Registry
from tide_core.watching import Scene, Spectator, takes_watch, watch_for
from tide_specs import Architecture, Denoiser, Role, Runtime, Sampled, Sampler, Watch

Finish = Literal["end_of_turn", "length", "filled"]


@dataclass(frozen=True, kw_only=True)
class Written:
    """One prompt and what was written: the text that follows it, or the whole text where gaps were filled.

    ``tokens``: written ones; ``finish``: whether the model ended the turn, the limit did, or there were only gaps to fill.
    """

    prompt: str
    text: str
    tokens: int
    finish: Finish


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What was written, in how many forward passes, positions (0: not counted) and seconds (loading not counted).

    ``model``: what the denoiser says of itself.
    """

    written: Sequence[Written]
    forwards: int
    seconds: float
    positions: int = 0
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens written, all prompts together."""
        return sum(written.tokens for written in self.written)

    @property
    def tokens_per_forward(self) -> float:
        """Tokens that a forward pass wrote on average, all prompts together."""
        return self.tokens / self.forwards if self.forwards else 0.0


def generate(
    architecture: Architecture,
    sampler: Sampler,
    prompts: Sequence[str],
    registry: Registry,
    describe: Describe,
    *,
    prompting: Prompting | None = None,
    max_new_tokens: int = 128,
    seed: int = 0,
    attention: str = "sdpa",
    device: str = "auto",
    trust_remote_code: bool = False,
    spectators: Sequence[Spectator] = (),
) -> Generation:
    """Load a model and let it continue texts, answer them as messages of a chat, or fill their gaps; see ``Prompting``.

    Prompts are encoded before weights load. ``spectators`` are told of every step that the sampler tells of. Raises the
    errors of ``tide_specs.errors``.
    """
    # A saved diffusion model loads as what it was; one that cannot learn to denoise still writes.
    role: Role = "student" if architecture.serves("student") is None else "teacher"
    with blame(architecture, "while its tokenizer was loaded", describe):
        tokenizer = tokenizer_of(architecture, role, trust_remote_code=trust_remote_code)
    prompting = prompting or Prompting()
    encoded = [prompting.encode(tokenizer, prompt) for prompt in prompts]
    runtime = Runtime(
        device=device_named(device, "--device"),
        dtype=torch.float32,
        attention=registry.build("attention", attention),
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    refuse_unavailable(runtime.attention, runtime.device, runtime.dtype)
    with blame(architecture, "while the model was loaded", describe):
        denoiser = architecture.load(role, runtime)
    denoiser.module.eval()
    scene = Scene(
        prompts=prompts,
        ids=encoded,
        max_new_tokens=0 if prompting.infill else max_new_tokens,
        mask_token_id=denoiser.mask_token_id,
        tokenizer=denoiser.tokenizer,
        infill=prompting.infill,
    )
    watch = _watch(spectators, scene, sampler)
    started = time.perf_counter()
    with torch.no_grad(), blame(sampler, "while it wrote", describe):
        sampled = _sample(sampler, denoiser, scene, seed=seed, watch=watch)
    seconds = time.perf_counter() - started
    return Generation(
        written=[_written(scene, row, ids) for row, ids in enumerate(sampled.ids)],
        forwards=sampled.forwards,
        positions=sampled.positions,
        seconds=seconds,
        model=denoiser.facts(),
    )


def _watch(spectators: Sequence[Spectator], scene: Scene, sampler: Sampler) -> Watch | None:
    """Tell the spectators that it begins; return what the sampler is to call, ``None`` when nobody looks on."""
    for spectator in spectators:
        spectator.begin(scene)
    return watch_for(spectators, scene, sampler) if spectators else None


def _sample(sampler: Sampler, denoiser: Denoiser, scene: Scene, *, seed: int, watch: Watch | None) -> Sampled:
    """Continue or fill in; a sampler that was written before samplers told of their steps is not asked to."""
    method = sampler.infill if scene.infill else sampler.sample
    options: dict[str, Any] = {} if scene.infill else {"max_new_tokens": scene.max_new_tokens}
    if watch is not None and takes_watch(method):
        options["watch"] = watch
    return method(denoiser, scene.ids, seed=seed, **options)


def _written(scene: Scene, row: int, ids: Sequence[int]) -> Written:
    """Say what became of a row; of a text with gaps ``ids`` are all tokens, otherwise the new ones."""
    text = scene.tokenizer.decode(ids)
    if scene.infill:
        gaps = sum(token == scene.mask_token_id for token in scene.ids[row])
        return Written(prompt=scene.prompts[row], text=text, tokens=gaps, finish="filled")
    # The end-of-turn token is left out of ``ids``, so that as many as were allowed means that none was written.
    finish: Finish = "length" if len(ids) >= scene.max_new_tokens else "end_of_turn"
    return Written(prompt=scene.prompts[row], text=text, tokens=len(ids), finish=finish)
