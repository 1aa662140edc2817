"""A tied embedding is looked up and multiplied by in one chain: same gradients, one dense one instead of two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from arch_models import Make
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tide_specs import Denoiser, Runtime

IDS = torch.tensor([[3, 7, 7, 1, 256, 9], [5, 4, 3, 7, 9, 9]])
LENGTHS = torch.tensor([6, 4])


class Dense(TorchDispatchMode):
    """Counts the storages of the weight's shape that operations make, views not included."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape, self.held = shape, list[Tensor]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.shape == self.shape:
                self.held.append(leaf)
        return out

    def count(self) -> int:
        return len({tensor.untyped_storage().data_ptr() for tensor in self.held})


def loss_of(model: Denoiser) -> Tensor:
    hidden = model.hidden(IDS, IDS, LENGTHS)
    logits = model.head().logits(hidden.flatten(0, 1))
    return torch.nn.functional.cross_entropy(logits, IDS.flatten())


def plain_gradient(model: Any) -> Tensor:
    """The gradient where lookup and head both read the weight itself."""
    model.network.tied = False
    loss_of(model).backward()
    gradient = model.head().weight.grad.clone()
    model.module.zero_grad()
    model.network.tied = True
    return gradient


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "bert", "modernbert"])
def test_the_gradient_is_the_one_of_two_readers(make: Make, runtime: Runtime, family: str) -> None:
    sizes = {} if family in ("gpt2", "bert", "modernbert") else {"tie_word_embeddings": True}
    model: Any = make(family, "bidirectional", sizes=sizes).load("student", runtime)
    model.module.eval()
    assert model.network.tied
    wanted = plain_gradient(model)
    loss_of(model).backward()
    torch.testing.assert_close(model.head().weight.grad, wanted)
    assert float(wanted[256].abs().max()) > 0


def test_backward_makes_no_dense_gradient_for_the_lookup(make: Make, runtime: Runtime) -> None:
    model: Any = make("llama", "bidirectional", sizes={"tie_word_embeddings": True}).load("student", runtime)
    counts: list[int] = []
    for tied in (False, True):
        model.network.tied = tied
        loss = loss_of(model)
        with Dense(model.head().weight.shape) as dense:
            loss.backward()
        counts.append(dense.count())
        model.module.zero_grad()
    plain, chained = counts
    # The lookup's own gradient, and the sum of both.
    assert plain - chained == 2


def test_an_embedding_of_its_own_is_left_alone(make: Make, runtime: Runtime) -> None:
    model: Any = make("llama", "bidirectional", sizes={"tie_word_embeddings": False}).load("student", runtime)
    assert not model.network.tied
    assert model.network.head().weight is model.module.get_output_embeddings().weight


def test_the_head_alone_reads_the_parameter_itself(make: Make, runtime: Runtime) -> None:
    model: Any = make("llama", "bidirectional", sizes={"tie_word_embeddings": True}).load("student", runtime)
    model.hidden(IDS, IDS, LENGTHS)
    assert model.head().weight.grad_fn is not None
    assert model.head().weight is model.module.get_input_embeddings().weight
    model.hidden(IDS, IDS, LENGTHS)
    with torch.no_grad():
        model.hidden(IDS, IDS, LENGTHS)
    assert model.head().weight is model.module.get_input_embeddings().weight


def test_without_a_head_the_lookup_still_learns(make: Make, runtime: Runtime) -> None:
    model: Any = make("llama", "bidirectional", sizes={"tie_word_embeddings": True}).load("student", runtime)
    model.hidden(IDS, IDS, LENGTHS).square().sum().backward()
    gradient = model.module.get_input_embeddings().weight.grad
    assert set(gradient.abs().sum(1).nonzero()[:, 0].tolist()) == set(IDS.flatten().tolist())
