"""Functions of the running interpreter's standard library: real code on every machine, nothing to download."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from tide_specs import DataError, Dataset, Example, Message, Split

from .functions import Function, functions
from .splits import fingerprint_of, split_of

LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "idlelib", "lib2to3", "turtledemo", "pydoc_data"}
)
"""Folders that hold no ordinary library code; ``encodings`` stays, since its repetitions are dropped one by one."""


class PythonStandardLibrary(Dataset):
    """Function bodies to complete from signature and docstring, out of the interpreter's own standard library.

    Modules, not functions, are assigned to the splits (by hash), and a body that occurs twice is used once, so the splits
    share nothing. Tests, bundled tools and files that are not valid UTF-8 Python are left out. About eleven thousand
    functions, in the order of their files.
    """

    name: Literal["python_stdlib"] = "python_stdlib"

    style: Literal["completion", "chat"] = Field(
        default="completion",
        description="completion: signature, then body, as plain text; chat: the signature as a user's request",
    )
    evaluation_fraction: float = Field(default=0.05, ge=0, lt=1, description="share of the modules that are held out")
    max_examples: PositiveInt | None = Field(default=None, description="use at most so many functions of a split")
    min_body: NonNegativeInt = Field(default=40, description="shortest body, in UTF-8 bytes")
    max_body: PositiveInt = Field(default=2000, description="longest body, in UTF-8 bytes")
    docstring_required: bool = Field(default=False, description="leave out functions that have no docstring")

    @model_validator(mode="after")
    def _ordered(self) -> PythonStandardLibrary:
        if self.min_body > self.max_body:
            raise ValueError(f"min_body ({self.min_body}) exceeds max_body ({self.max_body}): no function can fit")
        return self

    def examples(self, split: Split) -> Iterator[Example]:
        """Yield the functions of a split. Raises ``DataError`` when the library's source files are not installed."""
        count = 0
        for module, function in self._unique():
            if split_of(module, self.evaluation_fraction) != split:
                continue
            if count == self.max_examples:
                return
            count += 1
            yield self._example(module, function)

    def fingerprint(self) -> str:
        """Return a hash over the interpreter's version, the sources and the options."""
        digest = hashlib.sha256()
        for module, path in source_files().items():
            digest.update(module.encode() + b"\0" + path.read_bytes() + b"\0")
        options = self.model_dump(exclude={"max_length", "teacher_max_length", "packing"})
        return fingerprint_of(
            {"python": platform.python_version(), "sources": digest.hexdigest(), "version": self.version, **options}
        )

    def _unique(self) -> Iterator[tuple[str, Function]]:
        """Yield module and function of those that pass the options, each body once over both splits."""
        seen: set[bytes] = set()
        for module, path in source_files().items():
            for function in _functions_of(path):
                identity = hashlib.sha256(function.body.encode("utf-8", "replace")).digest()
                if self._wanted(function) and identity not in seen:
                    seen.add(identity)
                    yield module, function

    def _wanted(self, function: Function) -> bool:
        if self.docstring_required and not function.has_docstring:
            return False
        return self.min_body <= len(function.body.encode("utf-8", "replace")) <= self.max_body

    def _example(self, module: str, function: Function) -> Example:
        if self.style == "completion":
            messages = [
                Message(role="text", content=function.prompt),
                Message(role="text", content=function.body, trainable=True),
            ]
        else:
            request = f"Write the body of this Python function.\n\n{function.prompt.rstrip()}"
            messages = [
                Message(role="user", content=request),
                Message(role="assistant", content=function.body.rstrip("\n"), trainable=True),
            ]
        key = f"{module}:{function.qualified_name}:{function.line}"
        return Example(key=key, messages=messages, source=f"{module}:{function.line}")


def source_files() -> dict[str, Path]:
    """Return the standard library's source files in a fixed order, by their place in it: ``email/message.py``."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, Path] = {}
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not _is_left_out(name)]
        for name in names:
            path = Path(folder, name)
            if path.suffix == ".py" and not _is_left_out(path.stem):
                found[path.relative_to(root).as_posix()] = path
    if not found:
        raise DataError(
            f"python_stdlib: no source file under {root}; this interpreter was installed without its library"
        )
    return dict(sorted(found.items()))


def _is_left_out(name: str) -> bool:
    return name in LEFT_OUT or name.startswith("test") or name.endswith("_test")


@cache
def _functions_of(path: Path) -> tuple[Function, ...]:
    """Return a file's functions; kept, since every split goes through all files (a few MB, a few seconds)."""
    try:
        return tuple(functions(path.read_text(encoding="utf-8")))
    except (SyntaxError, ValueError):  # a file in another encoding, or a template that only looks like Python
        return ()
