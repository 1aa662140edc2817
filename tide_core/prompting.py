"""Prompts as a model reads them: a text to go on from, what a user says, or a text with gaps. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tide_specs import ConfigError, DataError, Message, TextTokenizer

GAP = re.compile(r"<gap(?::(\d+))?>")
"""``<gap>``, or ``<gap:12>`` for a gap of twelve tokens."""


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """How a prompt is meant: a text to go on from, a user's message (``chat``, after ``system``), or one with gaps.

    ``gap``: tokens of a gap that does not say.
    """

    chat: bool = False
    system: str | None = None
    infill: bool = False
    gap: int = 128

    def encode(self, tokenizer: TextTokenizer, prompt: str) -> Sequence[int]:
        """Return the ids of a prompt. Raises ``ConfigError``, or ``DataError`` where there is no chat template."""
        if not prompt:
            raise ConfigError("--prompt '': is empty; give the text to go on from")
        _require_text("--prompt", prompt)
        _require_text("--system", self.system or "")
        if self.infill:
            return _with_gaps(tokenizer, prompt, self.gap)
        ids = _asked(tokenizer, prompt, self.system) if self.chat else tokenizer.encode_prompt([_text(prompt)])
        return _without_mask(tokenizer, prompt, ids)


def _require_text(option: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{option}: character {error.start + 1} is not text (bytes that are not UTF-8, or half a pair); convert the text"
        ) from None


def _text(content: str) -> Message:
    return Message(role="text", content=content)


def _without_mask(tokenizer: TextTokenizer, prompt: str, ids: Sequence[int]) -> Sequence[int]:
    if tokenizer.mask_token_id is not None and tokenizer.mask_token_id in ids:
        raise ConfigError(
            f"--prompt {prompt!r}: contains the model's mask token, which stands for text that is still to be written; "
            "leave it out, or mark gaps as <gap:8> with --infill"
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


def _with_gaps(tokenizer: TextTokenizer, prompt: str, usual: int) -> Sequence[int]:
    """Encode a text with mask tokens in its gaps."""
    mask = tokenizer.mask_token_id
    if mask is None:
        raise ConfigError("--infill: the model has no mask token to fill in; only masked diffusion models fill gaps")
    if not GAP.search(prompt):
        raise ConfigError(
            f"--prompt {prompt!r}: has no gap for --infill; write <gap> or <gap:12> where text is missing"
        )
    texts, sizes = GAP.split(prompt)[::2], [int(size or usual) for size in GAP.split(prompt)[1::2]]
    if 0 in sizes:
        raise ConfigError(f"--prompt {prompt!r}: a gap of no tokens; write <gap:1> or more, or leave it out")
    ids: list[int] = []
    for part, size in zip(_parts(tokenizer, texts), [*sizes, 0], strict=True):
        ids += [*_without_mask(tokenizer, prompt, part), *[mask] * size]
    return ids


def _parts(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Sequence[int]]:
    """Encode texts that follow each other: each as the continuation that it is, the first one with what opens a text."""
    parts: list[Sequence[int]] = []
    before: Sequence[int] = []
    for count in range(1, len(texts) + 1):
        ids = tokenizer.encode_prompt([_text(text) for text in texts[:count]])
        if list(ids[: len(before)]) != list(before):
            raise DataError("--infill: the tokenizer does not encode the texts around a gap apart from each other")
        parts.append(ids[len(before) :])
        before = ids
    return parts
