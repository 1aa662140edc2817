"""Fast-dLLM v2: Qwen2.5 in blocks; what it computes at i predicts token i + 1, across the border of blocks too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import load
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
    check_decoding,
    check_recognition,
    check_round_trip,
    check_wrong_weights,
    component,
    expect_close,
    write,
)

# As Efficient-Large-Model/Fast_dLLM_v2_1.5B has it, but for the sizes: Qwen2.5's, and bd_size.
SETTINGS: dict[str, Any] = {
    **SIZES,
    "architectures": ["Fast_dLLM_QwenForCausalLM"],
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration.Fast_dLLM_QwenConfig",
        "AutoModel": "modeling.Fast_dLLM_QwenModel",
        "AutoModelForCausalLM": "modeling.Fast_dLLM_QwenForCausalLM",
    },
    "bd_size": BLOCK,
    "initializer_range": 0.02,
    "layer_types": ["full_attention", "full_attention"],
    "max_window_layers": 2,
    "model_type": "Fast_dLLM_Qwen",
    "rope_scaling": None,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.53.1",
    "use_cache": True,
    "use_sliding_window": False,
}
WHOLE = torch.full((3,), LENGTH)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write(tmp_path_factory.mktemp("fast"), SETTINGS, normed=False, head_dim=4, mask="|<MASK>|")


def test_every_token_gets_what_generate_reads(fast: Checkpoint) -> None:
    """The clean text up to a block's border, then the noisy block, block-causal; logits moved by one."""
    ours = all_logits({}, fast, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        for start in range(0, length, BLOCK):
            text = torch.cat([IDS[row, :start], NOISED[row, start : start + BLOCK]])
            native = fast.reference.in_blocks(text, BLOCK)
            moved = torch.cat([native[:1], native[:-1]])
            expect_close(ours[row, start : start + BLOCK], moved[start:])


def test_the_training_form_agrees_where_the_block_before_is_unmasked(fast: Checkpoint) -> None:
    """The published loss moves the noisy stream by one as a whole, borders of blocks included."""
    noised = NOISED.clone()
    noised[:, BLOCK : 2 * BLOCK] = IDS[:, BLOCK : 2 * BLOCK]
    ours = all_logits({}, fast, noised, WHOLE)
    inside = [i for i in range(1, LENGTH) if i % BLOCK]
    for row in range(3):
        noisy, _ = fast.reference.in_streams(noised[row], IDS[row], BLOCK)
        expect_close(ours[row, inside], noisy[[i - 1 for i in inside]])
        expect_close(ours[row, 2 * BLOCK], noisy[2 * BLOCK - 1])
        border = noisy[BLOCK - 1] - ours[row, BLOCK]
        assert bool((noised[row, :BLOCK] == MASK_ID).any()) == bool(border.abs().max() > 1e-3)


def test_decoding_equals_the_full_pass(fast: Checkpoint) -> None:
    check_decoding(fast)


def test_a_finished_block_predicts_the_next_token(fast: Checkpoint) -> None:
    """After a block is written to the cache, its last position answers for the token behind it without another pass."""
    model = load(fast.folder)
    session = model.session(1)
    session.extend(IDS[:1, : 2 * BLOCK])
    following = model.head().project(session.hidden(torch.full((1, 1), MASK_ID))[:, 0])[0]
    expect_close(following, fast.reference.in_blocks(IDS[0, : 2 * BLOCK], BLOCK)[-1])


def test_it_is_recognised_and_saved_as_published(fast: Checkpoint, tmp_path: Path) -> None:
    """Its small releases tie the head to the embedding and have no weight for it."""
    assert "lm_head.weight" not in fast.weights
    check_recognition(fast, "fast_dllm", model_type="Fast_dLLM_Qwen", architecture="Fast_dLLM_QwenForCausalLM")
    check_round_trip(fast, tmp_path / "saved")
    check_wrong_weights(fast)


def test_what_config_json_leaves_open(fast: Checkpoint) -> None:
    family = component(fast).family
    assert family is not None
    semantics = family.semantics({}, "native")
    assert (semantics.block_size, semantics.shift, semantics.causal) == (32, "right", False)
