"""How many passes a decoding session needs to take in text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from arch_models import Make
from torch import Tensor

from tide_plugins.architectures.adapter.cached_blocks import serves
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.flex import Flex
from tide_plugins.attention.sdpa import Sdpa
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, Cached, Runtime, UnavailableError

BLOCK = 4
IDS = torch.randint(3, 250, (2, 6 * BLOCK), generator=torch.Generator().manual_seed(5))
FORMS: list[dict[str, Any]] = [
    {"form": "block_diffusion", "block_size": BLOCK},
    {"form": "block_diffusion", "block_size": BLOCK, "shift": "right"},
    {"form": "block_diffusion", "block_size": BLOCK, "order": "clean_first", "causal": True},
    {"form": "block_causal", "block_size": BLOCK},
]


class Unaware(Eager):
    """A backend of an older contract: new tokens behind a cache see each other, whatever ``block`` says."""

    name: Literal["unaware"] = "unaware"  # type: ignore[assignment]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``."""
        plain = replace(layout, block=None) if isinstance(layout, Cached) else layout
        return super().attend(query, key, value, plain, options)


class Refusing(Eager):
    """A backend that says that it cannot."""

    name: Literal["refusing"] = "refusing"  # type: ignore[assignment]
    features: ClassVar[frozenset[str]] = frozenset()

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
    ) -> Tensor:
        """See ``AttentionBackend.attend``."""
        if isinstance(layout, Cached) and layout.block is not None:
            raise UnavailableError("no blocks behind a cache")
        return super().attend(query, key, value, layout, options)


def passes(session: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of new tokens of every forward pass."""
    made: list[int] = []
    forward = type(session.network).states

    def counted(network: Any, ids: Tensor, *arguments: Any, **options: Any) -> Tensor:
        made.append(ids.shape[1])
        return forward(network, ids, *arguments, **options)

    monkeypatch.setattr(type(session.network), "states", counted)
    return made


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("backend", [Eager(), Sdpa()], ids=lambda backend: backend.name)
def test_several_blocks_behind_a_cache_are_one_pass(
    options: dict[str, Any], backend: AttentionBackend, make: Make, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of unequal length, whose last block may be cut: what was fed at once equals what was fed block by block."""
    model = make("llama", **options).load("teacher", replace(runtime, attention=backend))
    lengths = torch.tensor([2 * BLOCK, BLOCK])
    added = torch.tensor([3 * BLOCK, 2 * BLOCK])
    text = torch.stack([IDS[0, 2 * BLOCK : 5 * BLOCK], IDS[1, BLOCK : 4 * BLOCK]])
    noised = torch.full((2, BLOCK), 257)
    single, whole = model.session(2), model.session(2)
    for session in (single, whole):
        session.extend(IDS[:, : 2 * BLOCK], lengths)
    parts = [
        single.extend(text[:, start : start + BLOCK], (added - start).clamp(0, BLOCK))
        for start in range(0, 3 * BLOCK, BLOCK)
    ]
    made = passes(whole, monkeypatch)
    hidden = whole.extend(text, added)
    assert made == [3 * BLOCK]
    assert whole.lengths.tolist() == single.lengths.tolist() == [5 * BLOCK, 3 * BLOCK]
    for row in range(2):
        expected = torch.cat(parts, dim=1)[row, : added[row]]
        torch.testing.assert_close(hidden[row, : added[row]], expected, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(whole.hidden(noised), single.hidden(noised), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("backend", [Unaware(), Refusing()], ids=lambda backend: backend.name)
def test_a_backend_that_does_not_keep_blocks_apart_gets_them_one_by_one(
    backend: AttentionBackend, make: Make, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = make("llama", form="block_diffusion", block_size=BLOCK)
    model, exact = (component.load("teacher", replace(runtime, attention=a)) for a in (backend, Eager()))
    sessions = [each.session(2) for each in (model, exact)]
    for session in sessions:
        session.extend(IDS[:, :BLOCK])
    made = passes(sessions[0], monkeypatch)
    hidden = sessions[0].extend(IDS[:, BLOCK : 4 * BLOCK])
    assert made == [BLOCK] * 3
    torch.testing.assert_close(hidden, sessions[1].extend(IDS[:, BLOCK : 4 * BLOCK]), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("backend", "able"), [(Eager(), True), (Sdpa(), True), (Unaware(), False), (Refusing(), False)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_the_trial_finds(backend: AttentionBackend, able: bool, dtype: torch.dtype) -> None:
    assert serves(backend, torch.device("cpu"), dtype) == able


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("backend", [Eager(), Sdpa(), Flex()], ids=lambda backend: backend.name)
def test_what_the_trial_finds_on_cuda(backend: AttentionBackend) -> None:
    assert serves(backend, torch.device("cuda"), torch.bfloat16)


def test_a_causal_block_model_goes_on_inside_a_block(make: Make, runtime: Runtime) -> None:
    """Where no token sees the one behind it, half a block can be followed by its other half."""
    model = make("llama", form="block_diffusion", block_size=BLOCK, causal=True).load("teacher", runtime)
    whole, parts = model.session(2), model.session(2)
    whole.extend(IDS[:, : 2 * BLOCK])
    for start, stop in ((0, 3), (3, 6), (6, 8)):
        parts.extend(IDS[:, start:stop])
    noised = torch.full((2, BLOCK), 257)
    torch.testing.assert_close(whole.hidden(noised), parts.hidden(noised), rtol=1e-4, atol=2e-5)
