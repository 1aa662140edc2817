"""Examples through the ``datasets`` library: a hub name, a local folder, or a Parquet, Arrow, JSON or CSV file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tide_specs import DataError, Dataset, Example, Split

from .records import Columns, messages_of
from .splits import fingerprint_of, split_of

FORMATS = {".parquet": "parquet", ".arrow": "arrow", ".json": "json", ".jsonl": "json", ".csv": "csv"}


class HuggingFace(Dataset):
    """A table with a column of messages, columns of prompts and responses, or a column of texts.

    ``path`` is a name on the hub, a folder (saved by ``datasets`` or holding data files) or a single data file. Only what
    the assistant says, the response or the text is trained on. Without ``evaluation_split``, rows are held out by the
    hash of their text.
    """

    name: Literal["huggingface"] = "huggingface"
    requires: ClassVar[tuple[str, ...]] = ("datasets",)

    path: str = Field(description="name on the hub, local folder, or .parquet, .arrow, .json, .jsonl or .csv file")
    configuration: str | None = Field(default=None, description="configuration (subset) of a dataset that has several")
    revision: str | None = Field(default=None, description="git revision of a dataset on the hub")
    train_split: str = Field(default="train", description="the table's split to train on")
    evaluation_split: str | None = Field(default=None, description="the table's split that is held out")
    evaluation_fraction: float = Field(
        default=0.05, ge=0, lt=1, description="share of train_split that is held out; unused with evaluation_split"
    )
    messages: str = Field(default="messages", description="column of message lists ({role, content} each)")
    prompt: str = Field(default="prompt", description="column of prompts, used with response")
    response: str = Field(default="response", description="column of responses")
    text: str = Field(default="text", description="column of plain texts")
    chat: bool = Field(
        default=True,
        description="prompt and response are turns of a chat; false: the response continues the prompt as plain text",
    )

    @model_validator(mode="after")
    def _apart(self) -> HuggingFace:
        if self.evaluation_split == self.train_split:
            raise ValueError(
                f"evaluation_split is train_split ('{self.train_split}'): held-out rows must not be trained on"
            )
        return self

    def examples(self, split: Split) -> Iterator[Example]:
        """Yield the examples of a split. Raises ``DataError`` that names path and row."""
        columns = Columns(
            messages=self.messages, prompt=self.prompt, response=self.response, text=self.text, chat=self.chat
        )
        name = self._table_split(split)
        table = self._table(name)
        used: list[str] = [column for column in table.column_names if column in _names(columns)]
        for number, record in enumerate(table.select_columns(used) if used else table):
            where = f"{self.path}[{name}][{number}]"
            messages = messages_of(record, columns, where)
            identity = "\0".join(f"{message.role}\0{message.content}" for message in messages)
            if self.evaluation_split is None and split_of(identity, self.evaluation_fraction) != split:
                continue
            yield Example(key=f"{name}:{number}", messages=messages, source=where)

    def fingerprint(self) -> str:
        """Return a hash over the tables' contents and the options that choose among them."""
        tables = {
            name: _digest(self._table(name)) for name in sorted({self.train_split, self._table_split("evaluation")})
        }
        options = self.model_dump(exclude={"max_length", "teacher_max_length", "packing", "path", "revision"})
        return fingerprint_of({"version": self.version, "tables": tables, **options})

    def _table_split(self, split: Split) -> str:
        return (
            self.evaluation_split if split == "evaluation" and self.evaluation_split is not None else self.train_split
        )

    def _table(self, split: str) -> Any:
        if split != self.train_split and _is_one_table(Path(self.path)):
            raise DataError(
                f"{self.path}: holds one table, so it has no split '{split}' to hold out; leave out data.evaluation_split and "
                "set data.evaluation_fraction"
            )
        try:
            return _load(self.path, self.configuration, self.revision, split)
        except DataError:
            raise
        except Exception as error:  # the library raises whatever its readers and the network raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"{self.path}: split '{split}' cannot be loaded: {reason}") from error


def _is_one_table(path: Path) -> bool:
    return path.is_file() or (path / "state.json").is_file()


def _load(path: str, configuration: str | None, revision: str | None, split: str) -> Any:
    """Return a ``datasets.Dataset``."""
    datasets: Any = import_module("datasets")
    local = Path(path)
    if local.is_file():
        if local.suffix not in FORMATS:
            raise DataError(f"{path}: unknown format '{local.suffix}'; use one of {', '.join(FORMATS)}, or a folder")
        return datasets.load_dataset(FORMATS[local.suffix], data_files={split: path}, split=split)
    if _is_one_table(local):
        return datasets.load_from_disk(path)
    if not local.exists() and (local.is_absolute() or path.startswith(".") or local.suffix in FORMATS):
        raise DataError(f"{path}: no such file or folder; check data.path")
    if not (local / "dataset_dict.json").is_file():
        return datasets.load_dataset(path, configuration, split=split, revision=revision)
    tables = datasets.load_from_disk(path)
    if split not in tables:
        raise DataError(f"{path}: no split '{split}'; there are {', '.join(map(str, tables))}")
    return tables[split]


def _names(columns: Columns) -> set[str]:
    return {columns.messages, columns.prompt, columns.response, columns.text}


def _digest(table: Any) -> str:
    """Hash what the table holds, so that the same data counts as the same wherever it was loaded from."""
    digest = hashlib.sha256()
    for batch in table.data.to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
