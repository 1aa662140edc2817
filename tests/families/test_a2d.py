"""A2D students of dLLM and TIDE: Qwen2.5 and Qwen3, as MDLM and as BD3LM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qwen_checkpoints import (
    BLOCK,
    IDS,
    LENGTHS,
    NOISED,
    SIZES,
    Checkpoint,
    all_logits,
    check_decoding,
    check_recognition,
    check_round_trip,
    check_wrong_weights,
    component,
    expect_close,
    write,
)

from tide_plugins.architectures.families.a2d import A2d
from tide_specs import CheckpointError, ConfigError

# As dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1 has it, but for the sizes; its MDLM sibling says the same.
QWEN3: dict[str, Any] = {
    **SIZES,
    "architectures": ["A2DQwen3LMHeadModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "dtype": "bfloat16",
    "head_dim": 8,
    "initializer_range": 0.02,
    "layer_types": ["full_attention", "full_attention"],
    "max_window_layers": 2,
    "model_type": "a2d-qwen3",
    "rope_scaling": None,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "transformers_version": "4.57.0",
    "use_cache": True,
    "use_sliding_window": False,
}
QWEN2: dict[str, Any] = {
    **{key: value for key, value in QWEN3.items() if key not in ("attention_bias", "head_dim")},
    "architectures": ["A2DQwen2LMHeadModel"],
    "model_type": "a2d-qwen2",
    # dLLM lets layers with a window see all that the others see.
    "layer_types": ["full_attention", "sliding_attention"],
    "sliding_window": 2,
    "use_sliding_window": True,
}
BD3LM = {"form": "block_diffusion", "block_size": BLOCK}


@pytest.fixture(scope="module", params=[QWEN3, QWEN2], ids=["qwen3", "qwen2"])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    normed = request.param is QWEN3
    folder = tmp_path_factory.mktemp("student")
    return write(folder, request.param, normed=normed, head_dim=8 if normed else 4, mask="<|mask|>")


def test_without_a_form_it_reads_both_ways(student: Checkpoint) -> None:
    """A padded batch: each row as if it were alone."""
    ours = all_logits({}, student, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expect_close(ours[row, :length], student.reference.sees_all(NOISED[row, :length]))


def test_as_bd3lm(student: Checkpoint) -> None:
    ours = all_logits(BD3LM, student, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        noisy, _ = student.reference.in_streams(NOISED[row, :length], IDS[row, :length], BLOCK)
        expect_close(ours[row, :length], noisy)


def test_decoding_equals_the_full_pass(student: Checkpoint) -> None:
    check_decoding(student, **BD3LM)


def test_it_is_recognised_and_saved_as_published(student: Checkpoint, tmp_path: Path) -> None:
    """TIDE's record beside the weights keeps the form that was given."""
    kind = student.settings["model_type"].removeprefix("a2d-")
    check_recognition(student, "a2d", model_type=f"a2d-{kind}", architecture=f"A2D{kind.title()}LMHeadModel")
    check_round_trip(student, tmp_path / "saved", **BD3LM)
    check_wrong_weights(student)


def test_blocks_need_their_size(student: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"form 'block_diffusion' needs `block_size`, e\.g\. block_size: 32"):
        _ = component(student, form="block_diffusion").length_multiple


def test_classes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(CheckpointError, match="set model_type to one of a2d-qwen2, a2d-qwen3"):
        A2d().native_config({**SIZES, "architectures": ["A2DQwen2Model", "A2DQwen3Model"]})
