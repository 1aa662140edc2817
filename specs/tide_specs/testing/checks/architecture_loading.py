"""Checks of architectures: loading, training and saving."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from tide_specs.architecture import Architecture
from tide_specs.denoiser import Denoiser
from tide_specs.testing.closeness import expect_close
from tide_specs.testing.models import SAME, load, problem, roles
from tide_specs.testing.outcome import CheckSkipped, expect

PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


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
        copy = load(architecture.saved_at(path), seed=99)
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
