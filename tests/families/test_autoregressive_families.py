"""Autoregressive families as teachers: hidden(...)[:, i] predicts token i, as forwards written from their descriptions do.

Qwen3 is Llama with normalised queries and keys, Mixtral is Llama with a choice of experts; Gemma 3 and GPT-2 stand alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import logits, random_weights, write_checkpoint
from reference_layers import (
    Weights,
    affine,
    attend,
    before,
    gated,
    gelu_tanh,
    layer_norm,
    rms_norm,
    rotate,
    sees,
    silu,
)
from torch import Tensor

from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_specs import Denoiser, Runtime

TOKENIZER = str(Path(__file__).parents[1] / "testing_kit" / "data" / "tokenizer")
HIDDEN, INNER, ROWS, LENGTH, SIZE = 32, 48, 272, 12, 8
LAYERS = 2
Shapes = dict[str, tuple[int, ...]]
COMMON: dict[str, Any] = {
    "bos_token_id": 261,
    "eos_token_id": 262,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "vocab_size": ROWS,
}
LLAMA = {**COMMON, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": False}
QWEN3 = {
    **COMMON,
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": SIZE,
    "sliding_window": None,
}
MIXTRAL = {
    **COMMON,
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": None,
}
GEMMA3 = {
    **COMMON,
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "head_dim": SIZE,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 20,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 4,
    "sliding_window_pattern": 2,
    "tie_word_embeddings": True,
}
GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "activation_function": "gelu_new",
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "n_ctx": 64,
    "n_embd": HIDDEN,
    "n_head": 4,
    "n_layer": LAYERS,
    "n_positions": 64,
    "vocab_size": ROWS,
}


def decoder_shapes(*, normed: bool = False, experts: int = 0, gemma: bool = False) -> Shapes:
    """The keys that Llama gave to its successors."""
    shapes: Shapes = {"model.embed_tokens.weight": (ROWS, HIDDEN), "model.norm.weight": (HIDDEN,)}
    shapes |= {} if gemma else {"lm_head.weight": (ROWS, HIDDEN)}
    norms = ["input", "post_attention", *(["pre_feedforward", "post_feedforward"] if gemma else [])]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.{norm}_layernorm.weight": (HIDDEN,) for norm in norms}
        shapes |= {f"{at}.self_attn.{part}_proj.weight": (HIDDEN, HIDDEN) for part in "qo"}
        shapes |= {f"{at}.self_attn.{part}_proj.weight": (2 * SIZE, HIDDEN) for part in "kv"}
        shapes |= {f"{at}.self_attn.{part}_norm.weight": (SIZE,) for part in "qk"} if normed else {}
        if experts:
            at = f"{at}.block_sparse_moe"
            shapes |= {f"{at}.gate.weight": (experts, HIDDEN)}
            for expert in range(experts):
                shapes |= {f"{at}.experts.{expert}.w{part}.weight": (INNER, HIDDEN) for part in (1, 3)}
                shapes |= {f"{at}.experts.{expert}.w2.weight": (HIDDEN, INNER)}
        else:
            shapes |= {f"{at}.mlp.{part}_proj.weight": (INNER, HIDDEN) for part in ("gate", "up")}
            shapes |= {f"{at}.mlp.down_proj.weight": (HIDDEN, INNER)}
    return shapes


def llama(w: Weights, ids: Tensor, lengths: Tensor, *, normed: bool = False, experts: bool = False) -> Tensor:
    """Touvron et al.; ``normed`` as in Qwen3, ``experts`` as in Mixtral."""
    x, seen = w["model.embed_tokens.weight"][ids], sees(lengths, ids.shape[1], before)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        inner = rms_norm(x, w[f"{at}.input_layernorm.weight"], 1e-6)
        q, k, v = (affine(inner, w, f"{at}.self_attn.{part}_proj").unflatten(-1, (-1, SIZE)) for part in "qkv")
        if normed:
            q, k = (rms_norm(x, w[f"{at}.self_attn.{n}_norm.weight"], 1e-6) for x, n in ((q, "q"), (k, "k")))
        attended = attend(rotate(q, 500000.0), rotate(k, 500000.0), v, seen)
        x = x + affine(attended, w, f"{at}.self_attn.o_proj")
        inner = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], 1e-6)
        x = x + (mixture(inner, w, f"{at}.block_sparse_moe") if experts else dense(inner, w, f"{at}.mlp", silu))
    return affine(rms_norm(x, w["model.norm.weight"], 1e-6), w, "lm_head")


def dense(x: Tensor, w: Weights, at: str, activation: Callable[[Tensor], Tensor]) -> Tensor:
    return gated(x, w, (f"{at}.gate_proj", f"{at}.up_proj", f"{at}.down_proj"), activation)


def mixture(x: Tensor, w: Weights, at: str) -> Tensor:
    """Jiang et al.: the two most probable of four experts, their probabilities made to add up to one."""
    probabilities = affine(x, w, f"{at}.gate").float().softmax(-1)
    best, chosen = probabilities.topk(2, -1)
    best = best / best.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for expert in range(4):
        names = (f"{at}.experts.{expert}.w1", f"{at}.experts.{expert}.w3", f"{at}.experts.{expert}.w2")
        share = (best * (chosen == expert)).sum(-1, keepdim=True).double()
        out = out + share * gated(x, w, names, silu)
    return out


def gemma3(w: Weights, ids: Tensor, lengths: Tensor) -> Tensor:
    """Gemma 3: every second layer here sees all, the other one four tokens back, with a rotary base of its own."""

    def norm(x: Tensor, name: str) -> Tensor:
        narrow = x.float()
        scaled = narrow * torch.rsqrt(narrow.square().mean(-1, keepdim=True) + 1e-6)
        return (scaled * (1 + w[f"{name}.weight"].float())).double()

    length = ids.shape[1]
    x = w["model.embed_tokens.weight"][ids] * HIDDEN**0.5
    for layer in range(LAYERS):
        at, local = f"model.layers.{layer}", layer % 2 == 0
        inner = norm(x, f"{at}.input_layernorm")
        q, k, v = (affine(inner, w, f"{at}.self_attn.{part}_proj").unflatten(-1, (-1, SIZE)) for part in "qkv")
        q, k = norm(q, f"{at}.self_attn.q_norm"), norm(k, f"{at}.self_attn.k_norm")
        q, k = (rotate(side, 10000.0 if local else 1000000.0) for side in (q, k))
        near = sees(lengths, length, lambda i, j: (j <= i) & (i - j < 4))
        attended = attend(q, k, v, near if local else sees(lengths, length, before), 20**-0.5)
        x = x + norm(affine(attended, w, f"{at}.self_attn.o_proj"), f"{at}.post_attention_layernorm")
        inner = dense(norm(x, f"{at}.pre_feedforward_layernorm"), w, f"{at}.mlp", gelu_tanh)
        x = x + norm(inner, f"{at}.post_feedforward_layernorm")
    return norm(x, "model.norm") @ w["model.embed_tokens.weight"].T


def gpt2_shapes() -> Shapes:
    """As on the hub: no prefix, matrices [in, out], and the causal mask among the weights."""
    shapes: Shapes = {"wte.weight": (ROWS, HIDDEN), "wpe.weight": (64, HIDDEN)}
    shapes |= {"ln_f.weight": (HIDDEN,), "ln_f.bias": (HIDDEN,)}
    for layer in range(LAYERS):
        at, wide = f"h.{layer}", 4 * HIDDEN
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{at}.{norm}.weight": (HIDDEN,), f"{at}.{norm}.bias": (HIDDEN,)}
        pairs = {"attn.c_attn": (HIDDEN, 3 * HIDDEN), "attn.c_proj": (HIDDEN, HIDDEN)}
        pairs |= {"mlp.c_fc": (HIDDEN, wide), "mlp.c_proj": (wide, HIDDEN)}
        for name, (narrow, out) in pairs.items():
            shapes |= {f"{at}.{name}.weight": (narrow, out), f"{at}.{name}.bias": (out,)}
        shapes |= {f"{at}.attn.bias": (1, 1, 64, 64)}
    return shapes


def gpt2(w: Weights, ids: Tensor, lengths: Tensor) -> Tensor:
    """Radford et al.: learned positions, norms before each part, a tied head."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][: ids.shape[1]]
    seen = sees(lengths, ids.shape[1], before)
    for layer in range(LAYERS):
        at = f"h.{layer}"
        inner = linear(layer_norm(x, w, f"{at}.ln_1", 1e-5), f"{at}.attn.c_attn")
        q, k, v = (part.unflatten(-1, (4, SIZE)) for part in inner.split(HIDDEN, -1))
        x = x + linear(attend(q, k, v, seen), f"{at}.attn.c_proj")
        inner = gelu_tanh(linear(layer_norm(x, w, f"{at}.ln_2", 1e-5), f"{at}.mlp.c_fc"))
        x = x + linear(inner, f"{at}.mlp.c_proj")
    return layer_norm(x, w, "ln_f", 1e-5) @ w["wte.weight"].T


