"""Checks of architectures: what they declare, before and after loading. Configure the component so that its model is tiny."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import pickle
from typing import cast, get_args

from torch import Tensor

from tide_specs.architecture import Architecture
from tide_specs.attention import AttentionBackend, AttentionOptions
from tide_specs.denoiser import Form
from tide_specs.layout import AttentionLayout
from tide_specs.testing import texts
from tide_specs.testing.checks.attention import LAYOUTS
from tide_specs.testing.dense_attention import DenseAttention
from tide_specs.testing.models import load, problem, roles
from tide_specs.testing.outcome import CheckSkipped, expect


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


def check_plan(architecture: Architecture) -> None:
    """``plan`` counts the parameters that are loaded."""
    plan = architecture.plan()
    if "parameters" not in plan:
        raise CheckSkipped("plan() does not count parameters")
    count = sum(p.numel() for p in load(architecture).module.parameters())
    expect(plan["parameters"] == count, f"plan() counts {plan['parameters']} parameters, but {count} are loaded.")


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
