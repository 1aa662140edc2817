"""Data on its way from examples to batches: encoded once, cached, ordered, packed, collated."""

from .batching import collate
from .order import BatchPlan, MicroBatchPlan, epoch_order
from .prepared import Pairing, PreparedData, prepare, windows
from .rows import PreparationReport, Row, RowSide

__all__ = [
    "BatchPlan",
    "MicroBatchPlan",
    "Pairing",
    "PreparationReport",
    "PreparedData",
    "Row",
    "RowSide",
    "collate",
    "epoch_order",
    "prepare",
    "windows",
]
