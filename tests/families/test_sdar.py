"""SDAR: Qwen3, and Qwen3-MoE, in blocks; what it computes at i predicts token i."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qwen_checkpoints import (
    BLOCK,
    IDS,
    LENGTHS,
    MASK_ID,
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

from tide_specs import CheckpointError, DataError

# As JetLM/SDAR-4B-Chat has it, but for the sizes.
SETTINGS: dict[str, Any] = {
    **SIZES,
    "architectures": ["SDARForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_sdar.SDARConfig",
        "AutoModel": "modeling_sdar.SDARModel",
        "AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM",
    },
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_implementation": "flex_attention",
    "block_size": BLOCK,
    "debug": False,
    "ep_size": 1,
    "fuse_cross_entropy": True,
    "head_dim": 8,
    "initializer_range": 0.02,
    "mask_token_id": MASK_ID,
    "max_window_layers": 2,
    "micro_forward": False,
    "model_type": "sdar",
    "rope_scaling": None,
    "skip_checkpoint": False,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.52.4",
    "use_cache": False,
    "use_deepep": False,
    "use_sliding_window": False,
}
MOE: dict[str, Any] = {
    **SETTINGS,
    "architectures": ["SDARMoeForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_sdar_moe.SDARMoeForCausalLM"},
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "model_type": "sdar_moe",
    "moe_intermediate_size": 12,
    "norm_topk_prob": True,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}


@pytest.fixture(scope="module", params=[SETTINGS, MOE], ids=["dense", "moe"])
def sdar(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write(tmp_path_factory.mktemp("sdar"), request.param, normed=True, head_dim=8, mask="<|MASK|>")


def test_streams_equal_the_reference(sdar: Checkpoint) -> None:
    """[x_t, x_0], a padded batch: each row as if it were alone."""
    ours = all_logits({}, sdar, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        noisy, _ = sdar.reference.in_streams(NOISED[row, :length], IDS[row, :length], BLOCK)
        expect_close(ours[row, :length], noisy)


def test_block_causal_attention_equals_the_reference(sdar: Checkpoint) -> None:
    """As the published ``generate`` runs it: one stream."""
    ours = all_logits({"form": "block_causal", "block_size": BLOCK}, sdar, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expect_close(ours[row, :length], sdar.reference.in_blocks(NOISED[row, :length], BLOCK))


def test_full_attention_equals_the_reference(sdar: Checkpoint) -> None:
    ours = all_logits({"form": "bidirectional"}, sdar, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expect_close(ours[row, :length], sdar.reference.sees_all(NOISED[row, :length]))


def test_decoding_equals_the_full_pass(sdar: Checkpoint) -> None:
    check_decoding(sdar)


def test_it_is_recognised_and_saved_as_published(sdar: Checkpoint, tmp_path: Path) -> None:
    moe = "num_experts" in sdar.settings
    check_recognition(
        sdar,
        "sdar_moe" if moe else "sdar",
        model_type="sdar_moe" if moe else "sdar",
        architecture="SDARMoeForCausalLM" if moe else "SDARForCausalLM",
    )
    check_round_trip(sdar, tmp_path / "saved")
    check_wrong_weights(sdar)


def test_what_config_json_leaves_open(sdar: Checkpoint) -> None:
    """SDAR-8B says neither its block size nor its mask token."""
    family = component(sdar).family
    assert family is not None
    bare = {key: value for key, value in sdar.settings.items() if key not in ("block_size", "mask_token_id")}
    assert family.semantics(bare, "native").block_size == 4
    assert family.semantics({**bare, "block_size": 32}, "published").block_size == 32
    assert family.mask_token_id(bare) == 151669
    with pytest.raises(CheckpointError, match=r"use_sliding_window is True.*SDAR"):
        family.native_config({**bare, "use_sliding_window": True})


def test_the_mask_token_is_found_by_its_id(tmp_path: Path) -> None:
    """Releases spell it in two ways."""
    other = write(tmp_path / "other", SETTINGS, normed=True, head_dim=8, mask="<MASK>")
    assert component(other).tokenizer("teacher").mask_token_id == MASK_ID
    wrong = write(tmp_path / "wrong", {**SETTINGS, "mask_token_id": 270}, normed=True, head_dim=8, mask="<MASK>")
    with pytest.raises(DataError, match="no token with the id 270, the mask token of SDAR"):
        component(wrong).tokenizer("teacher")
