"""A published family read into a class of transformers, and written again as it was published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..families.family import Family, Settings
from .configs import model_class

_PUBLISHED = "_tide_published"
"""Attribute of a model class that holds its family and the ``config.json`` it was read with."""


def published_class(family: Family, settings: Settings, config: Any) -> Any:
    """Return a subclass of the native class that reads and writes the family's key names.

    Its name is the published one, or else made from the family's, since the library finds conversions by class name.
    """
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping

    native = model_class(config)._model_mapping[type(config)]
    name = f"{family.name.title().replace('_', '')}{native.__name__}"

    def build(self: Any, *arguments: Any, **options: Any) -> None:
        native.__init__(self, *arguments, **options)
        family.adapt(self, settings)

    kind: Any = type(
        name, (native,), {"__init__": build, "__module__": native.__module__, _PUBLISHED: (family, settings)}
    )
    register_checkpoint_conversion_mapping(name, list(family.conversions()), overwrite=True)
    return kind


def restore_published_config(model: Any, path: str) -> None:
    """Replace the ``config.json`` that the library wrote by the family's own; nothing for a native model."""
    published: tuple[Family, Settings] | None = getattr(model, _PUBLISHED, None)
    if published is None:
        return
    family, settings = published
    rows = int(model.get_input_embeddings().weight.shape[0])
    text = json.dumps(family.published_config(settings, rows), indent=2)
    (Path(path) / "config.json").write_text(text + "\n", encoding="utf-8")
