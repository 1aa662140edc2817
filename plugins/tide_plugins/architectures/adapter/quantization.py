"""Teachers held in 8 or 4 bits through bitsandbytes. Imports no torch until it is used."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from tide_specs import UnavailableError

Bits = Literal["4bit", "8bit"]


def require_quantization(bits: Bits, device: Any = None) -> None:
    """Raise ``UnavailableError`` when weights cannot be quantized here; ``device``: where the model will live."""
    import torch

    if find_spec("bitsandbytes") is None:
        raise UnavailableError(
            f"quantization: {bits} needs the package bitsandbytes; install this distribution with the extra 'quantization'"
        )
    kind = getattr(device, "type", "cuda")
    if kind != "cuda" or not torch.cuda.is_available():
        where = "torch sees no CUDA device" if kind == "cuda" else f"the model is to live on {kind}"
        raise UnavailableError(f"quantization: {bits} needs CUDA, but {where}; leave it out, or use precision: bf16")


def quantized_options(bits: Bits | None, dtype: Any, device: Any) -> dict[str, Any]:
    """Return what ``from_pretrained`` needs to quantize while it loads, straight onto ``device``; empty for ``None``.

    ``dtype``: of the computation. Four bits are NF4 with quantized scales (QLoRA, arXiv 2305.14314), eight are LLM.int8()
    (arXiv 2208.07339). The head and the embedding keep ``dtype``, so that the head can be applied in slices.
    """
    if bits is None:
        return {}
    from transformers import BitsAndBytesConfig

    kind: Any = BitsAndBytesConfig
    four: dict[str, Any] = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": dtype,
    }
    config = kind(**four) if bits == "4bit" else kind(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": device}}
