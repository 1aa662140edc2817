"""A published family read into a class of transformers, and written again as it was published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..families.family import Family, Settings
from .configs import model_class
from .names import check_names
from .streaming import in_turn

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
        _serve_float64(self)

    def read(cls: Any, source: str, *arguments: Any, config: Any, **options: Any) -> Any:
        check_names(source, cls, config, family.title)
        with in_turn(family, config):
            return native.from_pretrained.__func__(cls, source, *arguments, config=config, **options)

    own = {"__init__": build, "from_pretrained": classmethod(read), "__module__": native.__module__}
    kind: Any = type(name, (native,), {**own, _PUBLISHED: (family, settings)})
    register_checkpoint_conversion_mapping(name, list(family.conversions()), overwrite=True)
    return kind


def _serve_float64(model: Any) -> None:
    # The library's grouped matrix products over experts know no float64.
    if model.dtype == torch.float64 and model._can_set_experts_implementation():
        model.set_experts_implementation("eager")


def restore_published_config(model: Any, path: str) -> None:
    """Replace the ``config.json`` that the library wrote by the family's own; nothing for a native model."""
    published: tuple[Family, Settings] | None = getattr(model, _PUBLISHED, None)
    if published is None:
        return
    family, settings = published
    rows = int(model.get_input_embeddings().weight.shape[0])
    text = json.dumps(family.published_config(settings, rows), indent=2)
    (Path(path) / "config.json").write_text(text + "\n", encoding="utf-8")
