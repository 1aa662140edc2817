"""Correct components pass every check: the kit raises no false alarm."""

from __future__ import annotations

from kit_correct import KitChunkGap, KitChunks, KitCrossEntropy, KitForwardKL, KitLinear, KitRamp, KitTidal

from tide_specs.testing import parametrize_with_checks
from tide_specs.testing.dense_attention import DenseAttention


@parametrize_with_checks(
    [
        KitForwardKL(),
        KitForwardKL(temperature=3.0, weight=0.5),
        KitCrossEntropy(),
        KitTidal(),
        KitChunkGap(),
        KitLinear(),
        KitRamp(),
        KitChunks(),
        DenseAttention(),
    ]
)
def test_no_false_alarm(component, check):
    check(component)
