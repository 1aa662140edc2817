"""What a checkpoint is, without loading it: what its architecture says, and what follows from that for any architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tide_specs import Architecture, Role, TideError

from .registry import Registry
from .saved_students import SavedStudent, find_student, student_architecture

Groups = dict[str, dict[str, Any]]
BITS = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4}
"""Dtype -> bits of a weight, scales of quantized ones not counted."""


def find_model(source: str) -> SavedStudent:
    """Find a model like ``find_student``; what is no path is left to the architecture (``package:NAME``, a hub name)."""
    if not Path(source).exists() and not _can_only_be_a_path(source):
        return SavedStudent(path=Path(source), run=None)
    return find_student(source)


def _can_only_be_a_path(source: str) -> bool:
    if source.startswith("package:"):
        return False
    return source.startswith((".", "/", "~")) or source.count("/") != 1


def model_architecture(source: str, registry: Registry, given: str | None = None) -> Architecture:
    """Return the architecture that loads a checkpoint; see ``student_architecture``."""
    return student_architecture(find_model(source), registry, given)


def inspect_model(architecture: Architecture, *, trust_remote_code: bool = False) -> Groups:
    """Return everything known of a model in groups by heading. Raises what the architecture's check raises."""
    architecture.check(trust_remote_code=trust_remote_code)
    groups: Groups = {name: dict(group) for name, group in (architecture.describe() or general(architecture)).items()}
    count = groups.get("size", {}).get("parameters")
    if isinstance(count, int):
        groups["memory"] = {name: count * bits // 8 for name, bits in BITS.items()}
    return {name: group for name, group in groups.items() if group}


def general(architecture: Architecture) -> Groups:
    """Return what the contract alone tells of an architecture that does not describe itself."""
    role: Role = "student" if architecture.serves("student") is None else "teacher"
    plan: Mapping[str, Any] = architecture.plan()
    roles: tuple[Role, ...] = ("teacher", "student")
    form = architecture.denoiser_form
    return {
        "model": {"architecture": architecture.name},
        "denoising": {"form": form, "attention": ", ".join(sorted(architecture.attention_needs()))},
        "tokenizer": _tokenizer(architecture, role),
        "size": {name: plan[name] for name in plan if name != "trainable_parameters"},
        "use": {each: [form] if architecture.serves(each) is None else [] for each in roles},
    }


def _tokenizer(architecture: Architecture, role: Role) -> dict[str, Any]:
    try:
        tokenizer = architecture.tokenizer(role)
    except TideError as error:
        return {"problem": str(error)}
    ids = {"mask_token_id": tokenizer.mask_token_id, "end_of_turn_id": tokenizer.end_of_turn_token_id}
    return {**tokenizer.describe(), "tokenizer_ids": tokenizer.vocabulary_size, **ids}
