"""Checks of attention backends against the dense oracle.

Shapes: B rows, Hq query heads, Hk key heads, Q queries, K keys, D head size.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from tide_specs.attention import AttentionBackend, AttentionOptions
from tide_specs.layout import AttentionLayout, BlockCausal, BlockDiffusion, Cached, Causal, Full
from tide_specs.testing.dense_attention import dense_attention
from tide_specs.testing.outcome import CheckFailed, CheckSkipped, expect

LENGTH = 12
BLOCK = 4
ROWS = 3
WIDTH = 16
VALUES = {"cpu": (1e-4, 2e-5), "cuda": (1e-2, 5e-3)}
"""Relative and absolute error of float32 outputs and gradients against the oracle in float64; a GPU may use TF32."""
BF16 = {"rtol": 0.05, "atol": 0.05}
LAYOUTS = ("full", "causal", "block_causal", "block_diffusion", "cached")
FEATURES = ("softcap", "window", "sinks", "dropout", "bias")


@dataclass(frozen=True)
class Problem:
    """One attention problem."""

    title: str
    layout: AttentionLayout
    query: Tensor
    key: Tensor
    value: Tensor
    options: AttentionOptions

    @property
    def valid(self) -> Tensor:
        """Queries that count [B, Q]: those within the lengths of their row."""
        layout = self.layout
        rows, count = self.query.shape[0], self.query.shape[2]
        if layout.lengths is None:
            return torch.ones(rows, count, dtype=torch.bool)
        index = torch.arange(count)
        token = index if isinstance(layout, Cached) else layout.token_of(index)
        return token[None] < layout.lengths[:, None]


def layouts(backend: AttentionBackend) -> Iterator[tuple[str, AttentionLayout]]:
    """Yield the layouts that the backend claims, plain, padded and packed."""
    size: dict[str, Any] = {"length": LENGTH}
    plain: list[AttentionLayout] = [
        Full(**size),
        Causal(**size),
        BlockCausal(block=BLOCK, **size),
        BlockDiffusion(block=BLOCK, **size),
        BlockDiffusion(block=BLOCK, order="clean_first", **size),
        BlockDiffusion(block=BLOCK, streams=2, **size),
        BlockDiffusion(block=BLOCK, streams=2, order="clean_first", **size),
        BlockDiffusion(block=BLOCK, causal=True, **size),
    ]
    lengths = torch.tensor([LENGTH, 7, 1])
    documents = (torch.arange(LENGTH) // (2 * BLOCK))[None].repeat(ROWS, 1)
    for layout in plain:
        if layout.kind in backend.layouts:
            yield _name(layout), layout
            yield _name(layout) + " with padding", layout.with_rows(lengths)
            yield _name(layout) + " with packed documents", layout.with_rows(None, documents)
            yield _name(layout) + " with packed documents and padding", layout.with_rows(lengths, documents)
    if "cached" in backend.layouts:
        yield from _cached(lengths)


def _cached(lengths: Tensor) -> Iterator[tuple[str, AttentionLayout]]:
    for causal in (False, True):
        plain = Cached(length=BLOCK, cached=LENGTH, causal=causal)
        yield _name(plain), plain
        yield _name(plain) + " with rows of different length", replace(plain, cached_lengths=lengths)
        yield (
            _name(plain) + " with padding",
            replace(plain, cached_lengths=lengths, lengths=torch.tensor([BLOCK, 2, 1])),
        )
        yield _name(plain) + " with an empty cache", replace(plain, cached=0)


def _name(layout: AttentionLayout) -> str:
    extras = {key: getattr(layout, key, None) for key in ("order", "streams", "causal")}
    said = [f"{key}={value}" for key, value in extras.items() if value not in (None, "noisy_first", 1, False)]
    return f"layout '{layout.kind}'" + (f" ({', '.join(said)})" if said else "")


def problem(title: str, layout: AttentionLayout, *, heads: tuple[int, int] = (4, 2), **given: Any) -> Problem:
    """Return random queries, keys and values for a layout."""
    random = torch.Generator().manual_seed(7)
    rows = ROWS if layout.lengths is not None or layout.documents is not None or isinstance(layout, Cached) else 2
    query = torch.randn(rows, heads[0], layout.query_length, WIDTH, generator=random)
    key = torch.randn(rows, heads[1], layout.key_length, WIDTH, generator=random)
    value = torch.randn(rows, heads[1], layout.key_length, WIDTH, generator=random)
    return Problem(title, layout, query, key, value, AttentionOptions(scale=1 / math.sqrt(WIDTH), **given))


def exercise(backend: AttentionBackend) -> None:
    """Attend once under each claimed layout."""
    _require(backend, torch.float32)
    for title, layout in layouts(backend):
        _attend(backend, problem(title, layout))


def device_for(backend: AttentionBackend, dtype: torch.dtype) -> torch.device:
    """Return the CPU where the backend works there, else the GPU; raise ``CheckSkipped`` with its reason otherwise."""
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    reasons = {device: backend.available(device, dtype) for device in devices}
    for device, reason in reasons.items():
        if reason is None:
            return device
    raise CheckSkipped(f"it is not available here in {dtype}: {'; '.join(filter(None, reasons.values()))}")


def _attend(backend: AttentionBackend, given: Problem) -> Tensor:
    """Attend on the backend's device; inputs come from the CPU and the output goes back to it, gradients included."""
    device = device_for(backend, given.query.dtype)
    query, key, value = (side.to(device) for side in (given.query, given.key, given.value))
    try:
        out = backend.attend(query, key, value, _moved(given.layout, device), _moved(given.options, device))
    except Exception as error:
        raise CheckFailed(
            f"{given.title}: available() sees no obstacle, but attend() raises {type(error).__name__}: {error}; make "
            "available() return the reason, or take the layout or feature out of what the class claims."
        ) from error
    return out.cpu() if isinstance(out, Tensor) else out


