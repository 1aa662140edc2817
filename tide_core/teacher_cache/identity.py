"""What a teacher's answers depend on, and how a run's wishes are held against what a cache was built from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Json = Any
"""What ``json`` can write: ``None``, booleans, numbers, strings, lists and mappings of these."""

_LABELS = {
    "tokenizer": "teacher tokenizer",
    "student_tokenizer": "student tokenizer",
    "data": "data hash",
    "samples": "number of samples",
}
_ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class CacheIdentity:
    """Everything that decides which positions a teacher answers, and what it answers.

    tokenizer, student_tokenizer: fingerprints. alignment, teacher, view, corruption, schedule: a hash, or the options in
    plain JSON, of which a difference then names the option. data: fingerprint of the prepared rows; samples: their number.
    draws: how many noisings of each sample the teacher answers. values: ``likelihoods`` are one number per token;
    ``top_k`` adds the ``k`` most likely tokens of the teacher's vocabulary and the probability of all others.
    """

    tokenizer: str
    student_tokenizer: str
    alignment: Json
    teacher: Json
    view: Json
    corruption: Json
    schedule: Json
    seed: int
    data: str
    samples: int
    draws: int
    values: Literal["likelihoods", "top_k"] = "likelihoods"
    k: int = 0

    def __post_init__(self) -> None:
        if (self.k > 0) != (self.values == "top_k"):
            raise ValueError(f"values {self.values!r} with k = {self.k}")

    @property
    def records(self) -> int:
        """How many records a finished cache has."""
        return self.draws * self.samples

    def as_dict(self) -> dict[str, Json]:
        """Return it as it is after a round trip through JSON."""
        found: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        return found


def differences(built: CacheIdentity, wanted: CacheIdentity) -> list[str]:
    """Return ``"<what> <built>, this run has <wanted>"`` for everything that keeps a cache from serving a run.

    A cache serves a run that wants fewer draws than it has, or likelihoods where it has distributions.
    """
    old, new = built.as_dict(), wanted.as_dict()
    if wanted.draws <= built.draws:
        new["draws"] = old["draws"]
    if wanted.values == "likelihoods":
        new |= {"values": old["values"], "k": old["k"]}
    if old["values"] != new["values"]:
        new["k"] = old["k"]  # one line is enough
    return [line for name in old for line in _differences(_LABELS.get(name, name), old[name], new[name])]


def _differences(name: str, old: Json, new: Json) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        other = old.get("name") != new.get("name")  # of another component, other options say nothing
        for key in ["name"] if other else sorted(old.keys() | new.keys()):
            yield from _differences(f"{name}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif old is _ABSENT or new is _ABSENT or old != new:
        yield f"{name} {_shown(old)}, this run has {_shown(new)}"


def _shown(value: Json) -> str:
    if value is _ABSENT or value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
