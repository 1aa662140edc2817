"""Verification of a loaded model on a handful of tokens: the layout, and nothing else, decides what sees what.

Shapes: P = 8 probe positions, C vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tide_plugins.attention.eager import Eager
from tide_specs import AttentionLayout, Cached, Causal, Full, UnavailableError

from ..huggingface import HuggingFace
from .cache import AppendedCache
from .configs import first_line
from .interface import IMPLEMENTATION, Seen
from .network import Network

_LENGTH = 8
_SEES = {"full_attention", "sliding_attention"}


def verify(network: Network, component: HuggingFace) -> None:
    """Raise ``UnavailableError`` when the model cannot be served exactly; the message names family and reason.

    Also finds out whether the model uses a key/value cache that it is handed.
    """
    training = network.model.training
    try:
        with torch.no_grad(), _private_randomness(network.model):
            network.model.eval()
            kinds = _layer_kinds(network)
            seen = _ask(network, training)
            _check_layers(network, seen, kinds)
            _check_backend(network, seen, component)
            _check_influence(network)
            _check_native(network)
            network.caches = network.takes_cache and _serves_cache(network)
    finally:
        network.model.train(training)


@contextmanager
def _private_randomness(model: Any) -> Generator[None]:
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def _ids(network: Network) -> Tensor:
    rows = int(network.model.get_input_embeddings().weight.shape[0])
    device = next(network.model.parameters()).device
    ids = torch.randint(0, rows, (_LENGTH,), generator=torch.Generator().manual_seed(1))
    padding = getattr(network.model.config, "pad_token_id", None)
    if padding is not None:  # some families count positions over other tokens only
        ids = torch.where(ids == padding, (ids + 1) % rows, ids)
    return ids.to(device)[None]


def _states(network: Network, ids: Tensor, layout: AttentionLayout, seen: list[Seen] | None = None) -> Tensor:
    positions = torch.arange(_LENGTH, device=ids.device)[None]
    with _refusing(network):
        return network.states(ids, positions, layout, seen=seen, backend=Eager())


@contextmanager
def _refusing(network: Network) -> Generator[None]:
    try:
        yield
    except UnavailableError as error:
        raise UnavailableError(f"{network.family} cannot be a denoiser: {error}") from error
    except (TypeError, RuntimeError, ValueError, LookupError, AttributeError) as error:
        raise UnavailableError(f"{network.family} fails on a probe of {_LENGTH} tokens: {first_line(error)}") from error


def _ask(network: Network, training: bool) -> list[Seen]:
    seen: list[Seen] = []
    network.model.train(training)
    _states(network, _ids(network), Causal(length=_LENGTH), seen)
    network.model.eval()
    if not seen:
        raise UnavailableError(
            f"{network.family} never calls transformers' attention interface: no layout can reach it"
        )
    return seen


def _layer_kinds(network: Network) -> list[str]:
    kinds: list[str] = list(getattr(network.model.config, "layer_types", None) or [])
    for kind in kinds:
        if kind not in _SEES:
            raise UnavailableError(f"{network.family} has layers of type {kind!r}, which no attention layout describes")
    return kinds


def _check_layers(network: Network, seen: list[Seen], kinds: list[str]) -> None:
    """Compare the windows that layers asked for with what the configuration announces."""
    config: Any = network.model.config
    for ask in seen:
        if ask.strange:
            raise UnavailableError(
                f"{network.family} passes {', '.join(ask.strange)} to its attention, unknown to TIDE"
            )
        index = getattr(ask.module, "layer_idx", None)
        kind = kinds[index] if isinstance(index, int) and index < len(kinds) else None
        windowed = kind == "sliding_attention" if kind else getattr(config, "sliding_window", None) is not None
        if windowed != (ask.options.window is not None):
            found = (
                "has a sliding window that it does not pass" if windowed else "passes a window that it does not have"
            )
            raise UnavailableError(
                f"{network.family}: layer {index} {found} to its attention function, so that TIDE cannot tell what it sees"
            )


def _check_backend(network: Network, seen: list[Seen], component: HuggingFace) -> None:
    used = frozenset[str]().union(*(ask.options.features() for ask in seen))
    backend = network.attention
    if missing := used - backend.features:
        hint = "; `dropout: off` switches it off" if missing == frozenset({"dropout"}) else ""
        raise UnavailableError(
            f"attention {backend.name!r} does not serve {', '.join(sorted(missing))}, which {network.family} needs{hint}"
        )
    if missing := component.attention_needs() - backend.layouts:
        raise UnavailableError(f"attention {backend.name!r} does not serve the layout {', '.join(sorted(missing))}")


def _check_influence(network: Network) -> None:
    """Change one token: under Full its predecessor must notice, under Causal not, and in documents of one token nobody."""
    ids = _ids(network)
    alone = torch.arange(_LENGTH, device=ids.device)[None]
    last, before, others = slice(-1, None), slice(-2, -1), slice(0, -1)
    if _change(network, ids, last, others, Causal(length=_LENGTH)) > _noise(network):
        raise UnavailableError(f"{network.family}: later tokens leak into earlier ones outside its attention")
    if _change(network, ids, last, before, Full(length=_LENGTH)) == 0.0:
        raise UnavailableError(f"{network.family} stays causal whatever the layout says")
    if _change(network, ids, slice(0, 1), slice(1, None), Full(length=_LENGTH, documents=alone)) > _noise(network):
        raise UnavailableError(
            f"{network.family} mixes positions outside its attention (recurrence, convolution or a state-space layer)"
        )


def _change(network: Network, ids: Tensor, where: slice, look: slice, layout: AttentionLayout) -> float:
    """Return how much the states at ``look`` change, relative to their size, when the token at ``where`` does."""
    rows = int(network.model.get_input_embeddings().weight.shape[0])
    changed = ids.clone()
    changed[0, where] = (ids[0, where] + rows // 2) % rows
    before, after = _states(network, ids, layout)[0, look].float(), _states(network, changed, layout)[0, look].float()
    return float((before - after).abs().max() / before.abs().max().clamp_min(1e-12))


def _noise(network: Network) -> float:
    # Rounding alone: the kernels of a mixture of experts group tokens differently when one of them changes.
    return 1e-5 if next(network.model.parameters()).dtype == torch.float32 else 1e-2


def _tolerance(network: Network) -> float:
    # Two implementations of one computation, which may round after every layer.
    return 1e-3 if next(network.model.parameters()).dtype == torch.float32 else 5e-2


def _check_native(network: Network) -> None:
    """Compare logits with the library's own attention; nothing that TIDE does not know of may lie in between."""
    ids = _ids(network)
    errors: list[float] = []
    with _refusing(network):
        native = _native_logits(network.model, ids)
        for layout in (Causal(length=_LENGTH), Full(length=_LENGTH)):
            ours = network.head().logits(_states(network, ids, layout)[0])
            errors.append(float((ours - native).abs().mean() / native.abs().mean().clamp_min(1e-12)))
    if not min(errors) < _tolerance(network):
        raise UnavailableError(
            f"{network.family}: with its native layout the logits differ from the library's own by {min(errors):.1%}; it "
            "does something that TIDE does not know of"
        )


def _native_logits(model: Any, ids: Tensor) -> Tensor:
    model.set_attn_implementation("eager")
    try:
        return model(input_ids=ids).logits[0].float()
    finally:
        model.set_attn_implementation(IMPLEMENTATION)


def _serves_cache(network: Network) -> bool:
    """Decode the probe in two parts and compare with one pass."""
    ids = _ids(network)
    positions = torch.arange(_LENGTH, device=ids.device)[None]
    head, cache = _LENGTH - 2, AppendedCache()
    whole = _states(network, ids, Causal(length=_LENGTH))[:, head:].float()
    try:
        network.states(ids[:, :head], positions[:, :head], Causal(length=head), cache=cache, backend=Eager())
        lengths = torch.full((1,), head, device=ids.device)
        cache.commit(torch.zeros_like(lengths), head, head, moved=False)
        layout = Cached(length=2, cached=head, cached_lengths=lengths, causal=True)
        parts = network.states(ids[:, head:], positions[:, head:], layout, cache=cache, backend=Eager()).float()
    except (UnavailableError, TypeError, RuntimeError, ValueError, LookupError, AttributeError):
        return False
    return float((whole - parts).abs().max() / whole.abs().max().clamp_min(1e-12)) < _tolerance(network)
