"""What ``step.py`` measures: model sizes, batches and noise, the same for every variant of the step.

Shapes: B rows, L tokens of a side, C chunks of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tide_core.data import Pairing, PreparedData, collate, prepare
from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.method import Lesson, Method, terms_of
from tide_core.settings import Timesteps, Training
from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.corruptions.absorbing import Absorbing
from tide_plugins.datasets.python_stdlib import PythonStandardLibrary
from tide_plugins.interpolations.constant import Constant
from tide_plugins.losses.chunk_losses import ReverseCalm
from tide_plugins.losses.cross_entropy import CrossEntropy
from tide_plugins.schedules.linear import Linear
from tide_plugins.teacher_views.plain import Plain
from tide_specs import Batch, Denoiser, Role, Runtime, Side

BLOCK = 32
STUDENT_COLUMNS, TEACHER_COLUMNS = 151_936, 157_184
PROMPT_SHARE = 0.25
LOSSES = (CrossEntropy(), ReverseCalm(temperature=2.0, clamp=1e-7))
"""With the published clamp, so that textbook arithmetic gives the same numbers."""

# Student and teacher tokens of a chunk, and how often: most chunks of two byte-level tokenizers are one to one.
CHUNKS = {(1, 1): 0.86, (2, 1): 0.05, (1, 2): 0.06, (2, 2): 0.02, (3, 2): 0.01}

SMALL = {"num_hidden_layers": 6, "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4}
QWEN3_06B = {
    "num_hidden_layers": 28,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}


@dataclass(frozen=True)
class Shape:
    """Sizes of both models and of the batch.

    ``packed``: rows of real text instead of random ids. ``needs``: GiB of free memory for both processes.
    """

    title: str
    rows: int
    student: dict[str, Any]
    teacher: dict[str, Any] = field(default_factory=lambda: SMALL)
    length: int = 512
    packed: bool = False
    needs: int = 8


SHAPES = {
    "head": Shape("hidden 256, 6 layers, b = 2, L = 512", 2, {**SMALL, "num_key_value_heads": 2, "head_dim": 64}),
    "qwen3": Shape("Qwen3-0.6B's shape, b = 1, L = 512", 1, QWEN3_06B, needs=16),
    "packed": Shape("Qwen3-0.6B's shape, packed rows of 512 tokens", 1, QWEN3_06B, packed=True, needs=18),
    "packed-small": Shape(
        "hidden 256, 6 layers, packed rows of 512 tokens",
        1,
        {**SMALL, "num_key_value_heads": 2, "head_dim": 64},
        packed=True,
    ),
    "tiny": Shape(
        "for trying this program out",
        2,
        {**SMALL, "num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": 64},
        length=64,
    ),
}


class HalfTime(SampleDraws):
    """Every sequence at t = 1/2: the cost of a step is linear in t, so this is the mean over uniform t, without its spread."""

    def uniform(self, purpose: str, length: int) -> Tensor:
        drawn = super().uniform(purpose, length)
        return torch.full_like(drawn, 0.5) if purpose == "time" else drawn


class Work:
    """Models and batches of one shape."""

    def __init__(self, shape: Shape, cache: Path) -> None:
        self.shape = shape
        self.cache = cache

    def component(self, role: Role) -> HuggingFace:
        if role == "student":
            config = {"model_type": "qwen3", "vocab_size": STUDENT_COLUMNS, "tie_word_embeddings": True}
            return HuggingFace(
                config={**config, **self.shape.student},
                tokenizer_from="package:qwen",
                form="block_diffusion",
                block_size=BLOCK,
            )
        config = {"model_type": "llama", "vocab_size": TEACHER_COLUMNS}
        return HuggingFace(
            config={**config, **self.shape.teacher}, tokenizer_from="package:deepseek", form="bidirectional"
        )

    def load(self, role: Role) -> Denoiser:
        """Random weights that depend on the role alone."""
        seed = 1 if role == "student" else 2
        runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Sdpa(), seed=seed)
        return self.component(role).load(role, runtime)

    @cached_property
    def module(self) -> Distillation:
        method = Method(
            terms=terms_of(LOSSES),
            schedule=Linear(),
            corruption=Absorbing(),
            interpolation=Constant(),
            timesteps=Timesteps(),
            lessons=[Lesson(teacher=self.load("teacher"), view=Plain(), interpolation=Constant())],
        )
        slice_elements = Training.model_fields["slice_elements"].default
        return Distillation(self.load("student"), method, slice_elements=slice_elements)

    def batch(self, number: int, rounds: int) -> Batch:
        """Batch of round ``number``."""
        if not self.shape.packed:
            return random_batch(self.shape, number)
        return collate(
            self.data.rows([self.row_of(number, rounds)]),
            positions=[0],
            effective_size=1,
            student_pad=self.module.student.tokenizer.pad_token_id,
            teacher_pad=self.module.teachers[0].tokenizer.pad_token_id,
            length_multiple=BLOCK,
        )

    def draws(self, batch: Batch) -> SampleDraws:
        return HalfTime(seed=0, epoch=0, samples=batch.samples)

    @cached_property
    def data(self) -> PreparedData:
        """The standard library's functions, packed into rows of ``length`` tokens."""
        student, teacher = (self.component(role).tokenizer(role) for role in ("student", "teacher"))
        dataset = PythonStandardLibrary(max_length=self.shape.length, packing=True)
        return prepare(
            dataset,
            "train",
            student=student,
            pairings=[Pairing(teacher=teacher, alignment=ByteChunks())],
            length_multiple=BLOCK,
            cache_directory=str(self.cache),
            workers=0,
        )

    @cached_property
    def documents(self) -> np.ndarray:
        """[rows] functions in each packed row."""
        rows = self.data.rows(range(len(self.data)))
        return np.array([row.student.documents[-1] + 1 for row in rows])

    def row_of(self, number: int, rounds: int) -> int:
        """Rows at evenly spaced ranks of how many functions they hold, so that a few rounds represent them all."""
        ranked = np.argsort(self.documents, kind="stable")
        return int(ranked[int((number + 0.5) / rounds * len(ranked))])


