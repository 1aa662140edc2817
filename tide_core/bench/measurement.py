"""Measuring one model, in a process that does nothing else."""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from tide_core.assembly import describer
from tide_core.blame import blame
from tide_core.devices import device_named
from tide_core.registry import Registry
from tide_specs import (
    Architecture,
    AttentionBackend,
    ConfigError,
    Denoiser,
    Message,
    Role,
    Runtime,
    Sampled,
    Sampler,
    TextTokenizer,
    UnavailableError,
)

from .counting import counted
from .memory import Meter, meter_for
from .protocol import Cell, Contender, Job, Model, Protocol, Row

FIXED_LENGTH = "min_new_tokens"
"""The option by which a sampler is kept from ending a row early."""


def measure(job: Job) -> Iterator[Model | Row]:
    """Load a job's model; yield what it is, then what each cell cost. Raises the errors of ``tide_specs.errors``."""
    registry = Registry.discover(job.plugins)
    protocol, contender = job.protocol, job.contender
    architecture: Architecture = registry.build("architecture", contender.architecture)
    attention: AttentionBackend = registry.build("attention", protocol.attention)
    device = device_named(protocol.device, "--device")
    meter = meter_for(device)
    with blame(architecture, "while the model was loaded", describer(registry)):
        denoiser = load(architecture, protocol, attention, device)
    weights = meter.weights(denoiser.module)
    yield Model(
        label=contender.label, weights_bytes=weights, facts=denoiser.facts(), machine=machine(device, protocol.dtype)
    )
    for cell in protocol.cells(usable_caches(contender, denoiser, protocol.caches)):
        sampler = sampler_for(registry, contender.sampler, cell)
        with blame(sampler, "while it wrote", describer(registry)):
            yield measure_cell(contender, denoiser, sampler, protocol, cell, meter, weights)


def load(architecture: Architecture, protocol: Protocol, attention: AttentionBackend, device: torch.device) -> Denoiser:
    """Load a model to write with, in the protocol's precision."""
    # A student would keep float32 master weights.
    role: Role = "teacher" if architecture.serves("teacher") is None else "student"
    dtype: torch.dtype = getattr(torch, protocol.dtype)
    runtime = Runtime(
        device=device,
        dtype=dtype,
        attention=attention,
        trust_remote_code=protocol.trust_remote_code,
        seed=protocol.seed,
    )
    denoiser = architecture.load(role, runtime)
    denoiser.module.requires_grad_(False).eval()
    if role == "student":
        denoiser.module.to(dtype)
    gc.collect()
    return denoiser


def usable_caches(contender: Contender, denoiser: Denoiser, wanted: Sequence[bool]) -> list[bool | None]:
    """Return which settings of the cache make a difference: a model that caches nothing is measured once, uncached."""
    if "cache" not in contender.sampler:
        return [None]
    try:
        denoiser.session(1)
    except (NotImplementedError, UnavailableError):
        return [False]
    return list(wanted)


def sampler_for(registry: Registry, options: Mapping[str, Any], cell: Cell) -> Sampler:
    """Build the sampler of a cell: with or without cache, and at a fixed length where it can keep one."""
    cache = {} if cell.cache is None else {"cache": cell.cache}
    plain: Sampler = registry.build("sampler", {**options, **cache})
    if FIXED_LENGTH not in options:
        return plain
    try:
        fixed: Sampler = registry.build("sampler", {**options, **cache, FIXED_LENGTH: cell.new_tokens})
    except ConfigError:  # another option already says how a row ends
        return plain
    return fixed


def measure_cell(
    contender: Contender,
    denoiser: Denoiser,
    sampler: Sampler,
    protocol: Protocol,
    cell: Cell,
    meter: Meter,
    weights: int,
) -> Row:
    """Run a cell: once to count (which warms up as well), then the other warm-ups, then what is timed."""
    prompts = encode(denoiser.tokenizer, protocol, cell.batch_size)

    def run() -> Sampled:
        with torch.no_grad():
            return sampler.sample(denoiser, prompts, max_new_tokens=cell.new_tokens, seed=protocol.seed)

    sampled, counts = counted(denoiser.module, run)
    for _ in range(protocol.warmups - 1):
        run()
    seconds, peak = timed(run, protocol.repetitions, meter)
    low, median, high = quartiles(seconds)
    return Row(
        checkpoint=contender.label,
        form=contender.form,
        sampler=sampler.name,
        batch_size=cell.batch_size,
        new_tokens=cell.new_tokens,
        cache=cell.cache,
        prompt_tokens=sum(map(len, prompts)),
        tokens=sum(map(len, sampled.ids)),
        seconds=median,
        seconds_low=low,
        seconds_high=high,
        forwards=sampled.forwards if counts.forwards is None else counts.forwards,
        positions=(sampled.positions or None) if counts.positions is None else counts.positions,
        flops=counts.flops,
        weights_bytes=weights,
        working_bytes=peak,
    )


def encode(tokenizer: TextTokenizer, protocol: Protocol, batch_size: int) -> list[Sequence[int]]:
    """Return the ids of a batch's prompts."""
    role = "user" if protocol.chat else "text"
    return [tokenizer.encode_prompt([Message(role=role, content=text)]) for text in protocol.batch(batch_size)]


def timed(run: Callable[[], Any], repetitions: int, meter: Meter) -> tuple[list[float], int | None]:
    """Return the seconds of each repetition, and the most memory that any of them took on top of what was held before."""
    seconds: list[float] = []
    meter.begin()
    for _ in range(repetitions):
        meter.wait()
        started = time.perf_counter()
        run()
        meter.wait()
        seconds.append(time.perf_counter() - started)
    return seconds, meter.peak()


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return first quartile, median, third quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def machine(device: torch.device, dtype: str) -> dict[str, Any]:
    """Return what the figures depend on beside the model."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "python": platform.python_version(),
        "system": platform.system(),
    }
