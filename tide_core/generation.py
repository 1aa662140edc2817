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
from tide_core.registry import Registry
from tide_core.watching import Scene, Spectator, takes_watch, watch_for
from tide_specs import (
    Architecture,
    ConfigError,
    DataError,
    Denoiser,
    Message,
    Role,
    Runtime,
    Sampled,
    Sampler,
    TextTokenizer,
    Watch,
)

Finish = Literal["end_of_turn", "length"]


@dataclass(frozen=True, kw_only=True)
class Written:
    """One prompt, the text that follows it, how many tokens that is, and what ended it: the model, or the limit."""

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
    chat: bool = False,
    system: str | None = None,
    max_new_tokens: int = 128,
    seed: int = 0,
    attention: str = "sdpa",
    device: str = "auto",
    trust_remote_code: bool = False,
    spectators: Sequence[Spectator] = (),
) -> Generation:
    """Load a model and let it continue texts, or answer them as user messages of a chat (after a ``system`` message).

    Prompts are encoded before weights load. ``spectators`` are told of every step that the sampler tells of. Raises the
    errors of ``tide_specs.errors``.
    """
    # A saved diffusion model loads as what it was; one that cannot learn to denoise still writes.
    role: Role = "student" if architecture.serves("student") is None else "teacher"
    with blame(architecture, "while its tokenizer was loaded", describe):
        tokenizer = tokenizer_of(architecture, role, trust_remote_code=trust_remote_code)
    encoded = [_encoded(tokenizer, prompt, chat=chat, system=system) for prompt in prompts]
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
    watch = _watch(spectators, sampler, denoiser, prompts, encoded, max_new_tokens)
    started = time.perf_counter()
    with torch.no_grad(), blame(sampler, "while it wrote", describe):
        sampled = _sample(sampler, denoiser, encoded, max_new_tokens=max_new_tokens, seed=seed, watch=watch)
    seconds = time.perf_counter() - started
    return Generation(
        written=[
            _written(denoiser, prompt, ids, max_new_tokens) for prompt, ids in zip(prompts, sampled.ids, strict=True)
        ],
        forwards=sampled.forwards,
        positions=sampled.positions,
        seconds=seconds,
        model=denoiser.facts(),
    )


def _encoded(tokenizer: TextTokenizer, prompt: str, *, chat: bool, system: str | None) -> Sequence[int]:
    if not prompt:
        raise ConfigError("--prompt '': is empty; give the text to go on from")
    text = [Message(role="text", content=prompt)]
    ids = _asked(tokenizer, prompt, system) if chat else tokenizer.encode_prompt(text)
    if tokenizer.mask_token_id is not None and tokenizer.mask_token_id in ids:
        raise ConfigError(
            f"--prompt {prompt!r}: contains the model's mask token, which stands for text that is still to be written; "
            "leave it out"
        )
    return ids


def _asked(tokenizer: TextTokenizer, prompt: str, system: str | None) -> Sequence[int]:
    """Encode what a user says, after a system message where there is one."""
    instructions = [] if system is None else [Message(role="system", content=system)]
    try:
        return tokenizer.encode_prompt([*instructions, Message(role="user", content=prompt)])
    except DataError as error:
        rest = "" if system is None else " (the template may only refuse --system)"
        raise DataError(f"--chat: {error}; without --chat the prompt is continued as plain text{rest}") from error


def _watch(
    spectators: Sequence[Spectator],
    sampler: Sampler,
    denoiser: Denoiser,
    prompts: Sequence[str],
    encoded: Sequence[Sequence[int]],
    max_new_tokens: int,
) -> Watch | None:
    """Tell the spectators that it begins; return what the sampler is to call, ``None`` when nobody looks on."""
    if not spectators:
        return None
    scene = Scene(
        prompts=prompts,
        ids=encoded,
        max_new_tokens=max_new_tokens,
        mask_token_id=denoiser.mask_token_id,
        tokenizer=denoiser.tokenizer,
    )
    for spectator in spectators:
        spectator.begin(scene)
    return watch_for(spectators, scene, sampler)


def _sample(
    sampler: Sampler,
    denoiser: Denoiser,
    encoded: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seed: int,
    watch: Watch | None,
) -> Sampled:
    """Sample; one that was written before samplers told of their steps is not asked to."""
    if watch is None or not takes_watch(sampler):
        return sampler.sample(denoiser, encoded, max_new_tokens=max_new_tokens, seed=seed)
    return sampler.sample(denoiser, encoded, max_new_tokens=max_new_tokens, seed=seed, watch=watch)


def _written(denoiser: Denoiser, prompt: str, ids: Sequence[int], max_new_tokens: int) -> Written:
    # The end-of-turn token is left out of ``ids``, so that as many as were allowed means that none was written.
    finish: Finish = "length" if len(ids) >= max_new_tokens else "end_of_turn"
    return Written(prompt=prompt, text=denoiser.tokenizer.decode(ids), tokens=len(ids), finish=finish)
