"""Loading without holding the weights twice."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ..families.family import Family

_SWITCH = "HF_DEACTIVATE_ASYNC_LOAD"
"""The library's own switch, read when a load begins."""


@contextmanager
def in_turn(family: Family, config: Any) -> Generator[None]:
    """Let the library read a tensor when its turn comes, where several become one parameter.

    Its threads otherwise run ahead of the merging, so that all experts exist apart while they are merged: the model twice.
    Where parameters are only renamed, what was read is the parameter, and the threads may run.
    """
    if _SWITCH in os.environ or not _merges(family, config):
        yield
        return
    os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        del os.environ[_SWITCH]


def _merges(family: Family, config: Any) -> bool:
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import WeightConverter

    native: list[Any] = get_checkpoint_conversion_mapping(config.model_type) or []
    return any(isinstance(each, WeightConverter) for each in (*family.conversions(), *native))
