"""Checks of datasets. Needs no torch."""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from typing import Any

from tide_specs.dataset import Dataset, Split
from tide_specs.testing.outcome import expect
from tide_specs.text import Example, Message

SPLITS: tuple[Split, Split] = ("train", "evaluation")
LIMIT = 500
"""Examples of each split that are looked at."""


def taken(dataset: Dataset, split: Split, limit: int = LIMIT) -> list[Example]:
    """Return the first examples of a split."""
    return list(itertools.islice(dataset.examples(split), limit))


def exercise(dataset: Dataset) -> None:
    """Read both splits and the fingerprint."""
    for split in SPLITS:
        taken(dataset, split, 20)
    dataset.fingerprint()


def check_examples(dataset: Dataset) -> None:
    """Each split yields examples with a key, messages, and something to learn."""
    for split in SPLITS:
        stream: Any = dataset.examples(split)
        expect(hasattr(stream, "__next__"), f"examples('{split}') returns no iterator; yield the examples one by one.")
        examples = taken(dataset, split)
        expect(examples, f"split '{split}' holds no example; raise DataError naming the file when nothing is usable.")
        for example in examples:
            _check_example(split, example)


def _check_example(split: Split, example: Any) -> None:
    expect(
        isinstance(example, Example), f"split '{split}' yields a {type(example).__name__}; yield tide_specs.Example."
    )
    expect(
        isinstance(example.key, str) and example.key,
        f"an example of split '{split}' has key {example.key!r}; give a string.",
    )
    messages: Any = list(example.messages)
    expect(
        messages and all(isinstance(message, Message) and isinstance(message.content, str) for message in messages),
        f"example {example.key!r} does not consist of messages with text; give at least one tide_specs.Message.",
    )
    expect(
        any(message.trainable for message in messages),
        f"example {example.key!r} has no trainable message, so nothing is learned from it; set trainable=True on responses.",
    )
    roles = {message.role for message in messages}
    expect(
        "text" not in roles or roles == {"text"},
        f"example {example.key!r} mixes role 'text' with {sorted(roles - {'text'})}; use chat roles or 'text', not both.",
    )


def check_order_is_fixed(dataset: Dataset) -> None:
    """Reading a split twice, or two splits at once, gives the same examples in the same order."""
    for split in SPLITS:
        first = taken(dataset, split)
        expect(
            taken(dataset, split) == first,
            f"reading split '{split}' a second time gives other examples or another order, so no run could be resumed; shuffling is "
            "the core's business.",
        )
    mixed = list(itertools.islice(zip(dataset.examples("train"), dataset.examples("train"), strict=False), 20))
    expect(
        all(a == b for a, b in mixed),
        "two readers of one split disturb each other; let every call of examples() open its own file or generator.",
    )


def check_keys_are_unique(dataset: Dataset) -> None:
    """A key names one example of its split."""
    for split in SPLITS:
        seen: set[str] = set()
        for example in taken(dataset, split):
            expect(
                example.key not in seen,
                f"key {example.key!r} occurs twice in split '{split}', and noise is seeded by it; number the examples.",
            )
            seen.add(example.key)


def check_splits_are_disjoint(dataset: Dataset) -> None:
    """The splits share no example, neither by key nor by content."""
    train, held_out = (taken(dataset, split, 4 * LIMIT) for split in SPLITS)
    for what, of in (("key", _key), ("content", _content)):
        common = {of(example) for example in train} & {of(example) for example in held_out}
        expect(
            not common,
            f"{len(common)} examples of the evaluation split are in the training split too (same {what}, e.g. "
            f"{min(common, default='')[:60]!r}); scores would be flattered. Split by a hash of the content.",
        )


def _key(example: Example) -> str:
    return example.key


def _content(example: Example) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in example.messages)


def check_fingerprint(dataset: Dataset) -> None:
    """The fingerprint is a string that is the same in every process."""
    mine: Any = dataset.fingerprint()
    expect(isinstance(mine, str) and mine, f"fingerprint() returns {mine!r}; return a hash as a string.")
    expect(dataset.fingerprint() == mine, "fingerprint() changes from call to call, so the cache would never be found.")
    theirs = {_elsewhere(dataset, seed) for seed in ("1", "2")}
    expect(
        theirs == {mine},
        "fingerprint() differs in another process (hash() of a string does, and so do addresses and times); use hashlib over "
        "the contents.",
    )


def _elsewhere(dataset: Dataset, seed: str) -> str:
    program = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); print(pickle.load(sys.stdin.buffer).fingerprint())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(sys.path) + pickle.dumps(dataset),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    told = done.stdout.decode().strip().splitlines()
    expect(done.returncode == 0, f"fingerprint() fails in another process: {done.stderr.decode().strip()[-200:]}")
    return told[-1] if told else ""


def check_options(dataset: Dataset) -> None:
    """The lengths that every dataset has are still options."""
    names = type(dataset).model_fields
    missing = {"max_length", "teacher_max_length", "packing"} - names.keys()
    expect(not missing, f"the class lost the options {sorted(missing)} of every dataset; keep what Dataset declares.")
