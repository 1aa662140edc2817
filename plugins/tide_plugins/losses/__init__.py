"""Losses: what the student learns from the data and from its teacher."""

from __future__ import annotations

from collections.abc import Sequence

from tide_specs import Loss, hookimpl

from .certainty import Certainty
from .chunk_losses import BernoulliKL, Calm, CalmTidal, ReverseCalm
from .cross_entropy import CrossEntropy
from .divergences import ForwardKL, JensenShannon, ReverseKL, SkewKL
from .dual_space import DualSpace
from .hidden_state import HiddenState
from .multi_resolution import MultiResolutionCalm
from .projected import ProjectedKL, UniversalLogit
from .tidal import Tidal
from .tidal_cross_entropy import TidalCrossEntropy
from .top_k import TopKKL


@hookimpl
def tide_losses() -> Sequence[type[Loss]]:
    """Contribute the bundled losses."""
    return [
        CrossEntropy,
        TidalCrossEntropy,
        Certainty,
        ForwardKL,
        ReverseKL,
        JensenShannon,
        SkewKL,
        TopKKL,
        Tidal,
        Calm,
        ReverseCalm,
        BernoulliKL,
        CalmTidal,
        ProjectedKL,
        UniversalLogit,
        MultiResolutionCalm,
        HiddenState,
        DualSpace,
    ]
