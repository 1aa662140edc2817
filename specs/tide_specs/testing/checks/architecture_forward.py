"""Checks of architectures: what a forward pass may see and must see.

Shapes: B rows, L tokens, V views, H hidden size.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import torch

from tide_specs.architecture import Architecture
from tide_specs.denoiser import Denoiser
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.models import SAME, Problem, hide, load, ordinary, other, problem
from tide_specs.testing.outcome import CheckFailed, CheckSkipped, expect
from tide_specs.testing.shift import masked_cross_entropy

DIFFERENT = 1e-5
"""A change of hidden states that is no rounding error."""


def check_shapes(architecture: Architecture) -> None:
    """Hidden states are [B, L, H], finite, and the head turns them into logits over the vocabulary."""
    model = load(architecture)
    given = problem(model)
    hidden = given.hidden(model)
    expect(
        hidden.shape[:2] == given.clean.shape,
        f"hidden() returns {tuple(hidden.shape)} for tokens {tuple(given.clean.shape)}; return [B, L, H], the noisy stream only.",
    )
    expect(hidden.isfinite().all(), "hidden states are not finite; is a row of the attention mask empty?")
    with torch.no_grad():
        logits = model.head().logits(hidden[0])
    expect(logits.isfinite().all() and logits.dtype == torch.float32, "the head's logits are not finite float32.")


def check_no_peeking(architecture: Architecture) -> None:
    """The prediction of token i does not depend on token i itself where it is hidden."""
    model = load(architecture)
    given = problem(model, 1)
    places = given.masked[0].nonzero()[:8, 0]
    clean = given.clean.repeat(len(places), 1)
    row = torch.arange(len(places))
    clean[row, places] = other(clean[row, places], model)
    mine = given.hidden(
        model,
        clean=clean,
        noised=clean if model.form == "autoregressive" else given.noised.repeat(len(places), 1),
        lengths=given.lengths.repeat(len(places)),
    )
    base = given.hidden(model)[0, places]
    change = (mine[row, places] - base).abs().amax(1)
    expect(
        change.max() < DIFFERENT,
        f"the prediction of token {int(places[change.argmax()])} changes with that token's own identity, so the answer leaks; "
        "hidden()[:, i] must predict token i: check the shift (an autoregressive model's state at i - 1) and the layout.",
    )


def check_sees_the_context(architecture: Architecture) -> None:
    """The prediction of a hidden token depends on the visible tokens next to it."""
    model = load(architecture)
    given = problem(model, 1, blocks=2)
    length = given.clean.shape[1]
    place = length - 2
    masked = torch.zeros(1, length, dtype=torch.bool)
    masked[0, place] = True
    noised = hide(given.clean, masked, model)
    base = given.hidden(model, noised=noised)[0, place]
    for neighbour in (place - 1, *(() if model.form == "autoregressive" else (length - 1,))):
        clean, changed = given.clean.clone(), noised.clone()
        clean[0, neighbour] = changed[0, neighbour] = other(clean[0, neighbour], model)
        moved = given.hidden(model, clean=clean, noised=changed)[0, place]
        if (moved - base).abs().max() > DIFFERENT or (neighbour > place and _causal_blocks(model)):
            continue
        raise CheckFailed(
            f"the prediction of token {place} ignores its visible neighbour {neighbour}; check the shift (off by one: token i is "
            "predicted from the state at i, or, right-shifted, at i - 1) and that the layout is obeyed."
        )


def _causal_blocks(model: Denoiser) -> bool:
    """Whether a block form may be causal inside its blocks."""
    return model.form.startswith("block")


def check_blocks(architecture: Architecture) -> None:
    """Block forms: later blocks are invisible, and block diffusion reads earlier blocks clean."""
    model = load(architecture)
    block = model.block_size
    if block is None:
        raise CheckSkipped("the form has no blocks")
    given = problem(model, 1)
    base = given.hidden(model)[:, block : 2 * block]

    def changed(part: slice, *, clean: bool, noised: bool) -> float:
        sides = {"clean": given.clean.clone(), "noised": given.noised.clone()}
        for name, wanted in (("clean", clean), ("noised", noised)):
            if wanted:
                sides[name][:, part] = other(given.clean[:, part], model)
        return float((given.hidden(model, **sides)[:, block : 2 * block] - base).abs().max())

    expect(
        changed(slice(2 * block, None), clean=True, noised=True) < DIFFERENT,
        "a block's prediction changes with later blocks, which decoding has not written yet; use the block layouts.",
    )
    expect(
        changed(slice(0, block), clean=True, noised=True) > DIFFERENT,
        "a block's prediction ignores earlier blocks; a token sees its own block and all earlier ones.",
    )
    if model.form == "block_diffusion":
        expect(
            changed(slice(0, block), clean=False, noised=True) < DIFFERENT,
            "a block's prediction reads earlier blocks noised; block diffusion reads [x_t, x_0] and sees earlier blocks clean.",
        )


def check_padding(architecture: Architecture) -> None:
    """Padding behind a row, whatever its ids, and other rows of the batch change nothing."""
    model = load(architecture)
    given = problem(model, 2)
    length = given.clean.shape[1]
    words = ordinary(model.tokenizer)
    expected = given.hidden(model)
    for filler in (model.tokenizer.pad_token_id, int(words[0])):
        tail = torch.full((2, 2 * (model.block_size or 4)), filler)
        longer = {"noised": torch.cat([given.noised, tail], 1), "clean": torch.cat([given.clean, tail], 1)}
        expect_close(
            given.hidden(model, **longer)[:, :length],
            expected,
            "padding changes the hidden states of valid tokens; pass lengths to the layout (validity is position < length)",
            **SAME,
        )
    alone = Problem(given.clean[:1], given.noised[:1], given.masked[:1], given.lengths[:1])
    expect_close(
        alone.hidden(model), expected[:1], "a row's hidden states change with the other rows of its batch", **SAME
    )


def check_packing(architecture: Architecture) -> None:
    """Documents packed into one row do not see each other and count positions from their own start."""
    model = load(architecture)
    given = problem(model, 2, blocks=2)
    length = given.clean.shape[1]
    packed = {
        name: torch.cat([side[:1], side[1:]], 1) for name, side in (("noised", given.noised), ("clean", given.clean))
    }
    documents = (torch.arange(2 * length) >= length).long()[None]
    expected = given.hidden(model)
    try:
        together = given.hidden(model, **packed, lengths=torch.tensor([2 * length]), documents=documents)
    except Exception as error:
        raise CheckFailed(
            f"packed documents raise {type(error).__name__}: {error}; pass documents to the layout (with_rows)."
        ) from error
    # Position 0 is markup that nothing predicts; a shifted model reads it from the document before.
    first = slice(1, length)
    for row, start in ((0, 0), (1, length)):
        part = together[0, start : start + length]
        expect_close(
            part[first],
            expected[row, first],
            "a document's hidden states change when it is packed behind another; give the layout the documents, and restart "
            "positions with each",
            **SAME,
        )


def check_views(architecture: Architecture) -> None:
    """Several noised views of the same rows give what each gives alone."""
    model = load(architecture)
    first, second = problem(model), problem(model, seed=5)
    noised = hide(first.clean, second.masked, model)
    with torch.no_grad():
        views = model.hidden_views(torch.stack([first.noised, noised]), first.clean, first.lengths)
    expected = torch.stack([first.hidden(model), first.hidden(model, noised=noised)])
    expect_close(
        views, expected, "hidden_views() differs from running the views one by one; keep their streams apart", **SAME
    )


def check_shift(architecture: Architecture) -> None:
    """On text that the model knows, ``hidden()[:, i]`` predicts token i better than its neighbours."""
    found = masked_cross_entropy(load(architecture))
    best = min(found, key=lambda offset: found[offset].mean())
    if best == 0:
        return
    gain = found[0] - found[best]
    error = float(gain.std()) / len(gain) ** 0.5
    if float(gain.mean()) < max(0.2, 4 * error):
        raise CheckSkipped("the weights know too little of the text to tell (are they random?)")
    raise CheckFailed(
        f"hidden()[:, i] predicts token i{best:+d} better than token i ({float(found[best].mean()):.2f} against "
        f"{float(found[0].mean()):.2f} nats), so the shift is wrong; move the states by {best:+d}."
    )
