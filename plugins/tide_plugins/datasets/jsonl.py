"""Examples from JSON Lines: one object a line, streamed, each line checked when it is reached."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tide_specs import DataError, Dataset, Example, Split

from .records import Columns, messages_of
from .splits import fingerprint_of, split_of


class JsonLines(Dataset):
    """A file with one JSON object a line.

    ``{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}``,
    ``{"prompt": "...", "response": "..."}`` or ``{"text": "..."}``; other keys are ignored, and so are empty lines. The
    assistant's messages, the response or the text are trained on. Without ``evaluation_path``, lines are held out by
    their hash, so that equal lines never stand on both sides; with it, keeping the two files apart is up to you.
    """

    name: Literal["jsonl"] = "jsonl"

    path: str = Field(description="file with the training examples")
    evaluation_path: str | None = Field(default=None, description="file with the held-out examples")
    evaluation_fraction: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="share of the lines of path that are held out; unused with evaluation_path",
    )
    chat: bool = Field(
        default=True,
        description="prompt and response are turns of a chat; false: the response continues the prompt as plain text",
    )

    @model_validator(mode="after")
    def _apart(self) -> JsonLines:
        if self.evaluation_path == self.path:
            raise ValueError(f"evaluation_path is path ('{self.path}'): held-out lines must not be trained on")
        return self

    def examples(self, split: Split) -> Iterator[Example]:
        """Yield the examples of a split. Raises ``DataError`` such as ``train.jsonl:17: ...`` at a line it cannot use."""
        path = self._path(split)
        for number, line in _lines(path):
            if self._split(line) not in (split, None):
                continue
            where = f"{path}:{number}"
            messages = messages_of(_parsed(line, where), Columns(chat=self.chat), where)
            yield Example(key=f"{Path(path).name}:{number}", messages=messages, source=where)

    def fingerprint(self) -> str:
        """Return a hash over the bytes of the files and the options that choose among their lines."""
        return fingerprint_of(
            {
                "version": self.version,
                "train": _digest(self.path),
                "evaluation": None if self.evaluation_path is None else _digest(self.evaluation_path),
                "fraction": self.evaluation_fraction,
                "chat": self.chat,
            }
        )

    def _path(self, split: Split) -> str:
        return self.evaluation_path if split == "evaluation" and self.evaluation_path is not None else self.path

    def _split(self, line: bytes) -> Split | None:
        """Return the split that a line belongs to; ``None`` where whole files are the splits."""
        return None if self.evaluation_path is not None else split_of(line, self.evaluation_fraction)


def _lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of the lines that are not empty."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                bare = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
                if bare:
                    yield number, bare
    except OSError as error:
        raise _unreadable(path, error) from error


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not valid UTF-8 (byte {error.start} of the line)") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise DataError(f"{where}: not usable: lists or objects are nested too deeply") from error


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}; check data.path and data.evaluation_path")
