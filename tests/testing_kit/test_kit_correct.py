"""Correct components pass every check: the kit raises no false alarm."""

from __future__ import annotations

import contextlib

import mutants_architecture
import mutants_bridge
import mutants_loss_features
import mutants_noise
import mutants_reading
import mutants_sampler
import pytest
from kit_correct import KitChunkGap, KitChunks, KitCrossEntropy, KitForwardKL, KitLinear, KitRamp, KitShare, KitTidal

from tide_specs.testing import CheckSkipped, parametrize_with_checks
from tide_specs.testing.checks.architecture_forward import check_shift
from tide_specs.testing.dense_attention import DenseAttention
from tide_specs.testing.toys import FORMS, ToyArchitecture


@parametrize_with_checks(
    [
        KitForwardKL(),
        KitForwardKL(temperature=3.0, weight=0.5),
        KitCrossEntropy(),
        KitTidal(),
        KitChunkGap(),
        KitLinear(),
        KitRamp(),
        KitShare(),
        KitChunks(),
        DenseAttention(),
        *mutants_bridge.CORRECT,
        *mutants_loss_features.CORRECT,
        *mutants_noise.CORRECT,
        *mutants_reading.CORRECT,
        *mutants_sampler.CORRECT,
        *mutants_architecture.TOYS,
    ]
)
def test_no_false_alarm(component, check):
    check(component)


def test_a_model_that_knows_the_text_has_the_right_shift():
    check_shift(mutants_architecture.Memory())


@pytest.mark.parametrize("form", FORMS)
def test_random_weights_say_nothing_of_the_shift(form):
    with contextlib.suppress(CheckSkipped):
        check_shift(mutants_architecture.toy(ToyArchitecture, form))
