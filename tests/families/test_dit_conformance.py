"""``dit`` with the weights of a checkpoint passes the kit that third parties are held to."""

from __future__ import annotations

from pathlib import Path

import pytest
from dit_checkpoints import BD3LM, MDLM, weights_of, write

from tide_plugins.architectures.dit import Dit
from tide_specs.testing.catalogue import Check, checks_for
from tide_specs.testing.outcome import CheckSkipped

TOKENIZER = str(Path(__file__).parents[1] / "testing_kit" / "data" / "tokenizer")
ROWS = 267
"""Ids of that tokenizer."""


@pytest.fixture(scope="module", params=[MDLM, BD3LM], ids=["mdlm", "bd3lm"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dit:
    """A checkpoint as the hub has it; without dropout, so that training computes what evaluation does."""
    settings = {**request.param, "vocab_size": ROWS}
    weights = {name: value.float() for name, value in weights_of(settings).items()}
    folder = write(tmp_path_factory.mktemp("checkpoint"), settings, weights)
    return Dit(model=str(folder), tokenizer_from=TOKENIZER, dropout=0.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", checks_for("architecture"), ids=lambda check: check.name)
def test_a_checkpoint_conforms(checkpoint: Dit, check: Check) -> None:
    try:
        check(checkpoint)
    except CheckSkipped as reason:
        pytest.skip(str(reason))
