"""Run files against the toy components, and how to load them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tide_core.config import LoadedRun
from tide_specs import ConfigError

TOY = Path(__file__).parents[1] / "data" / "toy_components.py"

Load = Callable[..., LoadedRun]

RUN = """\
student: toy_model
data:
  name: toy_data
teacher: {name: toy_model, parameters: 5_000_000}
losses:
  - cross_entropy
  - {name: reverse_calm, temperature: 5}
training:
  steps: 20
  learning_rate: 5e-5
"""


def message_of(load: Load, text: str, overrides: Sequence[str] = ()) -> str:
    """The message with which a run file is refused."""
    with pytest.raises(ConfigError) as caught:
        load(text, overrides)
    return str(caught.value)
