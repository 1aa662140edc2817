"""Every fast tokenizer of transformers as a ``TextTokenizer``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tide_specs import DataError, EncodedExample, Example, Message, TextTokenizer

from .assembly import Content, Markup, assemble
from .backends import Backends
from .offsets import Ends, drop_empty, spanned_ends, spelled_ends
from .pieces import component_types
from .rendering import render_markup

MASK_TOKEN = "<|mask|>"
"""The token that is added when a tokenizer has no mask token."""


@dataclass(frozen=True)
class _Skeleton:
    """What surrounds the contents: n + 1 markups; per content, whether the space before it goes into its first token,
    and whether it continues a string."""

    markup: Sequence[Markup]
    glued: Sequence[bool]
    continuing: Sequence[bool]


@dataclass(frozen=True)
class _Slot:
    """One content to tokenise."""

    text: str
    glued: bool
    continuing: bool


class HuggingFaceTokenizer(TextTokenizer):
    """A fast tokenizer of transformers, with its chat template.

    Markup and contents are tokenised apart, so that no token spans both; a single space that the template puts before a
    content goes into the content's first token, as it does in native tokenisation. ``end_of_turn``: the token that ends an
    answer where the chat template does not tell; default: the end-of-sequence token.
    """

    def __init__(self, tokenizer: Any, *, mask_token_id: int | None, end_of_turn: str | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise DataError(
                f"tokenizer {type(tokenizer).__name__} has no fast (tokenizer.json) form, which byte offsets need; "
                "convert it, or implement tide_specs.TextTokenizer for it"
            )
        self.tokenizer = tokenizer
        self.mask_token_id = mask_token_id
        self.vocabulary_size = 1 + max(tokenizer.get_vocab().values())
        self._skeletons: dict[tuple[str, ...], _Skeleton] = {}
        self.end_of_turn_token_id = self._find_end_of_turn(tokenizer.get_vocab().get(end_of_turn))
        pad = tokenizer.pad_token_id
        self.pad_token_id = _first(pad, tokenizer.eos_token_id, self.end_of_turn_token_id)

    @classmethod
    def from_path(
        cls,
        path: str,
        *,
        mask_token: str | None = None,
        add_mask_token: bool = False,
        gguf_file: str | None = None,
        trust_remote_code: bool = False,
    ) -> HuggingFaceTokenizer:
        """Load from a directory, a hub name or a GGUF file.

        The mask token is the tokenizer's own, else ``mask_token`` (which must exist), else, with ``add_mask_token``, a new
        special token; otherwise there is none. Raises ``DataError`` with the remedy.
        """
        import transformers

        auto: Any = transformers.AutoTokenizer
        source = path
        if path.endswith(".gguf") and gguf_file is None:
            path, gguf_file = str(Path(path).parent), Path(path).name
        named: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
        with _explained(source):
            tokenizer: Any = auto.from_pretrained(path, trust_remote_code=trust_remote_code, **named)
        return cls(tokenizer, mask_token_id=resolve_mask_token(tokenizer, mask_token, add=add_mask_token))

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Render and encode examples; see ``TextTokenizer.encode``."""
        _refuse_surrogates(examples)
        skeletons = [self._skeleton_of(example) for example in examples]
        slots = [
            _Slot(message.content, skeleton.glued[number], skeleton.continuing[number])
            for example, skeleton in zip(examples, skeletons, strict=True)
            for number, message in enumerate(example.messages)
        ]
        encoded = iter(self._encode_slots(slots))
        results: list[EncodedExample] = []
        for example, skeleton in zip(examples, skeletons, strict=True):
            contents = [Content(*next(encoded), message.trainable) for message in example.messages]
            results.append(assemble(skeleton.markup, contents))
            self._refuse_mask_token(example, results[-1])
        return results

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids before the assistant's answer (or before the continuation of a text), as training has them."""
        text = all(message.role == "text" for message in messages)
        roles = [message.role for message in messages]
        skeleton = self._text_skeleton(len(roles)) if text else self._chat_skeleton((*roles, "assistant"))
        slots = [
            _Slot(message.content, glued, continuing)
            for message, glued, continuing in zip(messages, skeleton.glued, skeleton.continuing, strict=False)
        ]
        ids = list(skeleton.markup[0].ids)
        for number, (content, _) in enumerate(self._encode_slots(slots)):
            ids += content
            if not text:
                ids += skeleton.markup[number + 1].ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def token_bytes(self) -> Sequence[bytes | None]:
        """Return the bytes of every id; ``None`` for special, unknown and unused ids."""
        return self._backends.pieces

    def fingerprint(self) -> str:
        """Return a hash over vocabulary, normaliser, pre-tokenizer, added tokens, template and mask token."""
        return self._fingerprint

    def save(self, path: str) -> None:
        """Write ``tokenizer.json``, its configuration and the chat template into the directory ``path``."""
        self.tokenizer.save_pretrained(path)

    def describe(self) -> Mapping[str, str]:
        """Return the algorithm, the normaliser, the size and the special tokens."""
        state = self._backends.state
        normaliser = ", ".join(part["type"] for part in component_types(state["normalizer"]))
        tokens = {"mask": self.mask_token_id, "padding": self.pad_token_id, "end of turn": self.end_of_turn_token_id}
        return {
            "algorithm": str(state["model"].get("type", "unknown")),
            "normaliser": normaliser or "none",
            "vocabulary": str(self.vocabulary_size),
            "chat template": "yes" if self.tokenizer.chat_template else "no",
            **{role: "none" if i is None else self.tokenizer.convert_ids_to_tokens(i) for role, i in tokens.items()},
        }

    def __getstate__(self) -> dict[str, Any]:
        # Backends are rebuilt by the process that needs them: they are large and some of their switches do not pickle.
        return {key: value for key, value in self.__dict__.items() if key != "_backends"}

    @cached_property
    def _backends(self) -> Backends:
        return Backends(self.tokenizer)

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        rest = (self.tokenizer.chat_template, self.mask_token_id, self.pad_token_id, self.end_of_turn_token_id)
        digest.update(json.dumps([*rest, self._opening_ids()], sort_keys=True).encode())
        return digest.hexdigest()

    def _opening_ids(self) -> list[int]:
        """What a string starts with, so that position 0 is never content."""
        own = self.tokenizer
        return [_first(own.bos_token_id, own.cls_token_id, own.eos_token_id, self.end_of_turn_token_id)]

    def _find_end_of_turn(self, announced: int | None) -> int:
        if self.tokenizer.chat_template is not None:
            after = render_markup(self.tokenizer, ["user", "assistant"])[-1]
            ids = self._backends.markup(after, continuing=True)
            control = [i for i in ids if i in self._backends.control_ids]
            if control:
                return control[0]
        own = self.tokenizer
        return _first(announced, own.eos_token_id, own.sep_token_id, own.pad_token_id)

    def _skeleton_of(self, example: Example) -> _Skeleton:
        if example.is_text:
            return self._text_skeleton(len(example.messages))
        try:
            return self._chat_skeleton(tuple(message.role for message in example.messages))
        except DataError as error:
            raise DataError(f"example {example.source or example.key}: {error}") from error

    def _text_skeleton(self, messages: int) -> _Skeleton:
        between = [Markup([])] * (messages - 1)
        last = Markup([self.end_of_turn_token_id], 0)
        return _Skeleton(
            markup=[Markup(self._opening_ids()), *between, last],
            glued=[False] * messages,
            continuing=[number > 0 for number in range(messages)],
        )

    def _chat_skeleton(self, roles: tuple[str, ...]) -> _Skeleton:
        if roles not in self._skeletons:
            self._skeletons[roles] = self._build_skeleton(roles)
        return self._skeletons[roles]

    def _build_skeleton(self, roles: tuple[str, ...]) -> _Skeleton:
        texts = render_markup(self.tokenizer, roles)
        glued = [text.endswith(" ") and not text.endswith("  ") for text in texts[:-1]]
        cut = [text[:-1] if glue else text for text, glue in zip(texts, [*glued, False], strict=True)]
        markup = [self._markup(text, continuing=number > 0) for number, text in enumerate(cut)]
        if not markup[0].ids:
            markup[0] = Markup(self._opening_ids())
        if roles[-1] == "assistant" and markup[-1].turn_end < 0:
            markup[-1] = Markup([self.end_of_turn_token_id, *markup[-1].ids], 0)
        continuing = [bool(cut[0]) or number > 0 for number in range(len(roles))]
        if self._backends.prefixing == "section":
            ends = [piece.ids[-1:] for piece in markup[:-1]]
            continuing = [bool(end) and end[0] not in self._backends.added_ids for end in ends]
        return _Skeleton(markup, glued, [c or g for c, g in zip(continuing, glued, strict=True)])

    def _markup(self, text: str, *, continuing: bool) -> Markup:
        ids = self._backends.markup(text, continuing=continuing)
        control = [place for place, i in enumerate(ids) if i in self._backends.control_ids]
        ends = bool(control) and continuing and ids[control[0]] == self.end_of_turn_token_id
        return Markup(ids, control[0] if ends else -1)

    def _encode_slots(self, slots: Sequence[_Slot]) -> list[tuple[Sequence[int], Ends]]:
        """Tokenise contents, batched; the ids and the ends of each."""
        results: list[tuple[Sequence[int], Ends]] = [([], np.zeros(0, np.int32))] * len(slots)
        for continuing in (False, True):
            chosen = [n for n, slot in enumerate(slots) if slot.text and slot.continuing == continuing]
            left = self._spelled(slots, chosen, results) if self._backends.spells_bytes else chosen
            texts = [" " * slots[n].glued + slots[n].text for n in left]
            for n, encoding in zip(
                left, self._backends.contents(texts, continuing=continuing, spans=True), strict=True
            ):
                ids, text = encoding.ids, " " * slots[n].glued + slots[n].text
                spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
                pieces = [self._backends.pieces[i] for i in ids]
                ends = spanned_ends(text, spans, pieces, composes=self._backends.normalises)
                results[n] = (ids, drop_empty(ends - 1) if slots[n].glued else ends)
        return results

    def _spelled(
        self, slots: Sequence[_Slot], chosen: Sequence[int], results: list[tuple[Sequence[int], Ends]]
    ) -> list[int]:
        """Fill in the contents whose pieces spell their bytes, the common case; return the others."""
        if not chosen:
            return []
        texts = [" " * slots[n].glued + slots[n].text for n in chosen]
        left: list[int] = []
        encodings = self._backends.contents(texts, continuing=slots[chosen[0]].continuing, spans=False)
        for n, encoding in zip(chosen, encodings, strict=True):
            ids = encoding.ids
            ends = spelled_ends(slots[n].text.encode(), [self._backends.pieces[i] for i in ids])
            if ends is None:
                left.append(n)
            else:
                results[n] = (ids, ends)
        return left

    def _refuse_mask_token(self, example: Example, encoded: EncodedExample) -> None:
        if self.mask_token_id is not None and bool((encoded.ids == self.mask_token_id).any()):
            token = self.tokenizer.convert_ids_to_tokens(self.mask_token_id)
            raise DataError(
                f"example {example.source or example.key} contains the mask token {token!r} (id {self.mask_token_id}), "
                "which must not occur in data; choose another mask token or leave the example out"
            )


