"""A dataset: every text file of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from tide_specs import DataError, Dataset, Example, Message, Split, hookimpl


class TextFolder(Dataset):
    """One example per ``.txt`` file; one file in ten, by the hash of its content, is held out."""

    name: Literal["text_folder"] = "text_folder"
    path: str = Field(description="the folder")

    def examples(self, split: Split) -> Iterator[Example]:
        """Yield the files of a split, sorted by name."""
        for file, text in self._texts():
            held_out = hashlib.sha256(text.encode()).digest()[0] < 26
            if held_out == (split == "evaluation"):
                message = Message(role="text", content=text, trainable=True)
                yield Example(key=file.name, messages=[message], source=str(file))

    def fingerprint(self) -> str:
        """Hash over names and contents."""
        digest = hashlib.sha256()
        for file, text in self._texts():
            digest.update(f"{file.name}\0{text}\0".encode())
        return digest.hexdigest()

    def _texts(self) -> Iterator[tuple[Path, str]]:
        files = sorted(Path(self.path).glob("*.txt"))
        if not files:
            raise DataError(f"{self.path}: holds no .txt file; check data.path")
        for file in files:
            try:
                yield file, file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{file}: not valid UTF-8 (byte {error.start})") from error


@hookimpl
def tide_datasets() -> list[type[TextFolder]]:
    """Contribute the dataset."""
    return [TextFolder]
