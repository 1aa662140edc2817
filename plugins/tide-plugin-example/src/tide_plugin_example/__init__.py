"""Components for TIDE. Each module below offers one, through the hook that it defines."""

from .alignment import tide_alignments
from .architecture import tide_architectures
from .attention import tide_attention_backends
from .loss import tide_losses
from .observer import tide_observers
from .schedule import tide_noise_schedules

tide_contract = "1.0"
"""The version of TIDE's contract that this plugin was written against."""

__all__ = [
    "tide_alignments",
    "tide_architectures",
    "tide_attention_backends",
    "tide_contract",
    "tide_losses",
    "tide_noise_schedules",
    "tide_observers",
]
