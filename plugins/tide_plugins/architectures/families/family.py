"""What a published model family is to TIDE: a renaming onto transformers' own classes, and how it denoises. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tide_specs import Form

Shift = Literal["none", "right"]
Order = Literal["noisy_first", "clean_first"]
Variant = Literal["native", "published"]
Settings = Mapping[str, Any]
"""A family's own ``config.json``, as read."""


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """How a checkpoint denoises; the fields are the options of ``huggingface`` with the same names."""

    form: Form
    block_size: int | None = None
    shift: Shift = "none"
    order: Order = "noisy_first"
    causal: bool = False
    observed_first: bool = False


class Family(ABC):
    """A family of published checkpoints. Stateless; every method reads the checkpoint's own ``config.json``.

    A checkpoint is loaded into the transformers class that ``native_config`` names, its weights renamed by
    ``conversions``, and saved again under the names and with the configuration that it was published with.
    """

    name: ClassVar[str]
    """Short name, as reports print it: ``llada2``."""
    title: ClassVar[str]
    """Name and source, as a catalogue prints it."""
    model_types: ClassVar[frozenset[str]] = frozenset()
    """Values of ``model_type`` that belong to this family alone."""
    class_names: ClassVar[frozenset[str]] = frozenset()
    """Class names, in ``architectures`` or ``auto_map``, that belong to this family alone."""
    mask_token: ClassVar[str | None] = None
    """Text of the mask token in the family's tokenizer."""
    usual_mask_token_id: ClassVar[int | None] = None
    """The mask token's id in releases whose ``config.json`` does not say it."""
    end_of_turn: ClassVar[str | None] = None
    """Text of the token that ends an answer in a chat; ``None``: the tokenizer's end-of-sequence token."""
    chat_template: ClassVar[str | None] = None
    """Jinja template for tokenizers that come without one."""

    def recognises(self, settings: Settings) -> bool:
        """Return whether a checkpoint with this ``config.json`` is of the family."""
        if settings.get("model_type") in self.model_types:
            return True
        return not self.class_names.isdisjoint(published_classes(settings))

    @abstractmethod
    def semantics(self, settings: Settings, variant: Variant) -> Semantics:
        """Return how the checkpoint denoises: as its authors run it, or as TIDE's released trainer does (``published``)."""

    @abstractmethod
    def native_config(self, settings: Settings) -> dict[str, Any]:
        """Return ``model_type`` and options of the transformers configuration that computes the same.

        Raises ``CheckpointError`` for a setting that no native class can express.
        """

    def conversions(self) -> Sequence[Any]:
        """Return transformers' ``WeightRenaming`` and ``WeightConverter`` objects, from published to native key names.

        Empty where the names are the same. The library's own conversions for the native class are applied after these.
        """
        return ()

    def adapt(self, model: Any, settings: Settings) -> None:
        """Change what the native class computes otherwise, on the freshly built model, before weights load."""
        return

    def mask_token_id(self, settings: Settings) -> int | None:
        """Return the mask token's id as ``config.json`` says it, else the usual one, ``None`` where there is none."""
        found = settings.get("mask_token_id")
        return found if isinstance(found, int) else self.usual_mask_token_id

    def published_config(self, settings: Settings, vocabulary: int) -> dict[str, Any]:
        """Return the ``config.json`` to save, for a model whose vocabulary has this many rows by now."""
        return {**settings, "vocab_size": vocabulary}


def published_classes(settings: Settings) -> frozenset[str]:
    """Return the class names that a ``config.json`` mentions: in ``architectures``, and without their module in ``auto_map``."""
    named = list(settings.get("architectures") or [])
    for value in (settings.get("auto_map") or {}).values():
        named.extend(value if isinstance(value, list) else [value])
    return frozenset(str(name).rpartition(".")[2] for name in named)


def chosen(settings: Settings, *names: str) -> dict[str, Any]:
    """Return those settings of these names that are there."""
    return {name: settings[name] for name in names if name in settings}