def _moved(record: Any, device: torch.device) -> Any:
    tensors = {f.name: getattr(record, f.name) for f in fields(record)}
    return replace(record, **{name: v.to(device) for name, v in tensors.items() if isinstance(v, Tensor)})


def _require(backend: AttentionBackend, dtype: torch.dtype) -> None:
    device_for(backend, dtype)


def _tolerance(backend: AttentionBackend) -> tuple[float, float]:
    return VALUES[device_for(backend, torch.float32).type]


def check_claims(backend: AttentionBackend) -> None:
    """``layouts`` and ``features`` name things that exist."""
    for what, claimed, known in (("layouts", backend.layouts, LAYOUTS), ("features", backend.features, FEATURES)):
        unknown = sorted(set(claimed) - set(known))
        expect(not unknown, f"{what} names {unknown}, which does not exist; known are {', '.join(known)}.")
    expect(backend.layouts, "layouts is empty, so the backend could never be used; name at least one layout.")


def check_available_is_honest(backend: AttentionBackend) -> None:
    """``available`` answers ``None`` or a reason, and where it answers ``None`` the backend works."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for device in (torch.device("cpu"), torch.device("cuda")):
            reason: Any = backend.available(device, dtype)
            expect(
                reason is None or (isinstance(reason, str) and reason.strip()),
                f"available() returns {reason!r}; return None when the backend works, otherwise a sentence that says why not.",
            )
        try:
            device_for(backend, dtype)
        except CheckSkipped:
            continue
        for title, layout in layouts(backend):
            given = problem(title, layout)
            typed = replace(given, query=given.query.to(dtype), key=given.key.to(dtype), value=given.value.to(dtype))
            out: Any = _attend(backend, typed)
            expect(
                isinstance(out, Tensor) and out.dtype == dtype and out.shape == given.query.shape,
                f"{title}: attend() does not return [B, Hq, Q, D] in the query's dtype {dtype}.",
            )


def check_equals_the_oracle(backend: AttentionBackend) -> None:
    """Every claimed layout gives the oracle's values, with padding, packing and grouped heads."""
    _require(backend, torch.float32)
    for title, layout in layouts(backend):
        for heads in ((4, 2), (2, 2), (2, 1)):
            _compare(backend, problem(title, layout, heads=heads))


def _compare(backend: AttentionBackend, given: Problem) -> None:
    valid = given.valid[:, None, :, None]
    expected = dense_attention(
        given.query.double(), given.key.double(), given.value.double(), given.layout, given.options
    )
    out = _attend(backend, given)
    rtol, atol = _tolerance(backend)
    error = ((out.double() - expected).abs() - rtol * expected.abs()).masked_fill(~valid, 0)
    expect(
        out.isfinite().all(), f"{given.title}: the output is not finite; an empty row of the mask is NaN in a softmax."
    )
    worst = int(error.amax((1, 3)).argmax())
    row, position = divmod(worst, given.query.shape[2])
    expect(
        error.max() <= atol,
        f"{given.title}, {given.query.shape[1]} query and {given.key.shape[1]} key heads: query {position} of row {row} differs from "
        f"the dense oracle by {error.max().item():.2g}; compare your mask with layout.dense() (true means 'may see').",
    )


