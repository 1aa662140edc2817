"""Text from a saved model: prompts encoded as in training, one of the samplers, text back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tide_core.assembly import refuse_unavailable
from tide_core.blame import Describe, blame
from tide_core.devices import device_named
from tide_core.registry import Registry
from tide_specs import Architecture, ConfigError, Denoiser, Message, Role, Runtime, Sampler, TextTokenizer


@dataclass(frozen=True, kw_only=True)
class Written:
    """One prompt, the text that follows it, and how many tokens that is."""

    prompt: str
    text: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What was written, in how many forward passes and seconds (loading not counted)."""

    written: Sequence[Written]
    forwards: int
    seconds: float


def generate(
    architecture: Architecture,
    sampler: Sampler,
    prompts: Sequence[str],
    registry: Registry,
    describe: Describe,
    *,
    chat: bool = False,
    max_new_tokens: int = 128,
    seed: int = 0,
    attention: str = "sdpa",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> Generation:
    """Load a model and let it continue texts, or answer them as user messages of a chat.

    Prompts are encoded before weights load. Raises the errors of ``tide_specs.errors``.
    """
    # A saved diffusion model loads as what it was; one that cannot learn to denoise still writes.
    role: Role = "student" if architecture.serves("student") is None else "teacher"
    with blame(architecture, "while its tokenizer was loaded", describe):
        tokenizer = architecture.tokenizer(role)
    encoded = [_encoded(tokenizer, prompt, chat=chat) for prompt in prompts]
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
    started = time.perf_counter()
    with torch.no_grad(), blame(sampler, "while it wrote", describe):
        sampled = sampler.sample(denoiser, encoded, max_new_tokens=max_new_tokens, seed=seed)
    seconds = time.perf_counter() - started
    return Generation(
        written=[_written(denoiser, prompt, ids) for prompt, ids in zip(prompts, sampled.ids, strict=True)],
        forwards=sampled.forwards,
        seconds=seconds,
    )


def _encoded(tokenizer: TextTokenizer, prompt: str, *, chat: bool) -> Sequence[int]:
    ids = tokenizer.encode_prompt([Message(role="user" if chat else "text", content=prompt)])
    if tokenizer.mask_token_id is not None and tokenizer.mask_token_id in ids:
        raise ConfigError(
            f"--prompt {prompt!r}: contains the model's mask token, which stands for text that is still to be written; "
            "leave it out"
        )
    return ids


def _written(denoiser: Denoiser, prompt: str, ids: Sequence[int]) -> Written:
    return Written(prompt=prompt, text=denoiser.tokenizer.decode(ids), tokens=len(ids))
