"""Every component against TIDE's conformance kit."""

from __future__ import annotations

from tide_specs.testing import parametrize_with_checks

from tide_plugin_example.alignment import Spans
from tide_plugin_example.architecture import ParallelBytes
from tide_plugin_example.attention import Tiled
from tide_plugin_example.loss import ByteGap
from tide_plugin_example.observer import MetricsTable
from tide_plugin_example.schedule import Smooth

COMPONENTS = [
    Spans(),
    Spans(least=1),
    ParallelBytes(hidden=16, heads=2),
    ParallelBytes(hidden=16, heads=2, form="block_diffusion", block_size=4),
    ParallelBytes(hidden=16, heads=2, form="autoregressive"),
    Tiled(),
    Tiled(tile=5),
    ByteGap(),
    MetricsTable(),
    Smooth(),
]


@parametrize_with_checks(COMPONENTS)
def test_conformance(component, check):
    check(component)