def check_gradients_equal_the_oracle(backend: AttentionBackend) -> None:
    """The gradients of query, key and value are the oracle's."""
    _require(backend, torch.float32)
    for title, layout in layouts(backend):
        given = problem(title, layout)
        ours, theirs = _gradients(given, backend), _gradients(given, None)
        for name, a, b in zip(("query", "key", "value"), ours, theirs, strict=True):
            expect(
                a is not None and a.isfinite().all(), f"{title}: the gradient of the {name} is missing or not finite."
            )
            rtol, atol = _tolerance(backend)
            error = ((a.double() - b).abs() - rtol * b.abs()).max().item()
            expect(
                error <= atol * 2,
                f"{title}: the gradient of the {name} differs from the oracle's by {error:.2g}; padded queries must pass no gradient, "
                "and what the forward hides the backward must hide.",
            )


def _gradients(given: Problem, backend: AttentionBackend | None) -> tuple[Tensor, ...]:
    dtype = torch.float64 if backend is None else torch.float32
    leaves = [side.to(dtype).clone().requires_grad_() for side in (given.query, given.key, given.value)]
    moved = replace(given, query=leaves[0], key=leaves[1], value=leaves[2])
    dense = dense_attention(leaves[0], leaves[1], leaves[2], given.layout, given.options)
    out = dense if backend is None else _attend(backend, moved)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    kept = (out * weights).masked_fill(~given.valid[:, None, :, None], 0)
    return torch.autograd.grad(kept.sum(), leaves)


def check_features(backend: AttentionBackend) -> None:
    """Every claimed feature gives the oracle's values under every claimed layout."""
    _require(backend, torch.float32)
    claimed = _feature_options(backend)
    if not claimed:
        raise CheckSkipped("the backend claims no features")
    for title, layout in layouts(backend):
        for name, options in claimed.items():
            given = problem(f"{title}, feature '{name}'", layout, **_fitted(options, layout))
            _compare(backend, given)


def _feature_options(backend: AttentionBackend) -> dict[str, dict[str, Any]]:
    every: dict[str, dict[str, Any]] = {
        "softcap": {"softcap": 0.7},
        "window": {"window": 3},
        "sinks": {"sinks": torch.tensor([0.5, -1.0, 2.0, 0.0])},
        "bias": {"bias": None},
    }
    return {name: options for name, options in every.items() if name in backend.features}


def _fitted(options: dict[str, Any], layout: AttentionLayout) -> dict[str, Any]:
    if "bias" not in options:
        return options
    random = torch.Generator().manual_seed(5)
    return {"bias": torch.randn(1, 4, layout.query_length, layout.key_length, generator=random)}


def check_dropout(backend: AttentionBackend) -> None:
    """Dropout hides probabilities at random and keeps their expectation."""
    if "dropout" not in backend.features:
        raise CheckSkipped("the backend does not claim dropout")
    _require(backend, torch.float32)
    title, layout = next(iter(layouts(backend)))
    one = problem(title, layout, dropout=0.5)
    many = replace(
        one,
        query=one.query[:1].repeat(400, 1, 1, 1),
        key=one.key[:1].repeat(400, 1, 1, 1),
        value=one.value[:1].repeat(400, 1, 1, 1),
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    out = _attend(backend, many)
    torch.random.set_rng_state(state)
    expect(out.std(0).max() > 0.01, "dropout=0.5 changes nothing; apply it to the probabilities.")
    plain = dense_attention(one.query[:1], one.key[:1], one.value[:1], layout, replace(one.options, dropout=0.0))[0]
    error = (out.mean(0) - plain).abs().max().item()
    expect(error < 0.25, f"the mean over many dropouts is {error:.2g} off; scale what is kept by 1 / (1 - dropout).")


def check_low_precision(backend: AttentionBackend) -> None:
    """In bfloat16 the values stay close to the oracle's."""
    _require(backend, torch.bfloat16)
    for title, layout in layouts(backend):
        given = problem(title, layout)
        low = replace(given, query=given.query.bfloat16(), key=given.key.bfloat16(), value=given.value.bfloat16())
        expected = dense_attention(low.query.double(), low.key.double(), low.value.double(), layout, given.options)
        valid = given.valid[:, None, :, None]
        error = (_attend(backend, low).double() - expected).masked_fill(~valid, 0).abs().max().item()
        expect(
            error <= BF16["atol"], f"{title}: in bfloat16 the output is {error:.2g} off; take the softmax in float32."
        )


def check_inputs_stay_unchanged(backend: AttentionBackend) -> None:
    """Query, key and value are left as they were."""
    _require(backend, torch.float32)
    for title, layout in layouts(backend):
        given = problem(title, layout)
        copies = [side.clone() for side in (given.query, given.key, given.value)]
        _attend(backend, given)
        same = all(torch.equal(a, b) for a, b in zip(copies, (given.query, given.key, given.value), strict=True))
        expect(same, f"{title}: attend() changes its inputs in place; a key/value cache would be spoilt.")
