"""Checks of architectures, on small random inputs. Configure the component so that its model is tiny.

Shapes: B rows, L tokens, V views, H hidden size, C vocabulary.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from tide_specs.architecture import Architecture
from tide_specs.attention import AttentionBackend, AttentionOptions
from tide_specs.denoiser import Denoiser, Form, Role
from tide_specs.layout import AttentionLayout
from tide_specs.testing import texts
from tide_specs.testing.checks.attention import LAYOUTS
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.dense_attention import DenseAttention
from tide_specs.testing.outcome import CheckFailed, CheckSkipped, expect
from tide_specs.testing.shift import masked_cross_entropy
from tide_specs.testing.toys import runtime
from tide_specs.text import TextTokenizer

SAME = {"rtol": 1e-3, "atol": 2e-4}
"""Two float32 forward passes over other shapes of the same problem."""
DIFFERENT = 1e-5
"""A change of hidden states that is no rounding error."""
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
ROLES: tuple[Role, Role] = ("student", "teacher")


@dataclass(frozen=True)
class Problem:
    """Random rows: clean ids [B, L], the noised ones, and where they are masked."""

    clean: Tensor
    noised: Tensor
    masked: Tensor
    lengths: Tensor

    def hidden(self, model: Denoiser, **given: Any) -> Tensor:
        """Run the model without gradient [B, L, H]."""
        sides = {"noised": self.noised, "clean": self.clean, "lengths": self.lengths, **given}
        with torch.no_grad():
            return model.hidden(sides["noised"], sides["clean"], sides["lengths"], sides.get("documents"))


def roles(architecture: Architecture) -> list[Role]:
    """Return the roles that the component serves."""
    return [role for role in ROLES if architecture.serves(role) is None]


def load(architecture: Architecture, role: Role | None = None, **given: Any) -> Denoiser:
    """Load the model with the kit's dense attention, in evaluation mode."""
    served = roles(architecture)
    if not served:
        raise CheckSkipped(f"it serves neither role: {architecture.serves('teacher')}")
    model = architecture.load(role or served[-1], runtime(**given))
    model.module.eval()
    return model


def problem(model: Denoiser, rows: int = 2, *, blocks: int = 3, seed: int = 0) -> Problem:
    """Return random rows of ``blocks`` blocks (of 12 tokens where the form has no blocks)."""
    length = blocks * model.block_size if model.block_size else 4 * blocks
    random = torch.Generator().manual_seed(seed)
    words = ordinary(model.tokenizer)
    clean = words[torch.randint(len(words), (rows, length), generator=random)]
    masked = torch.rand(rows, length, generator=random) < 0.5
    masked[:, 0] = False
    masked[:, 2] = masked[:, -2] = True
    mask = model.mask_token_id
    noised = clean if mask is None else clean.masked_fill(masked, mask)
    return Problem(clean, noised, masked, torch.full((rows,), length))


def ordinary(tokenizer: TextTokenizer) -> Tensor:
    """Return ids that stand for text, a thousand at most."""
    return torch.tensor([i for i, piece in enumerate(tokenizer.token_bytes()) if piece][:1000])


def other(ids: Tensor, model: Denoiser) -> Tensor:
    """Return other ordinary ids, one for each."""
    words = ordinary(model.tokenizer)
    place = torch.searchsorted(words, ids).clamp(max=len(words) - 1)
    return words[(place + 1) % len(words)]


def exercise(architecture: Architecture) -> None:
    """Load the model and run it once."""
    model = load(architecture)
    problem(model).hidden(model)
    architecture.plan()


def check_declarations(architecture: Architecture) -> None:
    """Roles, form, block size and layouts are known before loading, and true of what is loaded."""
    served = roles(architecture)
    expect(served, f"it serves neither role ({architecture.serves('student')}); serves() must return None for one.")
    form = architecture.denoiser_form
    expect(form in get_args(Form), f"denoiser_form is {form!r}; it must be one of {', '.join(get_args(Form))}.")
    unknown = sorted(set(architecture.attention_needs()) - set(LAYOUTS))
    expect(not unknown, f"attention_needs() names {unknown}, which is no layout; known are {', '.join(LAYOUTS)}.")
    model = load(architecture)
    expect(model.form == form, f"denoiser_form says {form!r}, but load() returns a denoiser of form {model.form!r}.")
    block = model.block_size
    expect(
        (block is not None) == form.startswith("block"),
        f"a denoiser of form {form!r} has block_size {block}; block forms have one, the others None.",
    )
    expect(
        architecture.length_multiple % (block or 1) == 0,
        f"length_multiple is {architecture.length_multiple}, but blocks have {block} tokens; return a multiple of the block size.",
    )


