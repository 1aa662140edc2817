"""A denoiser made of one torch module, for model families that are written rather than adapted.

Shapes: B rows, L tokens of the clean sequence, P positions of one forward pass (L, or 2 L for [x_t, x_0]), H hidden size.
"""

# torch's and safetensors' stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .denoiser import Denoiser, Form, Head
from .errors import CheckpointError
from .layout import AttentionLayout, BlockCausal, BlockDiffusion, Causal, Full
from .text import TextTokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"


class ModuleDenoiser(Denoiser):
    """Runs a module in any form: builds the layout, the [x_t, x_0] input and position ids, and shifts what is shifted.

    ``module(ids [B, P], positions [B or 1, P], layout)`` returns hidden states [B, P, H]; ``module.head`` is its
    ``nn.Linear`` output projection. Positions restart with every document.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: TextTokenizer,
        *,
        form: Form = "bidirectional",
        block_size: int | None = None,
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.form = form
        self.block_size = block_size
        self.mask_token_id = None if form == "autoregressive" else tokenizer.mask_token_id

    def hidden(self, noised: Tensor, clean: Tensor, lengths: Tensor, documents: Tensor | None = None) -> Tensor:
        """Noised and clean ids [B, L] -> hidden states [B, L, H]; see ``Denoiser.hidden``."""
        import torch

        length = clean.shape[1]
        layout = self.layout(length).with_rows(lengths, documents)
        positions = positions_of(length, documents, clean.device)
        if self.form == "block_diffusion":
            both = torch.cat([noised, clean], 1)
            return self.module(both, positions.repeat(1, 2), layout)[:, :length]
        if self.form != "autoregressive":
            return self.module(noised, positions, layout)
        native = self.module(clean, positions, layout)
        return torch.cat([torch.zeros_like(native[:, :1]), native[:, :-1]], 1)

    def layout(self, length: int) -> AttentionLayout:
        """Return the layout of this form over ``length`` tokens."""
        if self.form == "autoregressive":
            return Causal(length=length)
        if self.block_size is None:
            return Full(length=length)
        kind = BlockDiffusion if self.form == "block_diffusion" else BlockCausal
        return kind(length=length, block=self.block_size)

    def head(self) -> Head:
        """Return the module's output projection."""
        linear: Any = self.module.head
        return Head(weight=linear.weight, bias=linear.bias)

    def save(self, path: str) -> None:
        """Write ``model.safetensors`` and the tokenizer into the directory ``path``."""
        from safetensors.torch import save_model

        Path(path).mkdir(parents=True, exist_ok=True)
        save_model(self.module, str(Path(path) / WEIGHTS))
        self.tokenizer.save(path)


def restore(module: nn.Module, path: str) -> None:
    """Read the weights that ``ModuleDenoiser.save`` wrote; raise ``CheckpointError`` naming the file or the keys."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    file = Path(path) / WEIGHTS
    try:
        load_model(module, str(file))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {file}: {error}; give a directory that TIDE saved") from error
    except RuntimeError as error:
        raise CheckpointError(f"{file} does not fit this architecture's options: {error}") from error


def positions_of(length: int, documents: Tensor | None, device: Any = None) -> Tensor:
    """Return position ids [1, L], or [B, L] restarting with every document [B, L]."""
    import torch

    index = torch.arange(length, device=device)[None]
    if documents is None:
        return index
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return index - torch.where(first, index, 0).cummax(1).values
