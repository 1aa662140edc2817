"""Examples, and what a tokenizer must tell about them.

A dataset yields ``Example`` objects. A ``TextTokenizer`` renders and encodes each one into an ``EncodedExample``, which
records for every token where it ends in the raw UTF-8 bytes of its message. Alignments work on these offsets alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message. ``trainable``: the student learns to write it (responses, not prompts)."""

    role: str
    content: str
    trainable: bool = False


@dataclass(frozen=True, kw_only=True)
class Example:
    """One training or evaluation example.

    A conversation has roles such as ``system``, ``user``, ``assistant`` and is rendered through each side's chat
    template. A plain text is a list of messages of role ``"text"``, which are concatenated without any markup: a
    completion task is ``[Message(role="text", content=prompt), Message(role="text", content=answer, trainable=True)]``.
    ``key`` identifies the example within its dataset; ``source`` says where it came from, for error messages.
    """

    key: str
    messages: Sequence[Message]
    source: str = ""

    @property
    def is_text(self) -> bool:
        """Whether this is plain text, to be rendered without a chat template."""
        return all(message.role == "text" for message in self.messages)


class TokenKind(IntEnum):
    """What a token of an encoded example is."""

    MARKUP = 0
    """Template markup, BOS, padding: belongs to no chunk and is never trained on."""
    CONTENT = 1
    """Part of a message's content."""
    END_OF_TURN = 2
    """The token that ends a message: aligned by role, so that the student learns where to stop."""
    FILL = 3
    """EOS tokens that fill the last block of a block-diffusion student; trained on, aligned with nothing."""


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """The tokens of one example on one side. All arrays have length L.

    ids int32; kind int8 (``TokenKind``); message int32: number of the message that the token belongs to, -1 for markup;
    end int32: offset in the raw UTF-8 bytes of that message's content at which the token ends, -1 when the token bounds
    nothing (zero width, or its end cuts a normalised composition, or a character at an unknown byte); trainable bool.
    Position 0 is always markup, so that an autoregressive model can predict every other position.
    """

    ids: NDArray[np.int32]
    kind: NDArray[np.int8]
    message: NDArray[np.int32]
    end: NDArray[np.int32]
    trainable: NDArray[np.bool_]


class TextTokenizer(ABC):
    """What the framework needs of a tokenizer. Bundled for every Hugging Face tokenizer; write one for anything else.

    Must be picklable: examples are encoded in worker processes.
    """

    vocabulary_size: int
    """Number of ids, special and added tokens included."""
    mask_token_id: int | None
    pad_token_id: int
    end_of_turn_token_id: int
    """The token that ends an assistant message or a text."""

    @abstractmethod
    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Render and encode examples; see ``EncodedExample``.

        Raises ``DataError`` when an example has chat roles and the tokenizer has no chat template, or when the template
        drops or reorders messages.
        """

    @abstractmethod
    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of a prompt that the assistant is about to answer (``role="text"``: that is to be continued)."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""

    @abstractmethod
    def token_bytes(self) -> Sequence[bytes | None]:
        """Return the bytes of every id below ``vocabulary_size``; ``None`` for special and unused ids."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash over ids, bytes, normaliser, pre-tokenizer, added tokens and template."""

    @abstractmethod
    def save(self, path: str) -> None:
        """Write the tokenizer's files into the directory ``path``."""

    def describe(self) -> Mapping[str, str]:
        """Return facts for reports, e.g. ``{"algorithm": "BPE", "normaliser": "NFC"}``."""
        return {}


class ChunkRelation(IntEnum):
    """How many tokens of each side a chunk holds (student : teacher)."""

    ONE_TO_ONE = 0
    MANY_TO_ONE = 1
    """Several student tokens make one teacher token."""
    ONE_TO_MANY = 2
    """Several teacher tokens make one student token."""
    MANY_TO_MANY = 3


@dataclass(frozen=True, kw_only=True)
class AlignedPair:
    """The chunks of one example, in text order. C chunks; Ls and Lt tokens.

    student [Ls] and teacher [Lt] int32: chunk of each token, 0..C-1, -1 outside every chunk. Tokens of a chunk are
    contiguous on each side. bytes [C] int32: UTF-8 bytes spanned (0 for an end-of-turn chunk). relation [C] int8.
    """

    student: NDArray[np.int32]
    teacher: NDArray[np.int32]
    bytes: NDArray[np.int32]
    relation: NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class SharedColumns:
    """Which columns of both heads mean the same token: ids [0, size) when the two index arrays are ``None``.

    student_ids and teacher_ids [size] int64 otherwise: column k of the comparison is ``student_ids[k]`` of the student's
    head and ``teacher_ids[k]`` of the teacher's.
    """

    size: int
    student_ids: NDArray[np.int64] | None = field(default=None)
    teacher_ids: NDArray[np.int64] | None = field(default=None)
