"""A model of bytes that trains in a moment, a loss that can be slowed, a process that dies when told, an observer."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tide_specs import AttentionOptions, Dataset, Example, Message, ModuleArchitecture, Observer, SelfLoss, hookimpl

HERE = Path(os.environ.get("TINY_PARTS", "."))
"""Folder of the files that say what is to happen."""


def folder_of_the_cell() -> Path | None:
    return Path(sys.argv[1]) if "cell_process" in sys.argv[0] else None


def die_when_told() -> None:
    """End the process of a cell without a word, as one does that runs out of memory: each time, or the first time."""
    cell = folder_of_the_cell()
    if cell is None:
        return
    name = cell.name.split("-")[0]
    with (HERE / f"starts.{name}").open("a") as starts:
        starts.write("x")
    first = (HERE / f"starts.{name}").stat().st_size == 1
    if (HERE / f"dies.{name}").exists() or ((HERE / f"dies_once.{name}").exists() and first):
        print(f"{name} is about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


die_when_told()


class TinyModel(ModuleArchitecture):
    """An embedding and an attention layer."""

    name: Literal["tiny_model"] = "tiny_model"

    def build(self, vocabulary, runtime):
        from torch import nn

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.tokens, self.qkv, self.head = (
                    nn.Embedding(vocabulary, 8),
                    nn.Linear(8, 24),
                    nn.Linear(8, vocabulary),
                )

            def forward(self, ids, positions, layout):
                x = self.tokens(ids)
                q, k, v = self.qkv(x).unflatten(2, (3, 1, 8)).permute(2, 0, 3, 1, 4)
                seen = runtime.attention.attend(q, k, v, layout, AttentionOptions(scale=0.35))
                return x + seen.transpose(1, 2).flatten(2)

        return Network()


class TinyText(Dataset):
    """A line in many copies; fails where it is told to."""

    name: Literal["tiny_text"] = "tiny_text"
    text: str = Field("abc", description="the line")

    def examples(self, split):
        if self.text == "none":
            raise ValueError("no text")
        for number in range(8 if split == "train" else 4):
            yield Example(
                key=f"{split}/{number}",
                messages=(Message(role="assistant", content=f"{self.text}{number}", trainable=True),),
            )

    def fingerprint(self):
        return self.text


class SlowLoss(SelfLoss):
    """Cross-entropy, slow while a file is there."""

    name: Literal["slow_loss"] = "slow_loss"

    def per_token(self, student, at):
        if (HERE / "slow").exists():
            time.sleep(0.1)
        return -student.log_softmax(-1).gather(-1, at.targets[:, None])[:, 0]


class Keeper(Observer):
    """Writes what it is told into one file."""

    name: Literal["keeper"] = "keeper"
    nests: ClassVar[bool] = True
    parent: str = Field("", description="run id of the whole")

    def open(self, directory):
        return Listener(self.parent)

    def within(self, whole, directory):
        return self.model_copy(update={"parent": whole})


class Listener:
    def __init__(self, parent):
        self.parent = parent

    @hookimpl
    def tide_run_started(self, event):
        with (HERE / "kept").open("a") as kept:
            kept.write(f"started {event.run_id} under {self.parent or 'nothing'}, of {event.total_steps}\n")

    @hookimpl
    def tide_run_finished(self, event):
        with (HERE / "kept").open("a") as kept:
            kept.write(f"{event.status} {sorted(event.artifacts)} {event.error}\n")


@hookimpl
def tide_architectures():
    return [TinyModel]


@hookimpl
def tide_datasets():
    return [TinyText]


@hookimpl
def tide_losses():
    return [SlowLoss]


@hookimpl
def tide_observers():
    return [Keeper]
