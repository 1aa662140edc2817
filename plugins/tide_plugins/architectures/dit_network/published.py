"""The ``config.json`` of MDLM and BD3LM: sizes and form read from it, and written into it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tide_specs import CheckpointError, UnavailableError

from ..families.family import Settings, published_classes

DitForm = Literal["bidirectional", "block_diffusion"]
CLASSES = {"mdlm": "MDLM", "bd3lm": "BD3LM"}
"""Published class name by ``model_type``."""
_SIZES = ("vocab_size", "n_blocks", "n_heads", "cond_dim")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a network. ``noise_range``: the masking rates that BD3LM's trainer found best, which it saves as weights."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    conditioning: int
    modulated: bool = True
    dropout: float = 0.0
    noise_range: tuple[float, float] | None = None


def kind_of(settings: Settings) -> str | None:
    """Return ``mdlm`` or ``bd3lm``, from ``model_type`` or else from a class name; ``None`` for another model."""
    kind = settings.get("model_type")
    if kind in CLASSES:
        return str(kind)
    named = published_classes(settings)
    return next((kind for kind, name in CLASSES.items() if name in named), None)


def read_shape(settings: Settings, source: str) -> Shape:
    """Return the sizes that a ``config.json`` gives. Raises ``CheckpointError``, ``UnavailableError`` naming the field."""
    kind = _checked_kind(settings, source)
    sizes = [_size(settings, source, name) for name in _SIZES]
    hidden = _size(settings, source, "hidden_dim" if "hidden_dim" in settings else "hidden_size")
    modulated = bool(settings.get("adaln", True))
    low, high = settings.get("sampling_eps_min", 1e-3), settings.get("sampling_eps_max", 0.999)
    ranged = kind == "bd3lm" and bool(settings.get("var_min", True))
    if hidden % (2 * sizes[2]):
        raise CheckpointError(
            f"{source}: hidden_dim {hidden} is not an even multiple of n_heads {sizes[2]}; correct config.json"
        )
    return Shape(
        vocabulary=sizes[0],
        layers=sizes[1],
        heads=sizes[2],
        conditioning=sizes[3],
        hidden=hidden,
        modulated=modulated,
        dropout=float(settings.get("dropout", 0.1)),
        noise_range=(float(low), float(high)) if ranged else None,
    )


def _checked_kind(settings: Settings, source: str) -> str:
    kind = kind_of(settings)
    if kind is None:
        raise CheckpointError(
            f"{source}: model_type {settings.get('model_type')!r} is neither 'mdlm' nor 'bd3lm'; name the architecture "
            "`huggingface` for a model of transformers"
        )
    if settings.get("time_conditioning", False):
        raise UnavailableError(
            f"{source}: time_conditioning is true, but a denoiser is not told the noise level; use a checkpoint trained "
            "without it, as the published ones are"
        )
    if settings.get("causal", False):
        raise UnavailableError(f"{source}: causal is true: an autoregressive baseline, which is no denoiser")
    return kind


def _size(settings: Settings, source: str, name: str) -> int:
    found = settings.get(name)
    if not isinstance(found, int) or found < 1:
        raise CheckpointError(f"{source}: {name} is {found!r}; it must be a positive number")
    return found


def native_form(settings: Settings) -> tuple[DitForm, int | None]:
    """Return the form and block size that the checkpoint was trained with.

    BD3LM's pretraining checkpoint is a BD3LM whose block is the whole row, which is the bidirectional form.
    """
    block = int(settings.get("block_size", 1))
    if kind_of(settings) != "bd3lm" or not settings.get("cross_attn", True):
        return "bidirectional", None
    return ("bidirectional", None) if block >= model_length(settings) else ("block_diffusion", block)


def model_length(settings: Settings) -> int:
    """Return the row length that the checkpoint was trained with."""
    return int(settings.get("model_length", 1024))


def saved_config(settings: Settings, shape: Shape, form: DitForm, block: int | None) -> dict[str, Any]:
    """Return the ``config.json`` for a network of this shape and form that was read with ``settings``, or made without."""
    known = kind_of(settings)
    kind = "bd3lm" if form == "block_diffusion" else known or "mdlm"
    kept = {name: value for name, value in settings.items() if name != "auto_map" or kind == known}
    config: dict[str, Any] = {
        **kept,
        "model_type": kind,
        "architectures": [CLASSES[kind]],
        "vocab_size": shape.vocabulary,
        "model_length": model_length(settings),
        "hidden_dim": shape.hidden,
        "cond_dim": shape.conditioning,
        "n_blocks": shape.layers,
        "n_heads": shape.heads,
        "dropout": shape.dropout,
        "time_conditioning": False,
    }
    if kind == "bd3lm":
        config |= {"adaln": shape.modulated, "causal": False, "var_min": shape.noise_range is not None}
        config |= {"cross_attn": form == "block_diffusion", "block_size": block or model_length(settings)}
        config.setdefault("attn_backend", "sdpa")
    return config