def check_tokenizer(architecture: Architecture) -> None:
    """The tokenizer is there without weights, reaches worker processes, and tells bytes and offsets truly."""
    for role in roles(architecture):
        tokenizer = architecture.tokenizer(role)
        again = pickle.loads(pickle.dumps(tokenizer))
        expect(
            again.fingerprint() == tokenizer.fingerprint(),
            f"the {role}'s tokenizer changes when it is pickled; it must reach worker processes unchanged.",
        )
        table = tokenizer.token_bytes()
        expect(
            len(table) == tokenizer.vocabulary_size,
            f"token_bytes() has {len(table)} entries for a vocabulary of {tokenizer.vocabulary_size}; give one per id.",
        )
        for example in (texts.text(texts.TEXTS["ascii"]), texts.text(texts.TEXTS["unicode"])):
            (encoded,) = tokenizer.encode([example])
            expect(encoded.message[0] == -1, "position 0 is content; let every row start with markup (BOS).")
            ends = encoded.end[encoded.end >= 0]
            size = len(example.messages[0].content.encode())
            expect(
                (ends[1:] > ends[:-1]).all() and (len(ends) == 0 or ends[-1] <= size),
                "the ends of tokens do not rise within the text's raw UTF-8 bytes; offsets count bytes, not characters.",
            )


def check_mask_token(architecture: Architecture) -> None:
    """A denoiser that fills in has a mask token of its own; an autoregressive one has none."""
    model = load(architecture)
    mask = model.mask_token_id
    if model.form == "autoregressive":
        expect(mask is None, "an autoregressive denoiser reads only clean tokens; its mask_token_id must be None.")
        return
    if mask is None:
        raise CheckSkipped("the denoiser has no mask token (for uniform corruption)")
    expect(
        mask == model.tokenizer.mask_token_id,
        f"the denoiser's mask token is {mask}, its tokenizer's {model.tokenizer.mask_token_id}; they must be one.",
    )
    size = model.head().weight.shape[0]
    expect(
        mask < size and model.tokenizer.vocabulary_size <= size,
        f"the head has {size} columns for {model.tokenizer.vocabulary_size} ids (mask token {mask}); enlarge the vocabulary of the model.",
    )
    expect(
        model.tokenizer.token_bytes()[mask] is None,
        f"the mask token {mask} is an ordinary token of the tokenizer, which the data may hold; use a token of its own.",
    )


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
        noised=clean if model.mask_token_id is None else given.noised.repeat(len(places), 1),
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
    mask = model.mask_token_id
    noised = given.clean if mask is None else given.clean.masked_fill(masked, mask)
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
    mask = model.mask_token_id
    noised = first.clean if mask is None else first.clean.masked_fill(second.masked, mask)
    with torch.no_grad():
        views = model.hidden_views(torch.stack([first.noised, noised]), first.clean, first.lengths)
    expected = torch.stack([first.hidden(model), first.hidden(model, noised=noised)])
    expect_close(
        views, expected, "hidden_views() differs from running the views one by one; keep their streams apart", **SAME
    )


def check_gradients(architecture: Architecture) -> None:
    """Every trainable parameter of a student gets a finite gradient."""
    if "student" not in roles(architecture):
        raise CheckSkipped("it serves no student")
    model = load(architecture, "student")
    model.module.train()
    _backward(model)
    silent = [name for name, p in model.module.named_parameters() if p.requires_grad and p.grad is None]
    expect(
        not silent,
        f"no gradient reaches {', '.join(silent[:3])}; freeze such parameters (requires_grad_(False)), or DDP waits for them.",
    )
    expect(
        all(p.grad is None or p.grad.isfinite().all() for p in model.module.parameters()),
        "a gradient is not finite; is a row of the attention mask empty?",
    )


