"""The published families that ``huggingface`` recognises, from their classes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tide_plugins.architectures.families import FAMILIES, Family
from tide_plugins.architectures.families.family import Semantics

from .markdown import code, escaped, table

_WORDS = {True: "yes", False: "no", None: "none"}


def families(page: str) -> str:
    """A table: what marks a family in ``config.json``, and how it denoises."""
    header = ("family", "source", "in `config.json`", "form", "shift", "mask token", "`variant: published`")
    return table(header, [_row(family) for family in FAMILIES])


def _row(family: Family) -> tuple[str, ...]:
    native, published = (family.semantics({}, variant) for variant in ("native", "published"))
    marks = sorted(family.model_types) or sorted(family.class_names)
    block = f", blocks of {native.block_size}" if native.block_size else ""
    return (
        code(family.name),
        escaped(family.title),
        ", ".join(map(code, marks)),
        native.form.replace("_", " ") + block,
        native.shift,
        code(family.mask_token or "") or "as `config.json` says",
        _differences(native, published) or "the same",
    )


def _differences(native: Semantics, published: Semantics) -> str:
    own, other = asdict(native), asdict(published)
    return ", ".join(f"{name.replace('_', ' ')}: {_said(other[name])}" for name in own if own[name] != other[name])


def _said(value: Any) -> str:
    return _WORDS[value] if isinstance(value, bool | None) else str(value).replace("_", " ")
