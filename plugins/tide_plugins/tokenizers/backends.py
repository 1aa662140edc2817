"""The ``tokenizers`` objects that stand behind one tokenizer of transformers.

Markup and contents are tokenised apart. Markup may name special tokens, contents may not: a user who writes
``<|im_end|>`` must not end the turn. A piece in mid-string must not get the dummy space that SentencePiece puts at the
start of a string.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from .pieces import component_types, spelling_of, vocabulary_bytes

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Prefixing = Literal["never", "start", "section"]
"""Where a dummy space is added: nowhere, at the start of a string, or also after every special token."""

_TAG = re.compile(r"^</?\w+>$")


class Backends:
    """One tokenizer's backend, or private copies of it where its settings do not serve, made once per process."""

    def __init__(self, tokenizer: Any) -> None:
        state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        self._own = tokenizer.backend_tokenizer
        if _mark_control_tokens(state, str(tokenizer.chat_template or "")) or state["truncation"] or state["padding"]:
            self._own = None
        state.update(truncation=None, padding=None, post_processor=None)
        self.state = state
        self.control_ids = frozenset(token["id"] for token in state["added_tokens"] if token["special"])
        self.added_ids = frozenset(token["id"] for token in state["added_tokens"])
        self.prefixing = prefixing_of(state)
        self.spells_bytes = spelling_of(state) != "wordpiece"
        self.normalises = any(
            part["type"] not in ("Prepend", "Replace") for part in component_types(state["normalizer"])
        )
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.pieces = vocabulary_bytes(state, vocabulary, 1 + max(vocabulary.values()))

    @cached_property
    def opening(self) -> Tokenizer:
        """For text at the start of a string."""
        return _load(self.state) if self._own is None else self._own

    @cached_property
    def continuing(self) -> Tokenizer:
        """For text in mid-string."""
        return self.opening if self.prefixing == "never" else _load(_without_prefix(self.state))

    def markup(self, text: str, *, continuing: bool) -> list[int]:
        """Tokenise template markup; special tokens become themselves."""
        after_text = self.prefixing == "start" or not self._starts_with_added(text)
        backend = self.continuing if continuing and after_text else self.opening
        return backend.encode(text, add_special_tokens=False).ids

    def contents(self, texts: Sequence[str], *, continuing: bool, spans: bool) -> list[Encoding]:
        """Tokenise contents; the text of a special token is ordinary text. ``spans``: with character spans."""
        if not texts:
            return []
        backend = self.continuing if continuing else self.opening
        backend.encode_special_tokens = True
        try:
            encode = backend.encode_batch if spans else backend.encode_batch_fast
            return encode(list(texts), add_special_tokens=False)
        finally:
            backend.encode_special_tokens = False

    def _starts_with_added(self, text: str) -> bool:
        return any(text.startswith(token["content"]) for token in self.state["added_tokens"])


def prefixing_of(state: dict[str, Any]) -> Prefixing:
    """Return where the tokenizer of a parsed ``tokenizer.json`` adds a dummy space."""
    if any(part["type"] == "Prepend" for part in component_types(state["normalizer"])):
        return "section"
    for part in component_types(state["pre_tokenizer"]):
        if part["type"] == "Metaspace" and part.get("prepend_scheme") != "never":
            return "start" if part.get("prepend_scheme") == "first" else "section"
        if part["type"] == "ByteLevel" and part["add_prefix_space"]:
            return "section"
    return "never"


def _load(state: dict[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(state))


def _without_prefix(state: dict[str, Any]) -> dict[str, Any]:
    changed = {**state, "pre_tokenizer": copy.deepcopy(state["pre_tokenizer"])}
    for part in component_types(changed["pre_tokenizer"]):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
    kept = [part for part in component_types(state["normalizer"]) if part["type"] != "Prepend"]
    changed["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
    return changed


def _mark_control_tokens(state: dict[str, Any], template: str) -> bool:
    """Mark as special the added tokens that structure the template although their files do not call them special.

    Tags such as ``<think>`` stay ordinary: models write them inside their answers. Returns whether any was marked.
    """
    marked = False
    for token in state["added_tokens"]:
        text: str = token["content"]
        structural = text in template and text[:1] in ("<", "[") and not _TAG.match(text)
        marked |= structural and not token["special"]
        token["special"] = bool(token["special"]) or structural
    return marked
