"""One text of more than 32,768 tokens: aligned, packed with others, masked, and cut into the work of a step."""

from __future__ import annotations

import argparse
import inspect
import typing
from types import SimpleNamespace

import numpy as np
import torch
from tokenizer_kit import encode, plain

from tide_core.data import Row, RowSide, collate
from tide_core.data.packing import join
from tide_core.draws import SampleDraws
from tide_core.joint_units import joint_units
from tide_core.micro_batch import Teaching
from tide_core.micro_batch_building import build_micro_batch
from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_plugins.corruptions import Absorbing
from tide_plugins.schedules import Linear
from tide_plugins.teacher_views import Complementary
from tide_specs import AlignedPair, EncodedExample

LONG = 32_768


def row_of(student: EncodedExample, teacher: EncodedExample, pair: AlignedPair, sample: int) -> Row:
    sides = [
        RowSide(ids=side.ids, maskable=chunk >= 0, chunk=chunk)
        for side, chunk in ((student, pair.student), (teacher, pair.teacher))
    ]
    return Row(sample=sample, student=sides[0], teacher=sides[1], chunk_bytes=pair.bytes, chunk_relation=pair.relation)


def test_a_long_text_is_aligned_to_its_last_byte_and_trained_on_when_packed() -> None:
    ours, theirs = "qwen", "deepseek"
    text = "".join(inspect.getsource(module) for module in (argparse, typing)) + "数字 × naïve 🙂\n" * 200
    student = encode(ours, plain(text))
    assert len(student.ids) > LONG
    teacher = encode(theirs, plain(text))
    pair = ByteChunks().align(student, teacher)
    assert int(pair.bytes.sum()) == len(text.encode())

    short = "a short one"
    brief = encode(ours, plain(short)), encode(theirs, plain(short))
    rows = [row_of(student, teacher, pair, 0), row_of(*brief, ByteChunks().align(*brief), 1)]
    batch = collate([join(rows, sample=0)], positions=[0], effective_size=1, student_pad=0, teacher_pad=0)
    assert batch.student.documents is not None
    draws = SampleDraws(seed=0, epoch=0, samples=batch.samples)
    masks = SimpleNamespace(mask_token_id=1)  # all that a corruption asks of a tokenizer
    t = torch.full(batch.student.ids.shape, 0.5)
    noise = Absorbing().corrupt(batch, t, Linear(), draws, masks, masks)  # type: ignore[arg-type]
    assert batch.teacher is not None and noise.teacher is not None
    passes = Complementary().passes(batch.teacher, noise.teacher.masked, draws)
    teaching = Teaching(batch=batch, noise=noise, passes=passes, columns=None, unit=joint_units([batch]))
    (taught,) = build_micro_batch(batch, noise, [teaching]).taught

    active = taught.chunks
    assert int(active.student_tokens.sum()) == int((taught.chunk >= 0).sum())
    assert int(active.teacher_tokens.sum()) == len(taught.rows.chunk) > LONG / 4
    sequences = np.unique(active.sequence.numpy())
    assert sequences.tolist() in ([0], [0, 1])
    shares = active.bytes.sum() / batch.chunk_bytes.sum()
    assert 0.45 < float(shares) < 0.55
