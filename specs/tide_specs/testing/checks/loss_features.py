"""Checks of what a loss on hidden states builds and trains."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tide_specs.loss import FeatureLoss, Loss
from tide_specs.testing.loss_inputs import HIDDEN, built, feature_inputs
from tide_specs.testing.outcome import CheckSkipped, expect


def check_module_is_built_alike(loss: Loss) -> None:
    """Under one seed of torch, ``build`` returns equal modules in float32: every process starts from the same one."""
    loss = _feature_loss(loss)
    first: Any = built(loss, *HIDDEN)
    expect(
        isinstance(first, nn.Module),
        f"build returns {type(first).__name__}; return a torch.nn.Module, nn.Module() where nothing is learned.",
    )
    again = built(loss, *HIDDEN).state_dict()
    state = first.state_dict()
    expect(
        state.keys() == again.keys() and all(torch.equal(state[name], again[name]) for name in state),
        "two modules built under the same seed differ, so processes would train different ones; draw initial weights from "
        "torch's generator alone.",
    )
    dtypes = {str(parameter.dtype) for parameter in first.parameters()} - {"torch.float32"}
    expect(
        not dtypes,
        f"build returns parameters in {', '.join(dtypes)}; leave them in float32, of which the optimizer keeps the master copy.",
    )


def check_module_learns(loss: Loss) -> None:
    """The loss gives every parameter of its module a gradient, also where a micro-batch has no chunk."""
    loss = _feature_loss(loss)
    for count in (12, 0):
        given = feature_inputs(loss, count)
        named = dict(given.module.named_parameters())
        if not named:
            raise CheckSkipped("the loss learns nothing of its own")
        out = given.of(loss)
        expect(
            out.requires_grad,
            f"the loss of {count} chunks does not depend on the module that build returned; use it, or return nn.Module().",
        )
        gradients = torch.autograd.grad(out.sum(), list(named.values()), allow_unused=True)
        unused = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
        expect(
            not unused,
            f"{', '.join(unused)} take no part in the loss of {count} chunks, and processes would wait for their gradients; "
            "build only what the options need, and let every result depend on it.",
        )
        found = [gradient for gradient in gradients if gradient is not None]
        expect(all(gradient.isfinite().all() for gradient in found), "a parameter's gradient is not finite.")
        expect(
            not count or any(gradient.abs().sum() > 0 for gradient in found),
            "the gradient of the module is zero everywhere, so it would stay as it was drawn; do not detach its output.",
        )


def check_any_hidden_sizes(loss: Loss) -> None:
    """A student may be narrower than its teacher, wider, or as wide."""
    loss = _feature_loss(loss)
    narrow, wide = HIDDEN
    for sizes in ((narrow, wide), (wide, narrow), (narrow, narrow)):
        out = feature_inputs(loss, sizes=sizes).of(loss)
        expect(out.isfinite().all(), f"the loss is not finite for hidden sizes {sizes}.")


def _feature_loss(loss: Loss) -> FeatureLoss:
    if not isinstance(loss, FeatureLoss):
        raise CheckSkipped("the loss looks at no hidden states")
    return loss
