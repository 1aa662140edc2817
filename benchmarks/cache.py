"""How fast a teacher cache is read, against a plain slice of a mapped file and against the machine's own copy.

Run it with ``python benchmarks/cache.py [--rounds N]``. The files are in the page cache: this is the cost of finding and
checking records, not the disk's.

Every way brings the same records of the same random batches into fresh arrays, as a training step does. Within each round
the ways take turns. ``slice`` is told where each record lies, ``copy`` copies as many bytes from memory to memory in pieces
of the same size, ``checksum`` only runs the checksum over them. Ratios are of times within one round: how many times as
long reading takes. Medians over the rounds with their range. What is read is compared with what was written.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tide_core.teacher_cache import CacheIdentity, CacheWriter, Record, TeacherCache, create, seal
from tide_core.teacher_cache.records import size_of

ROWS = 16


@dataclass(frozen=True)
class Case:
    """tokens: answered tokens of a record; k: 0 for likelihoods."""

    name: str
    tokens: int
    k: int
    records: int

    @property
    def bytes(self) -> int:
        """Bytes of a record."""
        return size_of(self.tokens, self.k)

    def record(self, sample: int) -> Record:
        """An invented answer, which follows from the sample."""
        values = np.arange(self.tokens, dtype=np.float32) + np.float32(sample % 97)
        if not self.k:
            return Record(sample, bytes(8), values)
        wide = np.repeat(values[:, None], self.k, 1)
        return Record(sample, bytes(8), values, wide.astype(np.int32), wide, values)


CASES = [
    Case("likelihoods, 64 tokens", 64, 0, 100_000),
    Case("likelihoods, 256 tokens", 256, 0, 100_000),
    Case("likelihoods, 1024 tokens", 1024, 0, 50_000),
    Case("top 16, 256 tokens", 256, 16, 6_000),
    Case("top 64, 256 tokens", 256, 64, 1_500),
]


def build(path: Path, case: Case) -> TeacherCache:
    """A finished cache of ``case``; sample ids have gaps."""
    options = dict.fromkeys(("tokenizer", "student_tokenizer", "alignment", "teacher", "view", "corruption"), "none")
    identity = CacheIdentity(
        **options,
        schedule="none",
        data="none",
        seed=0,
        samples=case.records,
        draws=1,
        values="top_k" if case.k else "likelihoods",
        k=case.k,
    )
    samples = np.arange(case.records) * 3
    create(path, identity, config={}, save_tokenizer=lambda _: None)
    with CacheWriter(path) as writer:
        for sample in samples.tolist():
            writer.add(0, case.record(sample))
    seal(path, samples)
    return TeacherCache(path)


def read(cache: TeacherCache, batches: Sequence[NDArray[np.int64]]) -> None:
    """Read batches of places, each field of a batch into one new array."""
    for batch in batches:
        records = cache.read(0, batch * 3)
        np.concatenate([record.likelihood for record in records])
        if cache.identity.k:
            np.concatenate([record.rest for record in records])  # type: ignore[arg-type]
            np.concatenate([record.log_p for record in records])  # type: ignore[arg-type]
            np.concatenate([record.ids for record in records])  # type: ignore[arg-type]


def sliced(file: NDArray[np.uint8], size: int, batches: Sequence[NDArray[np.int64]]) -> None:
    """Slice the mapped file at known places."""
    for batch in batches:
        np.concatenate([file[place * size : (place + 1) * size] for place in batch.tolist()])


def copied(source: NDArray[np.uint8], target: NDArray[np.uint8], size: int, times: int) -> None:
    """Copy pieces of ``size`` bytes, one after the other, from memory to memory."""
    pieces = len(source) // size
    for n in range(times):
        at = n % pieces * size
        np.copyto(target[at : at + size], source[at : at + size])


def summed(file: memoryview, size: int, batches: Sequence[NDArray[np.int64]]) -> None:
    """Run the checksum over each record."""
    for batch in batches:
        for place in batch.tolist():
            zlib.crc32(file[place * size : (place + 1) * size])


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def check(cache: TeacherCache, case: Case) -> None:
    """Some records are what was written, at the places that ``sliced`` is told."""
    mapped = np.memmap(cache.path / "shard-0-0.bin", np.uint8, "r")
    for place in (0, case.records // 2, case.records - 1):
        (found,) = cache.read(0, [place * 3])
        start = place * case.bytes + size_of(0, case.k)
        raw = mapped[start : start + 4 * case.tokens].view(np.float32)
        wanted = case.record(place * 3)
        if not (np.array_equal(found.likelihood, wanted.likelihood) and np.array_equal(raw, wanted.likelihood)):
            raise SystemExit(f"{case.name}: record {place} is not what was written")


def report(case: Case, rounds: int) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        cache = build(Path(folder) / "cache", case)
        check(cache, case)
        seconds = measure(cache, case, rounds)
    count = sum(len(batch) for batch in batches_of(case))
    rates = [count / second for second in seconds["read"]]
    columns = [
        f"{spread([rate / 1e3 for rate in rates]):<22}",
        f"{statistics.median(rates) * case.bytes / 1e6:8,.0f}  ",
    ]
    for way in ("slice", "copy", "checksum"):
        columns.append(f"{spread([r / other for r, other in zip(seconds['read'], seconds[way], strict=True)]):<20}")
    return f"{case.name:<26}{case.bytes:>9,}  " + "".join(columns)


def batches_of(case: Case) -> list[NDArray[np.int64]]:
    """Random batches of places, the same on every call: about 100 MB of records, 20,000 at most."""
    rng = np.random.default_rng(0)
    steps = max(1, min(20_000, 100_000_000 // case.bytes) // ROWS)
    return list(rng.integers(0, case.records, (steps, ROWS)))


def measure(cache: TeacherCache, case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; one round before them is not counted."""
    file = cache.path / "shard-0-0.bin"
    mapped = np.asarray(np.memmap(file, np.uint8, "r"))
    batches = batches_of(case)
    source = np.ones(max(64_000_000 // case.bytes, 1) * case.bytes, np.uint8)
    target = np.ones_like(source)
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: read(cache, batches),
        "slice": lambda: sliced(mapped, case.bytes, batches),
        "copy": lambda: copied(source, target, case.bytes, len(batches) * ROWS),
        "checksum": lambda: summed(memoryview(mapped), case.bytes, batches),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            taken = timed(work)
            if turn:
                seconds[name].append(taken)
    return seconds


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds of each case (default 9)")
    options = parser.parse_args()
    print(f"batches of {ROWS} random records; median [range] over {options.rounds} rounds\n")
    print(
        f"{'':<26}{'B/record':>9}  {'thousand records/s':<22}{'MB/s':>8}  "
        f"{'time / slice':<20}{'time / copy':<20}{'time / checksum':<20}"
    )
    for case in CASES:
        print(report(case, options.rounds), flush=True)


if __name__ == "__main__":
    main()