def random_batch(shape: Shape, number: int) -> Batch:
    """Random ids; chunks tile the response, in the proportions of ``CHUNKS``."""
    generator = np.random.default_rng(number)
    prompt = int(shape.length * PROMPT_SHARE)
    students, teachers, offset = [], [], 0
    for _ in range(shape.rows):
        sizes = np.array(list(CHUNKS))[generator.choice(len(CHUNKS), shape.length, p=np.array(list(CHUNKS.values())))]
        count = int((prompt + sizes[:, 0].cumsum() <= shape.length).sum())
        numbers = np.arange(count) + offset
        students.append(np.concatenate([np.full(prompt, -1), np.repeat(numbers, sizes[:count, 0])]))
        teachers.append(np.concatenate([np.full(prompt, -1), np.repeat(numbers, sizes[:count, 1])]))
        offset += count
    return Batch(
        student=_side(students, prompt, shape.length, 151_000, generator),
        teacher=_side(teachers, prompt, max(map(len, teachers)), 128_000, generator),
        chunk_bytes=torch.full((offset,), 4),
        chunk_relation=torch.zeros(offset, dtype=torch.int64),
        samples=torch.arange(shape.rows) + number * shape.rows,
        positions=torch.arange(shape.rows),
        effective_size=shape.rows,
    )


def _side(chunks: list[np.ndarray], prompt: int, length: int, ids: int, generator: np.random.Generator) -> Side:
    chunk = np.full((len(chunks), length), -1)
    for row, values in zip(chunk, chunks, strict=True):
        row[: len(values)] = values
    lengths = torch.tensor([len(values) for values in chunks])
    place = torch.arange(length)
    return Side(
        ids=torch.from_numpy(generator.integers(0, ids, chunk.shape)),
        maskable=(place >= prompt) & (place < lengths[:, None]),
        lengths=lengths,
        chunk=torch.from_numpy(chunk),
    )
