"""Dream 7B: a Qwen2 that reads both ways; what it computes at i predicts token i + 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qwen_checkpoints import (
    BLOCK,
    IDS,
    LENGTH,
    LENGTHS,
    MASK_ID,
    NOISED,
    SIZES,
    Checkpoint,
    all_logits,
    check_recognition,
    check_round_trip,
    check_wrong_weights,
    component,
    expect_close,
    write,
)

from tide_plugins.architectures.families import recognise
from tide_specs import CheckpointError

# As Dream-org/Dream-v0-Instruct-7B has it, but for the sizes.
SETTINGS: dict[str, Any] = {
    **SIZES,
    "architectures": ["DreamModel"],
    "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"},
    "initializer_range": 0.02,
    "mask_token_id": MASK_ID,
    "max_window_layers": 1,
    "model_type": "Dream",
    "pad_token_id": 151643,
    "rope_scaling": None,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.46.2",
    "use_cache": True,
    "use_sliding_window": False,
}


@pytest.fixture(scope="module")
def dream(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write(tmp_path_factory.mktemp("dream"), SETTINGS, normed=False, head_dim=4, mask="<|mask|>")


@pytest.mark.parametrize("variant", ["native", "published"])
def test_logits_are_those_of_the_position_before(variant: str, dream: Checkpoint) -> None:
    """A padded batch: each row as if it were alone."""
    ours = all_logits({"variant": variant}, dream, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        native = dream.reference.sees_all(NOISED[row, :length])
        expect_close(ours[row, 1:length], native[:-1])
        expect_close(ours[row, 0], native[0])


def test_the_same_weights_as_block_diffusion(dream: Checkpoint) -> None:
    """Options that are given win: [x_t, x_0] without the shift."""
    options = {"form": "block_diffusion", "block_size": BLOCK}
    ours = all_logits(options, dream, NOISED, IDS.new_full((3,), LENGTH))
    for row in range(3):
        expect_close(ours[row], dream.reference.in_streams(NOISED[row], IDS[row], BLOCK)[0])


def test_it_is_recognised_and_saved_as_published(dream: Checkpoint, tmp_path: Path) -> None:
    check_recognition(dream, "dream", model_type="Dream", architecture="DreamModel")
    check_round_trip(dream, tmp_path / "saved")
    check_wrong_weights(dream)


def test_a_window_in_the_configuration_changes_nothing(dream: Checkpoint) -> None:
    family = component(dream).family
    assert family is not None
    windowed = {**SETTINGS, "use_sliding_window": True, "sliding_window": 4}
    assert family.native_config(windowed)["use_sliding_window"] is False


def test_missing_sizes_are_named(dream: Checkpoint) -> None:
    family = component(dream).family
    assert family is not None
    with pytest.raises(CheckpointError, match=r"config\.json: hidden_size is missing"):
        family.native_config({key: value for key, value in SETTINGS.items() if key != "hidden_size"})


def test_a_dream_with_blocks_is_another_model() -> None:
    assert recognise({**SETTINGS, "architectures": ["DreamForCausalLM"], "block_size": 32}) is None


def test_scaled_rotary_positions_are_kept(dream: Checkpoint) -> None:
    family = component(dream).family
    assert family is not None
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    assert family.native_config({**SETTINGS, "rope_scaling": scaling})["rope_scaling"] == scaling
