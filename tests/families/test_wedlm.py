"""WeDLM: causal, the observed tokens of a noisy block before its masked ones, each at its own position."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import load, logits
from qwen_checkpoints import (
    BLOCK,
    IDS,
    LENGTH,
    LENGTHS,
    MASK_ID,
    NOISED,
    SIZES,
    TOOL,
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
from qwen_reference import Qwen
from torch import Tensor

from tide_plugins.architectures.adapter.reorder import observed_first, put_back, segments
from tide_plugins.architectures.families.wedlm import Wedlm
from tide_plugins.attention.eager import Eager
from tide_specs import CheckpointError, DataError, Example, Message, Runtime

# As tencent/WeDLM-8B-Instruct has it, but for the sizes and `block_size`, which no release says.
QWEN3: dict[str, Any] = {
    **SIZES,
    "architectures": ["WeDLMForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_wedlm.WeDLMConfig",
        "AutoModelForCausalLM": "modeling_wedlm.WeDLMForCausalLM",
    },
    "block_size": BLOCK,
    "head_dim": 8,
    "initializer_range": 0.02,
    "layer_types": ["full_attention", "full_attention"],
    "mask_token_id": MASK_ID,
    "max_window_layers": 2,
    "model_type": "wedlm",
    "qk_norm": True,
    "rope_scaling": None,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.56.1",
    "use_cache": False,
    "use_sliding_window": False,
}
QWEN2: dict[str, Any] = {**QWEN3, "attention_bias": True, "qk_norm": False, "head_dim": None}
WHOLE = torch.full((3,), LENGTH)


@pytest.fixture(scope="module", params=[QWEN3, QWEN2], ids=["qwen3", "qwen2"])
def wedlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    normed = request.param is QWEN3
    folder = tmp_path_factory.mktemp("wedlm")
    return write(folder, request.param, normed=normed, head_dim=8 if normed else 4, mask=TOOL)


def reordered(reference: Qwen, noised: Tensor, clean: Tensor) -> Tensor:
    """One row [L], built as the published trainer describes it: [x_0, x_t], each noisy block with its masks last.

    Returns [L, C] in the order of the text.
    """
    length, ids, positions, block = len(clean), clean.tolist(), list(range(len(clean))), []
    places: list[int] = []
    for start in range(0, length, BLOCK):
        tokens = range(start, min(start + BLOCK, length))
        observed = [i for i in tokens if int(noised[i]) != MASK_ID]
        for i in observed + [i for i in tokens if int(noised[i]) == MASK_ID]:
            ids.append(int(noised[i]))
            positions.append(i)
            places.append(i)
            block.append(start // BLOCK)
    visible = torch.zeros(2 * length, 2 * length, dtype=torch.bool)
    for query in range(length):
        visible[query, : query + 1] = True
        for key in range(query + 1):
            visible[length + query, length + key] = block[query] == block[key]
        visible[length + query, : block[query] * BLOCK] = True
    out = reference.logits(torch.tensor(ids), torch.tensor(positions), visible)[length:]
    return torch.stack([out[places.index(i)] for i in range(length)])


def test_streams_equal_the_reordered_sequence(wedlm: Checkpoint) -> None:
    """A padded batch: each row as if it were alone."""
    ours = all_logits({}, wedlm, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expect_close(ours[row, :length], reordered(wedlm.reference, NOISED[row, :length], IDS[row, :length]))


def test_padding_inside_a_block_stays_behind_the_text(wedlm: Checkpoint) -> None:
    """A padded place is no observed token."""
    ours = all_logits({}, wedlm, NOISED, torch.tensor([LENGTH - 2, BLOCK + 1, 2]))
    for row, length in enumerate((LENGTH - 2, BLOCK + 1, 2)):
        expect_close(ours[row, :length], reordered(wedlm.reference, NOISED[row, :length], IDS[row, :length]))


def test_views_are_reordered_each_by_its_own_mask(wedlm: Checkpoint) -> None:
    model = load(wedlm.folder)
    other = torch.where(NOISED == MASK_ID, IDS, MASK_ID)
    with torch.no_grad():
        views = model.hidden_views(torch.stack([NOISED, other]), IDS, WHOLE)
    for view, noised in zip(views, (NOISED, other), strict=True):
        for row in range(3):
            expect_close(model.head().project(view[row]), reordered(wedlm.reference, noised[row], IDS[row]))


def test_packed_documents_equal_separate_rows(wedlm: Checkpoint) -> None:
    """Also where a document begins inside a block: nothing moves across the border."""
    model = load(wedlm.folder)
    for border in (BLOCK, BLOCK + 2):
        documents = (torch.arange(LENGTH) >= border).long()[None]
        with torch.no_grad():
            packed = model.hidden(NOISED[:1], IDS[:1], torch.tensor([LENGTH]), documents)[0]
            alone = model.hidden(NOISED[:1, :border], IDS[:1, :border], torch.tensor([border]))[0]
        expect_close(packed[:border], alone)


def test_the_clean_stream_is_an_autoregressive_model(wedlm: Checkpoint) -> None:
    """What it computes at i predicts token i + 1: the checkpoint serves as an ordinary causal teacher."""
    model = load(wedlm.folder, form="autoregressive")
    ours = logits(model, NOISED, IDS, WHOLE)
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    for row in range(3):
        expect_close(ours[row, 1:], wedlm.reference.logits(IDS[row], torch.arange(LENGTH), causal)[:-1])


def test_the_published_variant_sees_blocks_both_ways(wedlm: Checkpoint) -> None:
    """TIDE's released trainer: [x_0, x_t] in the order of the text."""
    ours = all_logits({"variant": "published"}, wedlm, NOISED, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        noisy, _ = wedlm.reference.in_streams(NOISED[row, :length], IDS[row, :length], BLOCK)
        expect_close(ours[row, :length], noisy)


def test_decoding_equals_the_full_pass(wedlm: Checkpoint) -> None:
    check_decoding(wedlm)
    check_decoding(wedlm, variant="published")


def test_a_window_may_begin_inside_a_block(wedlm: Checkpoint) -> None:
    """The published engine caches each token as soon as all before it are known, and slides on: a window is one reordered block."""
    model = load(wedlm.folder)
    session = model.session(2)
    known = [BLOCK + 3, BLOCK + 1]
    session.extend(IDS[:2, : BLOCK + 1])
    session.extend(IDS[:2, BLOCK + 1 : BLOCK + 3], torch.tensor([2, 0]))
    window = torch.tensor([[9, MASK_ID, 11, MASK_ID], [MASK_ID, MASK_ID, 30, 31]])
    hidden = session.hidden(window)
    for row, start in enumerate(known):
        order = [i for i in range(4) if window[row, i] != MASK_ID] + [i for i in range(4) if window[row, i] == MASK_ID]
        ids = torch.cat([IDS[row, :start], window[row, order]])
        positions = torch.cat([torch.arange(start), start + torch.tensor(order)])
        causal = torch.ones(start + 4, start + 4, dtype=torch.bool).tril()
        expected = wedlm.reference.logits(ids, positions, causal)[start:]
        expect_close(model.head().project(hidden[row])[order], expected)


def test_gradients_follow_their_tokens(wedlm: Checkpoint) -> None:
    """Of a student, against those of the explicit sequence."""
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager())
    model: Any = component(wedlm).load("student", runtime)
    model.module.double()
    aims = torch.randn(3, LENGTH, SIZES["vocab_size"], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (model.head().project(model.hidden(NOISED, IDS, WHOLE).flatten(0, 1)) * aims.flatten(0, 1)).sum().backward()
    weights = {name: weight.float().double().requires_grad_() for name, weight in wedlm.weights.items()}
    reference = replace(wedlm.reference, weights=weights)
    sum((reordered(reference, NOISED[row], IDS[row]) * aims[row]).sum() for row in range(3)).backward()
    for name, parameter in model.module.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-5, atol=1e-5)


