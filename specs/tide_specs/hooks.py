"""Every hook of TIDE, and which kind of component each contributes.

Register a distribution's plugin module under the entry point group ``tide``; a single file works with
``tide run --plugin FILE.py``. ``component_hooks`` and ``lifecycle_hooks`` hold a complete example for each hook.
"""

from __future__ import annotations

from .component_hooks import ComponentHooks
from .lifecycle_hooks import LifecycleHooks
from .markers import CONTRACT_VERSION, PROJECT, hookimpl, hookspec

COMPONENT_HOOKS = {
    "architecture": "tide_architectures",
    "attention": "tide_attention_backends",
    "alignment": "tide_alignments",
    "schedule": "tide_noise_schedules",
    "corruption": "tide_corruptions",
    "loss": "tide_losses",
    "interpolation": "tide_interpolations",
    "weighting": "tide_teacher_weightings",
    "teacher_view": "tide_teacher_views",
    "sampler": "tide_samplers",
    "dataset": "tide_datasets",
    "evaluator": "tide_evaluators",
    "observer": "tide_observers",
    "launcher": "tide_launchers",
    "recipe": "tide_recipes",
}
"""Kind of component -> the hook that contributes it."""

__all__ = [
    "COMPONENT_HOOKS",
    "CONTRACT_VERSION",
    "PROJECT",
    "ComponentHooks",
    "LifecycleHooks",
    "hookimpl",
    "hookspec",
]
