"""Letting a model write inside an evaluator: which sampler, in which batches, and the text that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tide_specs import Denoiser, EvaluationContext, Message, Sampled, Sampler, TextTokenizer


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What was written, in the order of the prompts.

    ids, texts: new tokens and the text they add; ended: whether an end of turn came before the limit; forwards, positions:
    passes, and places that went through the model in them (0: not counted), all batches together.
    """

    ids: Sequence[Sequence[int]]
    texts: Sequence[str]
    ended: Sequence[bool]
    forwards: int
    positions: int


def sampler_for(given: Sampler | None, context: EvaluationContext, denoiser: Denoiser) -> Sampler:
    """Return the evaluator's own sampler, or the run's, or the usual one of the model's form."""
    from ..samplers.autoregressive import AutoregressiveSampler
    from ..samplers.block import BlockSampler

    chosen = given or getattr(context, "sampler", None)
    if isinstance(chosen, Sampler):
        return chosen
    return AutoregressiveSampler() if denoiser.form == "autoregressive" else BlockSampler()


def prompts_of(tokenizer: TextTokenizer, texts: Sequence[str], *, chat: bool) -> list[list[int]]:
    """Return the ids of texts that are to be continued, or that a user says in a chat."""
    role = "user" if chat else "text"
    return [tokenizer.encode_prompt([Message(role=role, content=text)]) for text in texts]


def write(
    sampler: Sampler,
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
) -> Texts:
    """Continue prompts, prompts of like length together; a row does not depend on the others."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    ids: list[Sequence[int]] = [()] * len(prompts)
    forwards = positions = 0
    for start in range(0, len(order), max(1, batch_size)):
        rows = order[start : start + max(1, batch_size)]
        chosen = [prompts[row] for row in rows]
        found: Sampled = sampler.sample(denoiser, chosen, max_new_tokens=max_new_tokens, seed=seed)
        forwards, positions = forwards + found.forwards, positions + found.positions
        for row, new in zip(rows, found.ids, strict=True):
            ids[row] = list(new)
    texts = [added(denoiser.tokenizer, prompt, new) for prompt, new in zip(prompts, ids, strict=True)]
    ended = [len(new) < max_new_tokens for new in ids]
    return Texts(ids=ids, texts=texts, ended=ended, forwards=forwards, positions=positions)


def added(tokenizer: TextTokenizer, prompt: Sequence[int], new: Sequence[int]) -> str:
    """Return the text that new tokens add to a prompt's; alone, many tokenizers would drop the space before them."""
    before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *new])
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(new)


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first of the stops."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