def test_it_is_recognised_and_saved_as_published(wedlm: Checkpoint, tmp_path: Path) -> None:
    check_recognition(wedlm, "wedlm", model_type="wedlm", architecture="WeDLMForCausalLM")
    check_round_trip(wedlm, tmp_path / "native")
    check_round_trip(wedlm, tmp_path / "published", variant="published")
    assert component(replace(wedlm, folder=tmp_path / "native")).moves_observed_first
    assert not component(replace(wedlm, folder=tmp_path / "published")).moves_observed_first
    check_wrong_weights(wedlm)


@pytest.mark.parametrize("role", ["text", "user"])
def test_data_that_contains_the_mask_token_is_refused(role: str, wedlm: Checkpoint) -> None:
    """In Qwen3's tokenizer its id is that of `<tool_response>`, which text, and what a tool answered, may hold."""
    tokenizer: Any = component(wedlm).tokenizer("teacher")
    refused = r"contains the mask token '<tool_response>' \(id 260\), which must not occur in data"
    with pytest.raises(DataError, match=refused):
        tokenizer.encode([Example(key="7", messages=[Message(role=role, content=f"a {TOOL} b", trainable=True)])])
    answered = (
        "{% if m['role'] == 'tool' %}<tool_response>{{ m['content'] }}{% else %}{{ m['content'] }}{% endif %}<|im_end|>"
    )
    tokenizer.tokenizer.chat_template = "{% for m in messages %}" + answered + "{% endfor %}"
    with pytest.raises(DataError, match=refused):
        tokenizer.encode([Example(key="7", messages=[Message(role="tool", content="42", trainable=True)])])


def test_what_config_json_leaves_open() -> None:
    family = Wedlm()
    assert family.mask_token_id({"mask_token_id": None}) == 151665
    native, published = (family.semantics({}, kind) for kind in ("native", "published"))
    assert (native.block_size, native.order, native.causal, native.observed_first) == (32, "clean_first", True, True)
    assert (published.block_size, published.order, published.causal) == (32, "clean_first", False)
    with pytest.raises(CheckpointError, match="qk_norm True with attention_bias True"):
        family.native_config({**QWEN3, "attention_bias": True})
    with pytest.raises(CheckpointError, match="use_sliding_window is True"):
        family.native_config({**QWEN3, "use_sliding_window": True})


def test_reordering_is_a_permutation_of_each_segment() -> None:
    """On random masks, lengths and documents: observed before masked, both in their order, and back again."""
    random = torch.Generator().manual_seed(3)
    masked = torch.rand(2, 50, 13, generator=random) < 0.5
    lengths = torch.randint(1, 14, (50,), generator=random)
    documents = torch.randint(0, 2, (50, 13), generator=random).cumsum(1)
    segment = segments(13, 4, lengths, documents)
    order = observed_first(masked, segment)
    for view in range(2):
        for row in range(50):
            text = range(13)
            expected = sorted(text, key=lambda i: (int(segment[row, i]), bool(masked[view, row, i]), i))
            assert order[view, row].tolist() == expected
    states = torch.randn(2, 50, 13, 3, generator=random)
    assert torch.equal(put_back(states.gather(2, order[..., None].expand_as(states)), order), states)