@dataclass(frozen=True)
class Case:
    """A checkpoint's settings, its weights' shapes, and its reference."""

    settings: dict[str, Any]
    shapes: Shapes
    reference: Callable[[Weights, Tensor, Tensor], Tensor]
    dtype: torch.dtype = torch.float64
    """The library multiplies with experts in float32 at most."""

    @property
    def close(self) -> dict[str, float]:
        """How close numbers of this precision must be."""
        exact = self.dtype == torch.float64
        return {"rtol": 1e-9, "atol": 1e-9} if exact else {"rtol": 1e-4, "atol": 2e-5}


CASES = {
    "llama": Case(LLAMA, decoder_shapes(), llama),
    "qwen3": Case(QWEN3, decoder_shapes(normed=True), partial(llama, normed=True)),
    "mixtral": Case(MIXTRAL, decoder_shapes(experts=4), partial(llama, experts=True), torch.float32),
    "gemma3": Case(GEMMA3, decoder_shapes(normed=True, gemma=True), gemma3),
    "gpt2": Case(GPT2, gpt2_shapes(), gpt2),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def weights(case: Case) -> dict[str, Tensor]:
    """Random everywhere, biases of order one."""
    drawn = random_weights(case.shapes)
    return {n: 10 * value if n.endswith("bias") and value.ndim == 1 else value for n, value in drawn.items()}


@pytest.fixture(scope="module")
def model(case: Case, weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    folder = write_checkpoint(tmp_path_factory.mktemp("model"), case.settings, weights, tokenizer=None)
    component = HuggingFace(model=str(folder), tokenizer_from=TOKENIZER, form="autoregressive")
    return component.load("teacher", runtime(case.dtype))


def runtime(dtype: torch.dtype) -> Runtime:
    return Runtime(device=torch.device("cpu"), dtype=dtype, attention=Eager())


@pytest.fixture
def ids() -> Tensor:
    """Clean ids [3, 12]."""
    return torch.randint(0, 260, (3, LENGTH), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("lengths", [[LENGTH] * 3, [LENGTH, 7, 2]], ids=["full", "padded"])
def test_the_state_at_i_predicts_token_i(
    case: Case, weights: dict[str, Tensor], model: Denoiser, ids: Tensor, lengths: list[int]
) -> None:
    rows = torch.tensor(lengths)
    found, wanted = logits(model, ids, ids, rows).double(), case.reference(weights, ids, rows)
    inside = torch.arange(1, LENGTH) < rows[:, None]
    torch.testing.assert_close(found[:, 1:][inside], wanted[:, :-1][inside], **case.close)
    assert wanted.std() > 0.2


def test_noise_is_not_read_and_nothing_predicts_the_first_token(model: Denoiser, ids: Tensor) -> None:
    lengths = torch.full((3,), LENGTH)
    first = model.hidden(ids, ids, lengths)
    assert torch.equal(first, model.hidden(ids.flip(1), ids, lengths))
    assert model.mask_token_id is None and not first[:, 0].any()


def test_decoding_token_by_token_equals_the_whole_forward(case: Case, model: Denoiser, ids: Tensor) -> None:
    whole = model.hidden(ids, ids, torch.full((3,), LENGTH))
    session = model.session(3)
    session.extend(ids[:, :5])
    for place in range(5, LENGTH):
        found = session.hidden(ids[:, place : place + 1])
        torch.testing.assert_close(found[:, 0], whole[:, place], **case.close)
        session.extend(ids[:, place : place + 1])


def test_saved_and_loaded_again(case: Case, model: Denoiser, ids: Tensor, tmp_path: Path) -> None:
    model.save(str(tmp_path))
    again, lengths = HuggingFace(model=str(tmp_path)).load("teacher", runtime(case.dtype)), torch.tensor([LENGTH, 7, 2])
    assert again.form == "autoregressive"
    assert torch.equal(logits(again, ids, ids, lengths), logits(model, ids, ids, lengths))
