"""``cached``: a teacher of which only the answers are left. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from pydantic import Field

from tide_specs import Architecture, ConfigError, DataError, Denoiser, Form, Role, Runtime, TextTokenizer

MANIFEST, TOKENIZER = "cache.json", "tokenizer"
"""Where a cache says what its teacher was, and holds the teacher's tokenizer."""


class Cached(Architecture):
    """A teacher whose answers `tide cache build` wrote down: no model loads, its tokenizer comes from the cache.

    A run file writes `teacher: {cache: DIR}`, without a name. The run must noise its text as the cache was built: the same
    data, tokenizers, alignment, view, corruption, schedule and seed; anything else is refused by name before a model
    loads. Epoch e repeats the noise of epoch e mod K, where K is the number of draws in the cache.
    """

    name: Literal["cached"] = "cached"
    roles: ClassVar[frozenset[Role]] = frozenset({"teacher"})

    cache: str = Field(description="directory that `tide cache build` wrote")

    @property
    def cache_path(self) -> str | None:
        """``cache``."""
        return self.cache

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the cache says of the teacher. Raises ``ConfigError`` where there is no cache, ``DataError`` when damaged."""
        path = Path(self.cache)
        try:
            found: Any = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            return cast("dict[str, Any]", found["config"]["teacher"])
        except (FileNotFoundError, NotADirectoryError):
            why = f"it has no {MANIFEST}" if path.is_dir() else "there is no such directory"
            raise ConfigError(f"{path}: not a teacher cache, {why}; build one with tide cache build RUN.yaml") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"cache {path}: {MANIFEST} does not say what the teacher was ({type(error).__name__}: {error}); "
                "delete the directory and build it again with tide cache build RUN.yaml"
            ) from error

    @property
    def denoiser_form(self) -> Form:
        """The form of the model that answered."""
        return cast("Form", self.facts["form"])

    @property
    def length_multiple(self) -> int:
        """As the model that answered had it."""
        return int(self.facts["length_multiple"])

    def serves(self, role: Role) -> str | None:
        """Return why this cannot be the student."""
        return None if role == "teacher" else "a cache holds what a teacher answered; there is no model to train"

    def tokenizer(self, role: Role) -> TextTokenizer:
        """Return the tokenizer that the cache holds. Raises ``DataError``."""
        from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer

        loaded = HuggingFaceTokenizer.from_path(str(Path(self.cache) / TOKENIZER)).tokenizer
        end: Any = self.facts["end_of_turn_token_id"]
        return HuggingFaceTokenizer(
            loaded,
            mask_token_id=self.facts["mask_token_id"],
            end_of_turn=None if end is None else loaded.convert_ids_to_tokens(end),
        )

    def load(self, role: Role, runtime: Runtime) -> Denoiser:
        """Raise ``ConfigError``: there is nothing to load."""
        raise ConfigError(
            f"{self.cache}: holds the answers of a teacher to one run's training data, and no model; "
            "name the model itself where it must run"
        )

    def plan(self) -> dict[str, Any]:
        """Return the sizes of the model that answered."""
        return dict(self.facts["plan"])

    def describe(self) -> dict[str, Any]:
        """Return what the cache says of the model that answered."""
        return {"cache": {"teacher": self.facts["name"], "form": self.facts["form"], "columns": self.facts["columns"]}}
