"""What can be known of a component's files and options before anything heavy is read."""

from __future__ import annotations

from ..huggingface import HuggingFace
from .configs import check_options, configure
from .files import check_source, refuse_missing


def check(component: HuggingFace, *, trust_remote_code: bool) -> None:
    """Raise for files that are missing or broken, for code that must not run, and for unknown model types and options."""
    if component.tokenizer_from is not None:
        refuse_missing(component.tokenizer_from)
    if component.model is not None:
        check_source(component.source, trust_remote_code=trust_remote_code, recognised=component.family is not None)
    if component.config is not None:
        check_options(component.config)
        # Sizes are judged with stand-ins for what the tokenizer decides.
        configure({"vocab_size": 1 << 20, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, **component.config})
