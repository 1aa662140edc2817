from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tide_core.data import Row, RowSide, collate
from tide_core.data.packing import join
from tide_specs import Side

PAD = 99


@st.composite
def rows(draw: st.DrawFn, teacher: bool = True, documents: bool = False) -> Row:
    if documents:
        parts = draw(st.lists(rows(teacher=teacher), min_size=1, max_size=3))
        return join(parts, sample=draw(st.integers(0, 1000)))
    chunks = draw(st.integers(0, 4))

    def side() -> RowSide:
        spans = [[c] * draw(st.integers(1, 2)) for c in range(chunks)]
        chunk = [-1] + [c for span in spans for c in [*span, *([-1] * draw(st.integers(0, 1)))]]
        length = len(chunk)
        return RowSide(
            ids=np.array(draw(st.lists(st.integers(0, 98), min_size=length, max_size=length)), dtype=np.int32),
            maskable=np.array([c >= 0 for c in chunk]),
            chunk=np.array(chunk, dtype=np.int32),
        )

    return Row(
        sample=draw(st.integers(0, 1000)),
        student=side(),
        teacher=side() if teacher else None,
        chunk_bytes=np.arange(chunks, dtype=np.int32),
        chunk_relation=np.zeros(chunks, dtype=np.int8),
    )


def check_side(side: Side, parts: list[RowSide], firsts: list[int], pad: int) -> None:
    for number, (part, first) in enumerate(zip(parts, firsts, strict=True)):
        length = len(part.ids)
        assert int(side.lengths[number]) == length
        assert side.ids[number, :length].tolist() == part.ids.tolist()
        assert set(side.ids[number, length:].tolist()) <= {pad}
        assert side.maskable[number, :length].tolist() == part.maskable.tolist()
        assert not side.maskable[number, length:].any()
        assert side.chunk[number, :length].tolist() == [c + first if c >= 0 else -1 for c in part.chunk.tolist()]
        assert (side.chunk[number, length:] == -1).all()
        if part.documents is not None:
            assert side.documents is not None
            assert side.documents[number, :length].tolist() == part.documents.tolist()
            assert not set(side.documents[number, length:].tolist()) & set(part.documents.tolist())
            assert (side.documents[number].diff() >= 0).all()


@given(
    batch=st.booleans().flatmap(
        lambda packed: st.booleans().flatmap(
            lambda teacher: st.lists(rows(teacher=teacher, documents=packed), min_size=1, max_size=4)
        )
    ),
    multiple=st.integers(1, 6),
    bucket=st.sampled_from([1, 4, 64]),
)
def test_a_batch_holds_its_rows_and_padding_that_counts_for_nothing(
    batch: list[Row], multiple: int, bucket: int
) -> None:
    made = collate(
        batch,
        positions=range(5, 5 + len(batch)),
        effective_size=20,
        student_pad=PAD,
        teacher_pad=PAD + 1,
        length_multiple=multiple,
        bucket=bucket,
    )
    counts = [len(row.chunk_bytes) for row in batch]
    firsts = [sum(counts[:number]) for number in range(len(batch))]
    check_side(made.student, [row.student for row in batch], firsts, PAD)
    teachers = [row.teacher for row in batch if row.teacher is not None]
    assert (made.teacher is None) == (not teachers)
    if made.teacher is not None:
        check_side(made.teacher, teachers, firsts, PAD + 1)
    width = made.student.ids.shape[1]
    assert width % multiple == width % bucket == 0
    assert width - max(len(row.student.ids) for row in batch) < np.lcm(multiple, bucket)
    assert made.chunks == sum(counts)
    assert made.chunk_bytes.tolist() == [size for row in batch for size in row.chunk_bytes.tolist()]
    assert made.samples.tolist() == [row.sample for row in batch]
    assert made.positions.tolist() == list(range(5, 5 + len(batch)))
    assert made.effective_size == 20


def test_tensors_have_the_types_of_the_contract() -> None:
    side = RowSide(
        ids=np.array([1, 2], dtype=np.int32),
        maskable=np.array([False, True]),
        chunk=np.array([-1, 0], dtype=np.int32),
        documents=np.zeros(2, dtype=np.int32),
    )
    row = Row(
        sample=3,
        student=side,
        teacher=side,
        chunk_bytes=np.ones(1, dtype=np.int32),
        chunk_relation=np.ones(1, dtype=np.int8),
    )
    batch = collate([row], positions=[0], effective_size=1, student_pad=0)
    assert batch.student.maskable.dtype == torch.bool
    assert batch.student.documents is not None
    tensors = [batch.student.ids, batch.student.lengths, batch.student.chunk, batch.student.documents]
    for tensor in [*tensors, batch.chunk_bytes, batch.chunk_relation, batch.samples, batch.positions]:
        assert tensor.dtype == torch.int64
    assert batch.student.ids.is_contiguous()


@pytest.mark.parametrize("length", [1, 31, 32, 33])
def test_rows_of_a_block_form_are_padded_to_whole_blocks(length: int) -> None:
    side = RowSide(
        ids=np.ones(length, dtype=np.int32),
        maskable=np.ones(length, dtype=np.bool_),
        chunk=np.full(length, -1, dtype=np.int32),
    )
    none = np.zeros(0, dtype=np.int32)
    row = Row(sample=0, student=side, teacher=side, chunk_bytes=none, chunk_relation=none.astype(np.int8))
    batch = collate(
        [row], positions=[0], effective_size=1, student_pad=0, length_multiple=32, teacher_length_multiple=8
    )
    assert batch.student.ids.shape[1] == -(-length // 32) * 32
    assert batch.teacher is not None
    assert batch.teacher.ids.shape[1] == -(-length // 8) * 8