def _backward(model: Denoiser) -> None:
    given = problem(model)
    hidden = model.hidden(given.noised, given.clean, given.lengths)
    logits = model.head().logits(hidden[given.masked])
    torch.nn.functional.cross_entropy(logits, given.clean[given.masked]).backward()


def check_gradient_checkpointing(architecture: Architecture) -> None:
    """With ``gradient_checkpointing`` the gradients are the same."""
    if "student" not in roles(architecture):
        raise CheckSkipped("it serves no student")
    models = [load(architecture, "student", gradient_checkpointing=on) for on in (False, True)]
    for model in models:
        # Dropout stays off, so that both passes are the same function.
        for part in model.module.modules():
            part.training = not isinstance(part, torch.nn.Dropout)
        _backward(model)
    for (name, a), b in zip(models[0].module.named_parameters(), models[1].module.parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            expect_close(b.grad, a.grad, f"gradient checkpointing changes the gradient of {name}", **SAME)


def check_loading_is_reproducible(architecture: Architecture) -> None:
    """The same seed gives the same weights, and torch's global generator is left alone."""
    state = torch.random.get_rng_state()
    first, second = load(architecture, seed=3), load(architecture, seed=3)
    expect(
        torch.equal(state, torch.random.get_rng_state()),
        "load() draws from torch's global generator; wrap it in torch.random.fork_rng() and seed it with runtime.seed.",
    )
    same = all(torch.equal(a, b) for a, b in zip(first.module.parameters(), second.module.parameters(), strict=True))
    expect(same, "two loads with the same runtime.seed give different weights; seed the initialisation with it.")


def check_dtype(architecture: Architecture) -> None:
    """The weights have the dtype that the runtime asks for."""
    model = load(architecture, dtype=torch.bfloat16)
    wrong = [name for name, p in model.module.named_parameters() if p.dtype != torch.bfloat16]
    expect(not wrong, f"{', '.join(wrong[:3])} are not in runtime.dtype; move the module with .to(runtime.dtype).")
    expect(problem(model).hidden(model).isfinite().all(), "in bfloat16 the hidden states are not finite.")


def check_save_and_reload(architecture: Architecture) -> None:
    """What ``save`` writes is safetensors, and loads as the same model with the same tokenizer and mask token."""
    model = load(architecture)
    given = problem(model)
    with tempfile.TemporaryDirectory() as path:
        model.save(path)
        files = {file.name for file in Path(path).rglob("*")}
        pickled = sorted(name for name in files if Path(name).suffix in PICKLES)
        expect(not pickled, f"save() writes {', '.join(pickled)}; write weights as safetensors, never as a pickle.")
        expect(any(name.endswith(".safetensors") for name in files), "save() writes no .safetensors file.")
        copy = load(reloaded(architecture, path), seed=99)
        expect(
            (copy.form, copy.block_size) == (model.form, model.block_size),
            f"the saved model comes back as form {copy.form!r} instead of {model.form!r}; save what restores it.",
        )
        expect(
            copy.mask_token_id == model.mask_token_id,
            f"the saved model comes back with mask token {copy.mask_token_id} instead of {model.mask_token_id}; save the tokenizer with it.",
        )
        expect(
            copy.tokenizer.fingerprint() == model.tokenizer.fingerprint(),
            "the saved model comes back with another tokenizer; save() must write the tokenizer too.",
        )
        expect_close(
            given.hidden(copy),
            given.hidden(model),
            "the saved model comes back with other weights",
            rtol=1e-4,
            atol=1e-5,
        )


def reloaded(architecture: Architecture, path: str) -> Architecture:
    """Return the component with its weights read from ``path``: all options and ``model: path``, or else that alone."""
    cls = type(architecture)
    if "model" not in cls.model_fields:
        raise CheckSkipped("it has no option 'model' for a directory to load")
    try:
        return cls.model_validate({**architecture.model_dump(), "model": path})
    except ValidationError:
        return cls.model_validate({"model": path})


def check_attention_needs(architecture: Architecture) -> None:
    """The layouts asked of the backend are those announced by ``attention_needs``."""
    seen: set[str] = set()

    class Recording(DenseAttention):
        """Notes the layouts that it is asked for."""

        def attend(
            self, query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout, options: AttentionOptions
        ) -> Tensor:
            """Attend as the base does."""
            seen.add(layout.kind)
            return super().attend(query, key, value, layout, options)

    model = load(architecture, attention=cast(AttentionBackend, Recording()))
    problem(model).hidden(model)
    missing = sorted(seen - set(architecture.attention_needs()))
    expect(
        not missing,
        f"the model asks its backend for layouts {missing}, which attention_needs() does not name; add them, so that a backend "
        "without them is refused before anything loads.",
    )


def check_plan(architecture: Architecture) -> None:
    """``plan`` counts the parameters that are loaded."""
    plan = architecture.plan()
    if "parameters" not in plan:
        raise CheckSkipped("plan() does not count parameters")
    count = sum(p.numel() for p in load(architecture).module.parameters())
    expect(plan["parameters"] == count, f"plan() counts {plan['parameters']} parameters, but {count} are loaded.")


def check_session(architecture: Architecture) -> None:
    """Decoding with a cache gives what the full forward gives, row by row, block by block."""
    model = load(architecture)
    for rows, fed in _prefixes(model):
        session = _session(model, len(rows))
        longest = max(fed)
        given = problem(model, len(rows), blocks=3)
        session.extend(given.clean[:, :longest], torch.tensor(fed))
        expect(
            session.lengths.tolist() == fed,
            f"after extend() of {fed} tokens session.lengths is {session.lengths.tolist()}; count each row's own tokens.",
        )
        for attempt in range(2):
            _compare_step(model, session.hidden(_next(model, given, fed)), given, rows, fed, attempt)
        session.keep(torch.tensor([len(rows) - 1]))
        last = len(rows) - 1
        alone = Problem(given.clean[last:], given.noised[last:], given.masked[last:], given.lengths[last:])
        _compare_step(model, session.hidden(_next(model, alone, fed[last:])), alone, [0], fed[last:], 2)
        _extend_further(model, session, alone, fed[last])


def _session(model: Denoiser, rows: int) -> Any:
    try:
        return model.session(rows)
    except NotImplementedError as reason:
        raise CheckSkipped(f"no decoding session: {reason}") from reason


def _prefixes(model: Denoiser) -> Iterator[tuple[list[int], list[int]]]:
    """Rows, and how many tokens of each are fed: equal, and different, in whole blocks."""
    step = model.block_size or 3
    yield [0, 1], [step, step]
    yield [0, 1], [2 * step, step]


def _width(model: Denoiser) -> int:
    return model.block_size or (1 if model.form == "autoregressive" else 3)


def _next(model: Denoiser, given: Problem, fed: list[int]) -> Tensor:
    """The noised tokens behind each row's prefix."""
    width = _width(model)
    return torch.stack([given.noised[row, start : start + width] for row, start in enumerate(fed)])


def _full(model: Denoiser, given: Problem, row: int, start: int) -> Tensor:
    """What the full forward says of the tokens behind a clean prefix."""
    stop = start + _width(model)
    noised = given.clean[row : row + 1, :stop].clone()
    noised[0, start:] = given.noised[row, start:stop]
    with torch.no_grad():
        return model.hidden(noised, given.clean[row : row + 1, :stop], torch.tensor([stop]))[0, start:]


_STEPS = (
    "the session's prediction differs from the full forward; check positions, the Cached layout, and rows of different length",
    "asking a session twice gives two answers; hidden() must leave the cache as it was",
    "after keep() a row is answered differently; keep() must select rows of keys, values and lengths alike",
    "after more tokens the session's prediction differs from the full forward; extend() must append to what is cached",
)


def _compare_step(model: Denoiser, hidden: Tensor, given: Problem, rows: list[int], fed: list[int], step: int) -> None:
    for row in rows:
        expect_close(hidden[row], _full(model, given, row, fed[row]), _STEPS[step], **SAME)


def _extend_further(model: Denoiser, session: Any, given: Problem, fed: int) -> None:
    step = model.block_size or 1
    if fed + step + _width(model) > given.clean.shape[1]:
        return
    session.extend(given.clean[:1, fed : fed + step])
    _compare_step(model, session.hidden(_next(model, given, [fed + step])), given, [0], [fed + step], 3)


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
