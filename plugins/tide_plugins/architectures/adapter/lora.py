"""Students that train low-rank adapters only (LoRA, arXiv 2106.09685), through peft. Imports no torch until it is used.

Adapters go into the library's own modules, so that embedding and head stay the model's own parameters. The mask token's row
of the embedding trains with them: it is the one token that a model which never denoised knows nothing of.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from tide_specs import ConfigError, UnavailableError

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER = "default"
MASK_ROW = "mask_row"
"""Name of the embedding's parameter that holds the mask token's row [H]."""


class Lora(BaseModel):
    """Low-rank adapters: W x becomes W x + (alpha / rank) B A x, of which A and B are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: PositiveInt = Field(default=16, description="rank of the update of each weight")
    alpha: PositiveFloat = Field(default=32.0, description="the update is scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="dropout before the adapters")
    targets: tuple[str, ...] = Field(
        default=(), description="last names of the linear layers that get one, e.g. q_proj; default: all but the head"
    )


def require_peft() -> None:
    """Raise ``UnavailableError`` when peft is not installed."""
    if find_spec("peft") is None:
        raise UnavailableError("lora: needs the package peft; install this distribution with the extra 'lora'")


def add_adapters(model: Any, lora: Lora, *, mask_token_id: int | None, seed: int) -> None:
    """Freeze the model, put adapters into its linear layers and make the mask token's row trainable.

    The adapters start as zero updates whose A depends on ``seed`` alone. Raises ``ConfigError`` when no layer is a target.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    wanted: Any = list(lora.targets) or "all-linear"
    kind: Any = LoraConfig
    config = kind(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=wanted, bias="none")
    place = next(model.parameters()).device
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, ADAPTER, low_cpu_mem_usage=place.type == "meta")
        except ValueError as error:
            names = sorted({name.rpartition(".")[2] for name, _ in _linear_layers(model)})
            raise ConfigError(
                f"huggingface: lora.targets {list(lora.targets)} fit no layer ({' '.join(str(error).split())[:120]}); linear "
                f"layers are called {', '.join(names)}"
            ) from error
    if mask_token_id is not None:
        _train_mask_row(model.get_input_embeddings(), mask_token_id)


def _linear_layers(model: Any) -> list[tuple[str, Any]]:
    import torch

    return [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]


def _train_mask_row(embedding: Any, mask: int) -> None:
    """Let one row learn as a parameter of its own; the frozen matrix, which a tied head shares, always holds its value."""
    import torch

    row = torch.nn.Parameter(embedding.weight[mask].detach().clone())
    embedding.register_parameter(MASK_ROW, row)

    def write(module: Any, _: Any) -> None:
        # Through .data: autograd may still need the matrix, whose value changes after optimizer steps only.
        module.weight.data[mask] = module.mask_row.data

    def differentiate(module: Any, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        # Zero in value: it leads the gradient of the mask token's positions into the row.
        scale = getattr(module, "embed_scale", 1.0)
        gradient_path = (module.mask_row - module.mask_row.detach()) * scale
        return out + (given[0] == mask).unsqueeze(-1) * gradient_path.to(out.dtype)

    embedding.register_forward_pre_hook(write)
    embedding.register_forward_hook(differentiate)
    embedding.tide_mask_token_id = mask


def merged_weights(model: Any) -> dict[str, Tensor] | None:
    """Return the model's weights with its adapters merged in, under the names it had without them; ``None`` without any."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    if not adapted:
        return None
    embedding = model.get_input_embeddings()
    if hasattr(embedding, MASK_ROW):
        embedding.weight.data[embedding.tide_mask_token_id] = getattr(embedding, MASK_ROW).data
    merged: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        owner, base, last = name.partition(".base_layer.")
        if base:
            update = adapted[owner].get_delta_weight(ADAPTER) if last == "weight" else None
            merged[f"{owner}.{last}"] = value if update is None else value + update.to(value.dtype)
        elif ".lora_" not in name and not name.endswith(f".{MASK_ROW}"):
            merged[name] = value
    return merged