def fast_tokenizer(source: str, model_type: str) -> Any:
    """Return the library's own fast tokenizer of a directory or hub name, whatever class its files name.

    ``tokenizer.json`` is taken as it is; where there is only a vocabulary with merges, the class that transformers pairs with
    ``model_type`` reads it. Code that comes with the tokenizer does not run. Raises ``DataError``.
    """
    import transformers
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES
    from transformers.utils.hub import cached_file

    with _explained(source):
        whole = cached_file(source, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
        paired = None if whole is not None else TOKENIZER_MAPPING_NAMES.get(model_type)
        kind: Any = getattr(transformers, paired or "PreTrainedTokenizerFast")
        tokenizer: Any = kind.from_pretrained(source)
    # What is saved again needs no code of its own either.
    tokenizer.init_kwargs.pop("auto_map", None)
    return tokenizer


@contextmanager
def _explained(source: str) -> Generator[None]:
    """Turn whatever the library raises while it reads a tokenizer into a ``DataError`` with the remedy."""
    try:
        yield
    except Exception as error:
        remedy = (
            "it brings its own code: set trust_remote_code if you trust that"
            if "trust_remote_code" in str(error)
            else "give a directory that holds tokenizer.json, a hub name, or a GGUF file"
        )
        reason = " ".join(str(error).split())
        raise DataError(f"cannot load a tokenizer from {source!r}: {reason}; {remedy}") from error


def resolve_mask_token(tokenizer: Any, named: str | None, *, add: bool) -> int | None:
    """Return the id of the tokenizer's own mask token, else of the ``named`` one, else of a new one when ``add``."""
    if tokenizer.mask_token_id is not None:
        return int(tokenizer.mask_token_id)
    if named is not None:
        vocabulary = tokenizer.get_vocab()
        if named not in vocabulary:
            raise DataError(
                f"mask token {named!r} is not in the vocabulary; name an existing token, or let one be added"
            )
        tokenizer.mask_token = named
    elif add:
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
    return None if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)


def _first(*candidates: int | None) -> int:
    return next((int(candidate) for candidate in candidates if candidate is not None), 0)


def _refuse_surrogates(examples: Sequence[Example]) -> None:
    for example in examples:
        for message in example.messages:
            try:
                message.content.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"example {example.source or example.key} holds a lone surrogate at character {error.start} of a "
                    f"message of role {message.role!r}, which is not text; repair it or leave the example out"
                ) from error
