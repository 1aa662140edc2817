"""What is written down about a run: which components, from which distributions, on which data, with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from typing import Any

from tide_core import __version__
from tide_core.data import PreparedData
from tide_core.registry import Registry
from tide_core.run_schema import RunConfig
from tide_specs import Component, Denoiser

PACKAGES = ("torch", "transformers", "accelerate", "pydantic", "pluggy", "numpy")


def component_records(config: RunConfig, registry: Registry) -> list[dict[str, Any]]:
    """One record per component of a run: kind, name, version, plugin, distribution and its version."""
    return [component_record(component, registry) for _, component in config.components()]


def component_record(component: Component, registry: Registry) -> dict[str, Any]:
    """Where a component comes from, and its versions."""
    origin = registry.origin(component)
    return {
        "kind": component.kind,
        "name": component.name,
        "version": component.version,
        "plugin": origin.plugin,
        "distribution": origin.distribution,
        "distribution_version": origin.version,
    }


def run_facts(
    data: PreparedData, held_out: PreparedData | None, student: Denoiser, teachers: Sequence[Denoiser]
) -> dict[str, Any]:
    """Hashes and reports of the data, facts of the models that run, versions of the packages that did the work."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "data": data.fingerprint,
        "data_report": data.report.as_dict(),
        "evaluation_data": held_out.fingerprint if held_out else None,
        "student": student.facts(),
        "teacher": teachers[0].facts() if len(teachers) == 1 else None,
        **({"teachers": [teacher.facts() for teacher in teachers]} if len(teachers) > 1 else {}),
        "versions": {"tide": __version__, "python": platform.python_version(), **versions},
        "host_threads": os.cpu_count(),
    }
