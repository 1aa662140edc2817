"""A component whose module imports torch, as no plugin's may."""

from __future__ import annotations

from typing import Literal

import torch

from tide_specs import NoiseSchedule


class HeavyAtImport(NoiseSchedule):
    """alpha = 1 - t."""

    name: Literal["heavy_at_import"] = "heavy_at_import"

    def alpha(self, t):
        return torch.ones_like(t) - t

    def alpha_prime(self, t):
        return -torch.ones_like(t)
