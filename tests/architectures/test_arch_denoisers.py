"""What a denoiser promises: views, shifts, orders, documents, recomputed activations, decoding with a cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from arch_models import FAMILIES, Make
from torch import Tensor

from tide_plugins.architectures.adapter.shift import detect_shift
from tide_specs import DataError, DecodingSession, Denoiser, Runtime, UnavailableError

LENGTH, BLOCK = 12, 4
ALL = torch.full((2,), LENGTH)
FORMS: list[dict[str, Any]] = [
    {"form": "autoregressive"},
    {"form": "block_diffusion", "block_size": BLOCK},
    {"form": "block_diffusion", "block_size": BLOCK, "order": "clean_first", "causal": True},
    {"form": "block_diffusion", "block_size": BLOCK, "shift": "right"},
    {"form": "block_causal", "block_size": BLOCK},
]


def load(make: Make, runtime: Runtime, model_type: str = "llama", **options: Any) -> Denoiser:
    """As teacher: without dropout and gradients."""
    return make(model_type, **options).load("teacher", runtime)


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(3, 250, (2, LENGTH), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def noised(ids: Tensor) -> Tensor:
    return torch.where(torch.rand(ids.shape, generator=torch.Generator().manual_seed(6)) < 0.5, 257, ids)


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("options", [*FORMS, {"form": "bidirectional"}], ids=str)
def test_views_equal_separate_passes(options: Any, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor) -> None:
    denoiser = load(make, runtime, **options)
    lengths = torch.tensor([8, LENGTH])
    views = denoiser.hidden_views(torch.stack([noised, ids]), ids, lengths)
    for view, text in zip(views, (noised, ids), strict=True):
        close(view[0, :8], denoiser.hidden(text, ids, lengths)[0, :8])
        close(view[1], denoiser.hidden(text, ids, lengths)[1])


def test_both_stream_orders_compute_the_same(make: Make, runtime: Runtime, ids: Tensor, noised: Tensor) -> None:
    first, last = (
        load(make, runtime, form="block_diffusion", block_size=BLOCK, order=order)
        for order in ("noisy_first", "clean_first")
    )
    close(first.hidden(noised, ids, ALL), last.hidden(noised, ids, ALL))


@pytest.mark.parametrize("form", ["bidirectional", "block_diffusion"])
def test_a_right_shift_takes_the_position_before(
    form: str, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor
) -> None:
    options = {} if form == "bidirectional" else {"block_size": BLOCK}
    plain, shifted = (load(make, runtime, form=form, shift=shift, **options) for shift in ("none", "right"))
    inside = [i for i in range(1, LENGTH) if form == "bidirectional" or i % BLOCK]
    before = plain.hidden(noised, ids, ALL)[:, [i - 1 for i in inside]]
    close(shifted.hidden(noised, ids, ALL)[:, inside], before)


@pytest.mark.parametrize("options", [*FORMS, {"form": "bidirectional"}], ids=str)
def test_packed_documents_equal_separate_rows(
    options: Any, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor
) -> None:
    denoiser = load(make, runtime, **options)
    documents = torch.tensor([[0] * 4 + [1] * 8] * 2)
    packed = denoiser.hidden(noised, ids, ALL, documents)
    alone = denoiser.hidden(noised[:, 4:], ids[:, 4:], torch.full((2,), 8))
    # A document's first token is markup, which nothing predicts.
    close(packed[:, 5:], alone[:, 1:])


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"albert"}))
def test_recomputed_activations_give_the_same_gradients(
    name: str, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor
) -> None:
    gradients: list[list[Tensor]] = []
    for recompute in (False, True):
        denoiser = make(name, "block_diffusion", block_size=BLOCK).load(
            "student", replace(runtime, gradient_checkpointing=recompute)
        )
        denoiser.head().logits(denoiser.hidden(noised, ids, ALL)[0]).logsumexp(-1).sum().backward()
        gradients.append([p.grad for p in denoiser.module.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 5
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, rtol=1e-4, atol=1e-6)


def test_recomputation_that_a_family_lacks_is_refused(make: Make, runtime: Runtime) -> None:
    with pytest.raises(UnavailableError, match="AlbertForMaskedLM has no gradient checkpointing"):
        make("albert").load("student", replace(runtime, gradient_checkpointing=True))


def decode(session: DecodingSession, denoiser: Denoiser, clean: Tensor, noised: Tensor) -> Tensor:
    """Teacher-forced decoding: predict each block from its noised form, then append its clean form."""
    step = denoiser.block_size or 3
    parts: list[Tensor] = []
    for start in range(0, clean.shape[1], step):
        part = slice(start, start + step)
        text = clean if denoiser.form == "autoregressive" else noised
        parts.append(session.hidden(text[:, part]))
        session.extend(clean[:, part])
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("options", FORMS[:-1], ids=str)
def test_a_session_equals_the_full_pass(
    options: Any, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor
) -> None:
    denoiser = load(make, runtime, **options)
    session = denoiser.session(2)
    close(decode(session, denoiser, ids, noised), denoiser.hidden(noised, ids, ALL))
    assert session.lengths.tolist() == [LENGTH, LENGTH]


def test_a_block_causal_session_equals_the_full_pass(make: Make, runtime: Runtime, ids: Tensor, noised: Tensor) -> None:
    denoiser = load(make, runtime, form="block_causal", block_size=BLOCK)
    session = denoiser.session(2)
    session.extend(ids[:, : 2 * BLOCK])
    text = torch.cat([ids[:, : 2 * BLOCK], noised[:, 2 * BLOCK :]], dim=1)
    close(session.hidden(noised[:, 2 * BLOCK :]), denoiser.hidden(text, ids, ALL)[:, 2 * BLOCK :])


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("form", ["autoregressive", "block_diffusion"])
def test_sessions_of_every_family(
    name: str, form: str, make: Make, runtime: Runtime, ids: Tensor, noised: Tensor
) -> None:
    """Prefill in one pass, rows of unequal length, a peek that leaves no trace, a row that leaves."""
    options = {"block_size": BLOCK} if form == "block_diffusion" else {}
    denoiser = load(make, runtime, name, form=form, **options)
    try:
        session = denoiser.session(2)
    except NotImplementedError:
        assert name in ("bert", "roberta", "distilbert", "electra", "modernbert", "eurobert", "nomic_bert", "albert")
        return
    session.extend(ids[:, :8], torch.tensor([4, 8]))
    assert session.lengths.tolist() == [4, 8]
    session.hidden(noised[:, :2])
    session.extend(torch.stack([ids[0, 4:8], ids[1, 8:12]]), torch.tensor([4, 4]))
    session.keep(torch.tensor([0]))
    text = ids if form == "autoregressive" else noised
    close(session.hidden(text[:1, 8:]), denoiser.hidden(noised, ids, ALL)[:1, 8:])
    assert session.lengths.tolist() == [8]


def test_a_session_never_copies_its_prefix(make: Make, runtime: Runtime, ids: Tensor) -> None:
    session: Any = load(make, runtime, form="block_diffusion", block_size=BLOCK).session(2)
    session.extend(ids[:, :BLOCK])
    place = session.cache.layers[0].keys.data_ptr()
    for _ in range(4):
        session.hidden(ids[:, :BLOCK])
        session.extend(ids[:, :BLOCK])
    assert session.cache.layers[0].keys.data_ptr() == place


def test_a_training_model_with_recomputation_decodes_all_the_same(make: Make, runtime: Runtime, ids: Tensor) -> None:
    options: dict[str, Any] = {"form": "block_diffusion", "block_size": BLOCK}
    plain = load(make, runtime, **options)
    training = make(**options).load("student", replace(runtime, gradient_checkpointing=True))
    assert training.module.training
    for denoiser in (plain, training):
        session = denoiser.session(2)
        session.extend(ids[:, :BLOCK])
        close(session.hidden(ids[:, BLOCK : 2 * BLOCK]), plain.hidden(ids, ids, ALL)[:, BLOCK : 2 * BLOCK])


def test_nothing_follows_half_a_block(make: Make, runtime: Runtime, ids: Tensor) -> None:
    session = load(make, runtime, form="block_diffusion", block_size=BLOCK).session(2)
    session.extend(ids[:, :6])
    with pytest.raises(ValueError, match="ends inside a block of 4"):
        session.extend(ids[:, 6:8])


@pytest.mark.parametrize(("name", "longest"), [("bert", 64), ("roberta", 62), ("gpt2", 64), ("opt", 64)])
def test_rows_longer_than_a_learned_position_table_are_refused(
    name: str, longest: int, make: Make, runtime: Runtime
) -> None:
    denoiser = load(make, runtime, name)
    for length in (longest, longest + 1):
        ids = torch.full((1, length), 5)
        if length > longest:
            with pytest.raises(DataError, match=f"has learned {longest} positions, but a row has {length} tokens"):
                denoiser.hidden(ids, ids, torch.tensor([length]))
        else:
            denoiser.hidden(ids, ids, torch.tensor([length]))


def test_bidirectional_models_have_no_session(make: Make, runtime: Runtime) -> None:
    with pytest.raises(NotImplementedError, match="revises every position"):
        load(make, runtime).session(1)


@pytest.mark.parametrize("true_shift", ["none", "right"])
def test_the_shift_detector_finds_the_trained_shift(true_shift: str, make: Make, runtime: Runtime) -> None:
    """Trained for a few steps on constant rows, the model tells which of its positions predicts what."""
    torch.manual_seed(0)
    denoiser: Any = make("llama", shift=true_shift).load("student", runtime)
    optimizer = torch.optim.AdamW(denoiser.module.parameters(), lr=3e-3)
    base = torch.arange(16)[None] + torch.arange(3, 19)[:, None]
    lengths = torch.full((16,), 16)
    for _ in range(60):
        masked = torch.rand(base.shape) < 0.3
        masked[:, 0] = False
        hidden = denoiser.hidden(base.masked_fill(masked, denoiser.mask_token_id), base, lengths)[masked]
        loss = torch.nn.functional.cross_entropy(denoiser.head().logits(hidden), base[masked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    finding = detect_shift(denoiser, base, lengths)
    assert finding.fits == true_shift
    assert finding.agrees
    wrong: Any = denoiser
    wrong.record = replace(wrong.record, shift="none" if true_shift == "right" else "right")
    assert f"shift: {true_shift} fits, but it is configured" in str(detect_shift(wrong, base, lengths))
