"""Memory of this process: what the weights hold, and what a generation takes on top of what was held before it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from abc import ABC, abstractmethod
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Meter(ABC):
    """Begin, run something, ask for the peak."""

    @abstractmethod
    def weights(self, module: torch.nn.Module) -> int:
        """Return the bytes that a model which has just loaded holds."""

    @abstractmethod
    def begin(self) -> None:
        """Give freed memory back and count from what is left."""

    @abstractmethod
    def peak(self) -> int | None:
        """Return the most bytes held at once since ``begin``, above what was held then; ``None`` where nobody counts."""

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        return


class CudaMeter(Meter):
    """torch's own statistics of a CUDA device: tensors, not what its allocator or libraries reserve beside them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resting = 0

    def weights(self, module: torch.nn.Module) -> int:
        """Return everything allocated: the process has loaded this model and done nothing else."""
        gc.collect()
        return torch.cuda.memory_allocated(self._device)

    def begin(self) -> None:
        """Reset the peak."""
        gc.collect()
        self.wait()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        self._resting = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int | None:
        """Return the peak of allocated memory above what was allocated at the beginning."""
        return torch.cuda.max_memory_allocated(self._device) - self._resting

    def wait(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self._device)


class ResidentMeter(Meter):
    """Resident memory of the process by the kernel's count; Linux only, elsewhere the peak is not known."""

    def __init__(self) -> None:
        self._resting: int | None = None

    def weights(self, module: torch.nn.Module) -> int:
        """Return the size of all parameters and buffers, shared ones once; pages of them may not be resident yet."""
        stores = [tensor.untyped_storage() for tensor in (*module.parameters(), *module.buffers())]
        return sum({store.data_ptr(): store.nbytes() for store in stores}.values())

    def begin(self) -> None:
        """Reset the kernel's high-water mark."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        try:
            RESET.write_text("5")
            self._resting = _status("VmRSS")
        except OSError:
            self._resting = None

    def peak(self) -> int | None:
        """Return the high-water mark above what was resident at the beginning."""
        return None if self._resting is None else max(0, _status("VmHWM") - self._resting)


def meter_for(device: torch.device) -> Meter:
    """Return the meter of a device."""
    return CudaMeter(device) if device.type == "cuda" else ResidentMeter()


def _status(field: str) -> int:
    """Bytes: ``VmRSS`` now, ``VmHWM`` at most since the reset."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS}: no line {field}")
