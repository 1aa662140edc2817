"""The lookup of an embedding that is the output projection as well, without a second gradient of the vocabulary's size.

Shapes: B rows, P positions, C vocabulary, H hidden size.
"""

# The stubs of torch.autograd.Function are incomplete.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class TiedLookup(torch.autograd.Function):
    """Ids [B, P], weight [C, H] -> rows [B, P, H], and the weight again, for the head to use.

    Were both to read the weight itself, autograd would build a dense [C, H] gradient for each and add them. Strung one
    behind the other, the rows' gradients are added into the head's.
    """

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        ctx.save_for_backward(ids)
        ctx.set_materialize_grads(False)
        ctx.like = weight.shape, weight.dtype
        return nn.functional.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, rows: Tensor | None, head: Tensor | None) -> tuple[None, Tensor | None]:
        """Gradients of the rows [B, P, H] and of the head's weight [C, H] -> the weight's."""
        if rows is None:
            return None, head
        (ids,) = ctx.saved_tensors
        shape, dtype = ctx.like
        # The head's gradient was made for this weight alone, so that it can be added to in place.
        total = rows.new_zeros(shape, dtype=dtype) if head is None else head.contiguous()
        # Sorts on a GPU, and so sums in one order, which ``index_add_`` does not.
        total.index_put_((ids.flatten(),), rows.flatten(0, -2).to(total.dtype), accumulate=True)
        return None, total


def is_tied(model: Any) -> bool:
    """Return whether the model looks its tokens up in the very weight that its head multiplies by."""
    looked_up, output = model.get_input_embeddings(), model.get_output_embeddings()
    return type(looked_up) is nn.Embedding and looked_up.weight is getattr(output, "weight", None)
