"""What can be known of a component's files and options before anything heavy is read."""

from __future__ import annotations

from typing import Any

from ..huggingface import HuggingFace
from .configs import check_options, configure
from .files import check_source, fetch_config, refuse_missing
from .lora import require_peft
from .quantization import require_quantization


def check(component: HuggingFace, *, trust_remote_code: bool) -> None:
    """Raise for files that are missing or broken, for code that must not run, and for unknown model types and options."""
    check_extras(component)
    if component.tokenizer_from is not None:
        refuse_missing(component.tokenizer_from)
        fetch_config(component.tokenizer_from)
    if component.model is not None:
        check_model(component, trust_remote_code=trust_remote_code)
    if component.config is not None:
        check_options(component.config)
        # Sizes are judged with stand-ins for what the tokenizer decides.
        configure({"vocab_size": 1 << 20, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, **component.config})


def check_model(component: HuggingFace, *, trust_remote_code: bool) -> None:
    """Check the files of a pretrained model; its family is known afterwards, for a hub name too."""
    fetch_config(component.source)
    check_source(
        component.source,
        trust_remote_code=trust_remote_code,
        recognised=component.family is not None,
        families=component.families,
    )


def check_extras(component: HuggingFace, device: Any = None) -> None:
    """Raise ``UnavailableError`` for options whose package or device is missing; ``device``: where the model will live."""
    if component.lora is not None:
        require_peft()
    if component.quantization is not None:
        require_quantization(component.quantization, device)
