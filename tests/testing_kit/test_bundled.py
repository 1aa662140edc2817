"""Every bundled component passes the kit that third parties are held to."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tide_specs import COMPONENT_HOOKS, Component
from tide_specs.testing import parametrize_with_checks

PACKAGES = {
    "alignment": "alignments",
    "architecture": "architectures",
    "attention": "attention",
    "corruption": "corruptions",
    "dataset": "datasets",
    "evaluator": "evaluators",
    "interpolation": "interpolations",
    "launcher": "launchers",
    "loss": "losses",
    "observer": "observers",
    "recipe": "recipes",
    "sampler": "samplers",
    "schedule": "schedules",
    "teacher_view": "teacher_views",
    "weighting": "weightings",
}
DATA = Path(__file__).parent / "data"
TOKENIZER = str(DATA / "tokenizer")
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 512}
DIT = {"hidden_size": 16, "layers": 2, "heads": 2, "conditioning_size": 8, "tokenizer_from": TOKENIZER}
GEMMA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "global_head_dim": 16,
    "num_experts": 3,
    "top_k_experts": 2,
    "moe_intermediate_size": 8,
}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "architecture/cached": [{"cache": str(DATA / "teacher-cache")}],
    "architecture/diffusion_gemma": [
        {"config": {"text_config": GEMMA, "canvas_length": 4}, "tokenizer_from": TOKENIZER},
    ],
    "architecture/dit": [
        {**DIT, "form": "bidirectional"},
        {**DIT, "form": "block_diffusion", "block_size": 4},
    ],
    "architecture/huggingface": [
        {"config": LLAMA, "tokenizer_from": TOKENIZER, "form": "bidirectional"},
        {"config": LLAMA, "tokenizer_from": TOKENIZER, "form": "block_diffusion", "block_size": 4},
        {"config": LLAMA, "tokenizer_from": TOKENIZER, "form": "block_causal", "block_size": 4, "shift": "right"},
        {"config": GPT2, "tokenizer_from": TOKENIZER, "form": "autoregressive"},
    ],
    "launcher/slurm": [{"cluster": "local"}],
    "recipe/chain": [
        {"stages": [{"name": "one"}, {"name": "two", "student": "one", "changes": {"losses[0].weight": 2}}]}
    ],
    "dataset/jsonl": [{"path": str(DATA / "conversations.jsonl")}],
    "dataset/huggingface": [{"path": str(DATA / "conversations.jsonl")}],
    "evaluator/code": [{"path": str(DATA / "problems.jsonl"), "max_new_tokens": 8, "sandbox": "weaker"}],
    "evaluator/lm_eval": [{"tasks": ["tide_hellaswag"], "path": str(DATA / "benchmarks"), "forwards": 2}],
    "evaluator/generation": [{"max_new_tokens": 8, "prefix_bytes": 4}],
    "bernoulli_kl": [{}, {"direction": "reverse", "temperature": 5.0}],
    "by_confidence": [{}, {"temperature": 0.01}],
    "by_progress": [{}, {"initial": 2.0, "final": 0.0, "shape": "cosine"}],
    "clipped": [{}, {"beta": 0.45, "omega": 0.95}],
    "cross_entropy": [{}, {"normalisation": "sequence", "weighting": "none"}],
    "dual_space": [{}, {"spaces": "student", "values": "states", "correct_only": False}],
    "hidden_state": [{}, {"distance": "mse"}],
    "multi_resolution_calm": [
        {"objective": objective, "direction": direction}
        for objective in ("calm", "bernoulli_kl")
        for direction in ("forward", "reverse")
    ],
    "minimum_edit": [{}, {"top_k": 8, "correct_undershoot": False}],
    "polynomial": [{}, {"exponent": 0.5}],
    "projected_kl": [{}, {"direction": "reverse", "temperature": 2.0}, {"interpolated": True}],
    "ranked": [{}, {"top_k": None}, {"top_k": 8}],
    "skew_kl": [{}, {"direction": "reverse"}],
    "tidal": [{}, {"mid_range_weight": False, "temperature": 1.0}],
    "top_k_kl": [{"k": 4}, {"direction": "reverse", "k": 4, "temperature": 2.0}],
    "vocabulary_projection": [{}, {"match": "exact", "tail": "left_out"}, {"top_k": 8}],
}
"""Options with which a component is checked; ``{}`` for every name that is not listed."""
_AT_ZERO = "random weights start as published, with every block and the head at zero; a checkpoint's pass"
EXPECTED: dict[tuple[str, str], str] = {
    ("dit", "check_sees_the_context"): _AT_ZERO,
    ("dit", "check_blocks"): _AT_ZERO,
}


def bundled(kind: str) -> list[Component]:
    """Instances of every bundled component of a kind."""
    module = importlib.import_module(f"tide_plugins.{PACKAGES[kind]}")
    classes = getattr(module, COMPONENT_HOOKS[kind])()
    return [cls(**options) for cls in classes for options in options_of(cls)]


def options_of(cls: type[Component]) -> list[dict[str, Any]]:
    """The options with which a class is checked."""
    name = cls.component_name()
    return OPTIONS.get(f"{cls.kind}/{name}", OPTIONS.get(name, [{}]))


COMPONENTS = [component for kind in PACKAGES for component in bundled(kind)]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(COMPONENTS, expected_failures=EXPECTED)
def test_bundled_component_conforms(component: Component, check: Any) -> None:
    check(component)


def test_every_kind_is_covered() -> None:
    assert set(PACKAGES) == set(COMPONENT_HOOKS)
    assert {component.kind for component in COMPONENTS} == set(COMPONENT_HOOKS)
