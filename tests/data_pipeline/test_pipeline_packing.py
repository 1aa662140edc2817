from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_standins import CommonEnds, Listed, WideBytes, prepare

from tide_core.data import PreparedData, packing
from tide_core.data.packing import pack

ROOM = (24, 16)
lengths = st.lists(st.tuples(st.integers(1, ROOM[0]), st.integers(1, ROOM[1])), min_size=1, max_size=40)


@given(lengths)
def test_every_example_is_in_one_row_and_rows_have_room(sizes: list[tuple[int, int]]) -> None:
    array = np.array(sizes)
    rows = pack(array, ROOM)
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(sizes)))
    for members in rows:
        assert (array[members].sum(axis=0) <= ROOM).all()
        assert members.tolist() == sorted(members.tolist())
    assert [members[0] for members in rows] == sorted(members[0] for members in rows)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_first_fit_decreasing_keeps_its_promise(sizes: list[int]) -> None:
    rows = pack(np.array(sizes)[:, None], (20,))
    loads = [sum(sizes[member] for member in members) for members in rows]
    assert sum(load <= 10 for load in loads) <= 1, "two half-empty rows would have been one"
    assert len(rows) <= 11 / 9 * -(-sum(sizes) // 20) * 2


@given(lengths)
def test_the_longest_goes_first_into_the_first_row_with_room(sizes: list[tuple[int, int]]) -> None:
    room: list[list[int]] = []
    groups: list[list[int]] = []
    for example in sorted(range(len(sizes)), key=lambda n: (-sizes[n][0], -sizes[n][1], n)):
        student, teacher = sizes[example]
        fitting = [row for row, (s, t) in enumerate(room) if student <= s and teacher <= t]
        row = fitting[0] if fitting else len(room)
        if not fitting:
            room.append(list(ROOM))
            groups.append([])
        room[row][0] -= student
        room[row][1] -= teacher
        groups[row].append(example)
    assert sorted(sorted(group) for group in groups) == [row.tolist() for row in pack(np.array(sizes), ROOM)]


def test_large_datasets_are_packed_by_neighbourhood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "NEIGHBOURHOOD", 10)
    rows = pack(np.full((35, 1), 3), (7,))
    assert all(len({member // 10 for member in members.tolist()}) == 1 for members in rows)
    assert sorted(np.concatenate(rows).tolist()) == list(range(35))


def both(cache: Path, pairs: list[tuple[str, str]], block: int = 4) -> tuple[PreparedData, PreparedData]:
    """The same data packed and not."""
    results = [
        prepare(
            Listed(pairs=tuple(pairs), packing=packed, max_length=32, teacher_max_length=24),
            "train",
            student=WideBytes(1),
            teacher=WideBytes(2),
            alignment=CommonEnds(),
            length_multiple=block,
            cache_directory=str(cache),
            workers=0,
        )
        for packed in (True, False)
    ]
    return results[0], results[1]


words = st.text(alphabet="abé ", max_size=12)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_a_packed_row_is_its_documents_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    packed, single = both(tmp_path_factory.mktemp("cache"), [("", "one"), *pairs])
    left = {tuple(row.student.ids.tolist()) for row in single.rows(range(len(single)))}
    seen: list[tuple[int, ...]] = []
    for number, row in enumerate(packed.rows(range(len(packed)))):
        assert row.sample == number
        student, teacher = row.student, row.teacher
        assert teacher is not None
        assert student.documents is not None
        assert teacher.documents is not None
        assert len(student.ids) <= 32
        assert len(teacher.ids) <= 24
        assert set(student.documents.tolist()) == set(teacher.documents.tolist())
        for chunk in range(len(row.chunk_bytes)):
            here = {int(student.documents[place]) for place in np.flatnonzero(student.chunk == chunk)}
            there = {int(teacher.documents[place]) for place in np.flatnonzero(teacher.chunk == chunk)}
            assert here == there
            assert len(here) == 1, "a chunk never pairs across the border of a document"
        for document in range(int(student.documents[-1]) + 1):
            places = np.flatnonzero(student.documents == document)
            assert places[0] % 4 == 0, "documents start at multiples of the block"
            assert (np.diff(places) == 1).all()
            seen.append(tuple(student.ids[places].tolist()))
    assert set(seen) == left
    assert len(seen) == len(single)
    assert packed.lengths().sum() == single.lengths().sum() == packed.report.tokens
    assert packed.report.chunks == sum(len(row.chunk_bytes) for row in packed.rows(range(len(packed))))


def test_short_examples_share_rows(tmp_path: Path) -> None:
    packed, single = both(tmp_path, [(f"p{n}", f"r{n}") for n in range(20)])
    assert packed.packed
    assert not single.packed
    assert len(single) == 20
    assert len(packed) == 5
