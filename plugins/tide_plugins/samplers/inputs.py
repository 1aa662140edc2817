"""What is to be written, checked before the first forward pass."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from tide_specs import ConfigError, DataError, Denoiser, Sampler

from .masked import MaskedSampler


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Rows with mask tokens where something is to be written.

    ``ids``: the rows; ``prompts``: tokens of each row that come before its answer; ``mask``: the mask token; ``ends``:
    whether an answer may end before its last mask token.
    """

    ids: Sequence[Sequence[int]]
    prompts: Sequence[int]
    mask: int
    ends: bool


def continuations(sampler: MaskedSampler, denoiser: Denoiser, prompts: Sequence[Sequence[int]], count: int) -> Texts:
    """Return prompts followed by ``count`` mask tokens. Raises ``ConfigError`` or ``DataError``."""
    mask, count = _mask_of(sampler, denoiser), max(0, count)
    check_minimum(sampler, sampler.min_new_tokens, count)
    for number, prompt in enumerate(prompts):
        if mask in prompt:
            raise DataError(
                f"prompt {number} holds the mask token {mask}, which stands for text that is to be written: leave it out, "
                "or fill gaps with the sampler's infill"
            )
    lengths = [len(prompt) for prompt in prompts]
    check_length(denoiser, lengths, count)
    return Texts(ids=[[*prompt, *[mask] * count] for prompt in prompts], prompts=lengths, mask=mask, ends=True)


def gaps(sampler: MaskedSampler, denoiser: Denoiser, texts: Sequence[Sequence[int]]) -> Texts:
    """Return texts whose mask tokens are to be replaced. Raises ``ConfigError`` or ``DataError``."""
    mask = _mask_of(sampler, denoiser)
    check_length(denoiser, [len(text) for text in texts], 0)
    return Texts(ids=texts, prompts=[0] * len(texts), mask=mask, ends=False)


def _mask_of(sampler: Sampler, denoiser: Denoiser) -> int:
    if denoiser.form == "autoregressive":
        raise ConfigError(
            f"sampler {sampler.name!r} fills in mask tokens; an autoregressive model needs sampler 'autoregressive'"
        )
    if denoiser.mask_token_id is None:
        raise ConfigError(f"sampler {sampler.name!r} needs a model with a mask token; this one has none")
    return denoiser.mask_token_id


def check_minimum(sampler: Sampler, least: int, count: int) -> None:
    """Refuse a ``min_new_tokens`` that cannot be reached."""
    if least > count > 0:
        raise ConfigError(
            f"sampler {sampler.name!r}: min_new_tokens is {least}, but at most {count} tokens are asked for; lower "
            "min_new_tokens, or raise max_new_tokens"
        )


def check_length(denoiser: Denoiser, lengths: Sequence[int], count: int) -> None:
    """Refuse prompts of these lengths if ``count`` more tokens do not fit; warn beyond what the model was trained on."""
    if not lengths:
        return
    number, length = max(enumerate(lengths), key=lambda row: row[1])
    block = denoiser.block_size or 1
    needed = -(-(length + count) // block) * block
    asked = f"prompt {number} has {length} tokens" + (f" and {count} more are asked for" if count > 0 else "")
    if denoiser.longest is not None and needed > denoiser.longest:
        room = denoiser.longest // block * block - length
        blocks = f", {needed} in whole blocks of {block}" if block > 1 else ""
        advice = f"ask for at most {room}" if count > room > 0 else "shorten it"
        raise DataError(f"{asked}{blocks}, but the model has only {denoiser.longest} positions: {advice}")
    if denoiser.trained_length is not None and needed > denoiser.trained_length:
        warnings.warn(
            f"{asked}, more than the {denoiser.trained_length} positions the model was made for", stacklevel=2
        )
