"""Encoding in worker processes: results in order, few in flight, and any failure as one clear error."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice

import pyarrow as pa

from tide_specs import DataError, Example

from .encode import Recipe, encode_group
from .rows import PreparationReport

GROUP = 256
"""Examples that are encoded together."""
SMALL = 8_000_000
"""Characters of text up to which worker processes would take longer to start than they save."""

Group = tuple[int, list[Example]]
Encoded = tuple[pa.RecordBatch, PreparationReport]

logger = logging.getLogger(__name__)


def encode_all(examples: Iterator[Example], recipe: Recipe, workers: int) -> Iterator[Encoded]:
    """Yield the encoded groups of all examples, in order; a small dataset is encoded in this process."""
    head, small = _head(examples)
    groups = _groups(chain(head, examples))
    payload = _pickled(recipe) if workers and not small else None
    if payload is None:
        yield from (encode_group(group, first, recipe) for first, group in groups)
        return
    yield from _in_processes(groups, recipe, payload, workers)


def _head(examples: Iterator[Example]) -> tuple[list[Example], bool]:
    """Return the first examples, and whether they are all of a small dataset."""
    head: list[Example] = []
    characters = 0
    for example in examples:
        head.append(example)
        characters += sum(len(message.content) for message in example.messages)
        if characters > SMALL:
            return head, False
    return head, True


def _groups(examples: Iterator[Example]) -> Iterator[Group]:
    first = 0
    while group := list(islice(examples, GROUP)):
        yield first, group
        first += len(group)


def _pickled(recipe: Recipe) -> bytes | None:
    try:
        return pickle.dumps(recipe)
    except Exception as error:
        _explain(error)
        return None


def _explain(error: object) -> None:
    logger.warning("encoding in this process: the tokenizers or the alignment cannot travel to workers (%s)", error)


def _in_processes(groups: Iterator[Group], recipe: Recipe, payload: bytes, workers: int) -> Iterator[Encoded]:
    context = multiprocessing.get_context("spawn")  # fork would copy the threads of torch and tokenizers, locks and all
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(payload, workers))
    try:
        trouble = pool.submit(_trouble).result()
        if trouble is None:
            yield from _in_flight(pool, groups, workers)
        else:  # for instance a component from a single plugin file, which a fresh process cannot import
            _explain(trouble)
            yield from (encode_group(group, first, recipe) for first, group in groups)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died while it encoded the data (killed for memory?): set training.workers to fewer, or to 0 "
            "to encode in the main process"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_flight(pool: ProcessPoolExecutor, groups: Iterator[Group], workers: int) -> Iterator[Encoded]:
    waiting: deque[Future[Encoded]] = deque()
    for first, group in groups:
        waiting.append(pool.submit(_work, first, group))
        if len(waiting) > 2 * workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# What follows runs in the worker processes.

_recipe: Recipe | Exception | None = None


def _start(payload: bytes, workers: int) -> None:
    global _recipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_follow_parent, daemon=True).start()
    if workers > 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # processes already fill the cores
    try:
        _recipe = pickle.loads(payload)
    except Exception as error:
        _recipe = error


def _follow_parent() -> None:
    """Leave when the parent is gone, however it went: a killed run must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _trouble() -> str | None:
    return None if isinstance(_recipe, Recipe) else f"{type(_recipe).__name__}: {_recipe}"


def _work(first: int, group: list[Example]) -> Encoded:
    assert isinstance(_recipe, Recipe)
    return encode_group(group, first, _recipe)
