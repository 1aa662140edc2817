"""Examples and tokenizers for checks: small, awkward, and free of downloads."""

from __future__ import annotations

from tide_specs.byte_tokenizer import ByteTokenizer
from tide_specs.text import Example, Message

TEXTS = {
    "ascii": "the cat sat on the mat, and then the dog came in.",
    "spaces": "  two\tspaces \n\n and  a line  ",
    "unicode": "naïve café — 東京の猫 🐈‍⬛ и кот, e\u0301 and é",
    "emoji": "👩‍👩‍👧‍👦👍🏽",
    "one letter": "a",
    "empty": "",
}
"""Contents that alignments and tokenizers must survive."""

WORDS = [b"the ", b"th", b"he", b" c", b"cat", b"at", b" sat", b"on ", b" m", b"og", b"and", b"en", b"  ", "é".encode()]
"""Pieces of one vocabulary; ``OTHER_WORDS`` cut the same text elsewhere, also inside characters."""
OTHER_WORDS = [b"the", b" cat", b"sa", b"t ", b"on", b" mat", b"an", b"d ", b"in", "東京".encode(), "猫 ".encode()[:4]]


def text(content: str, key: str = "text") -> Example:
    """Return a plain text of one trainable message."""
    return Example(key=key, messages=(Message(role="text", content=content, trainable=True),))


def chat(content: str, key: str = "chat", prompt: str = "the cat?") -> Example:
    """Return a conversation whose answer is ``content``; the answer's text also occurs in the prompt."""
    question = Message(role="user", content=f"{prompt} {content}")
    return Example(key=key, messages=(question, Message(role="assistant", content=content, trainable=True)))


def examples() -> list[Example]:
    """Return a text and a conversation for each of ``TEXTS``, and one conversation of several turns."""
    made = [kind(content, f"{kind.__name__} '{name}'") for name, content in TEXTS.items() for kind in (text, chat)]
    turns = [
        Message(role=role, content=content, trainable=role == "assistant")
        for role, content in (("user", "Yes?"), ("assistant", "Yes"), ("user", "Yes, the cat"), ("assistant", "Yes"))
    ]
    parts = (
        Message(role="text", content="def cat():\n"),
        Message(role="text", content="    return 'the cat'\n", trainable=True),
    )
    return [*made, Example(key="turns", messages=tuple(turns)), Example(key="completion", messages=parts)]


def byte_tokenizer() -> ByteTokenizer:
    """Return a tokenizer of single bytes."""
    return ByteTokenizer()


def word_tokenizer() -> ByteTokenizer:
    """Return a tokenizer of short pieces."""
    return ByteTokenizer(WORDS)


def other_tokenizer() -> ByteTokenizer:
    """Return a tokenizer that cuts elsewhere than ``word_tokenizer`` and has another template."""
    return ByteTokenizer(OTHER_WORDS, short_headers=True)


def padded_tokenizer() -> ByteTokenizer:
    """Return ``word_tokenizer`` with another template, and unused ids at the end of its vocabulary."""
    return ByteTokenizer(WORDS, short_headers=True, vocabulary_size=320)
