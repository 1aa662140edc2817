"""The texts of a report, each message with the domain that its figures count for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tide_specs import ConfigError, DataError, Dataset, Example, Message, Split

SAMPLE = {
    "prose": "prose.txt",
    "code": "code.txt",
    "markup": "markup.txt",
    "CJK": "cjk.txt",
    "emoji": "emoji.txt",
    "other scripts": "other_scripts.txt",
}
"""Domain -> file of the built-in sample."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One example, and the domain of each of its messages."""

    example: Example
    domains: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What is compared. ``source`` says what it is; ``cut``: the domains of which only the beginning was read."""

    source: str
    documents: Sequence[Document]
    cut: Sequence[str] = ()


def sample() -> Texts:
    """Return the built-in sample: some kilobytes of prose, code, markup, CJK, emoji and other scripts."""
    folder = files("tide_core").joinpath("alignment_report", "samples")
    texts = {domain: folder.joinpath(name).read_text(encoding="utf-8") for domain, name in SAMPLE.items()}
    return Texts(source="built-in sample", documents=[_plain(domain, text, domain) for domain, text in texts.items()])


def from_files(given: Sequence[str], limit: int) -> Texts:
    """Read texts given as ``FILE`` or ``DOMAIN=FILE``; at most ``limit`` bytes of each domain.

    A file without a domain is one of its own, by its name. Raises ``DataError`` naming the file that cannot be read, is no
    UTF-8 text, or is empty.
    """
    documents: list[Document] = []
    left: dict[str, int] = {}
    cut: dict[str, None] = {}
    for word in given:
        domain, path = _named(word)
        text, whole = _beginning(_read(path), left.get(domain, limit))
        left[domain] = left.get(domain, limit) - len(text.encode())
        if not whole:
            cut[domain] = None
        if text:
            documents.append(_plain(domain, text, str(path)))
    return Texts(source=", ".join(given), documents=documents, cut=list(cut))


def from_dataset(dataset: Dataset, split: Split, limit: int) -> Texts:
    """Take examples of a dataset until they hold ``limit`` bytes; a domain for each role, ``text`` for plain texts.

    Raises ``DataError`` when the split is empty.
    """
    documents: list[Document] = []
    taken, roles = 0, dict[str, None]()
    whole = True
    for example in dataset.examples(split):
        if taken >= limit:
            whole = False
            break
        documents.append(Document(example=example, domains=[message.role for message in example.messages]))
        roles.update(dict.fromkeys(documents[-1].domains))
        taken += sum(len(message.content.encode("utf-8", "replace")) for message in example.messages)
    if not taken:
        raise DataError(f"data: dataset '{dataset.name}' has no text in its {split} split; give --text FILE instead")
    return Texts(
        source=f"dataset '{dataset.name}', {split} split", documents=documents, cut=[] if whole else list(roles)
    )


def _plain(domain: str, text: str, source: str) -> Document:
    example = Example(key=source, source=source, messages=[Message(role="text", content=text)])
    return Document(example=example, domains=[domain])


def _named(word: str) -> tuple[str, Path]:
    """``prose=a.txt`` -> its domain and path; a file whose name holds ``=`` is taken as it is."""
    domain, separator, path = word.partition("=")
    if not separator or Path(word).exists():
        return Path(word).name or word, Path(word)
    if not domain.strip() or not path:
        raise ConfigError(f"--text {word}: write  --text FILE  or  --text DOMAIN=FILE, e.g. --text prose=novel.txt")
    return domain.strip(), Path(path)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"--text {path}: cannot be read ({error.strerror or error}); name a text file") from error
    if b"\0" in raw:
        raise DataError(f"--text {path}: is a binary file (byte {raw.index(0)} is zero); name a text file in UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"--text {path}: byte {error.start} is not UTF-8 ({error.reason}); name a text file, or convert it to UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"--text {path}: holds no text; name a file with something in it")
    return text


def _beginning(text: str, limit: int) -> tuple[str, bool]:
    """Return as many whole characters as ``limit`` bytes hold, and whether that is all."""
    raw = text.encode()
    return (text, True) if len(raw) <= limit else (raw[: max(0, limit)].decode("utf-8", "ignore"), False)


def batches(documents: Sequence[Document], size: int = 256) -> Iterator[Sequence[Document]]:
    """Yield the documents in groups that are encoded together."""
    for start in range(0, len(documents), size):
        yield documents[start : start + size]
