from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_standins import BOS, END, MASK, CommonEnds, Listed, WideBytes, prepare

from tide_core.data import PreparedData, Row, RowSide
from tide_specs import ConfigError, DataError, Example, PluginError, TextTokenizer


def prepared(cache: Path | str, *pairs: tuple[str, str], **options: Any) -> PreparedData:
    fields = {name: options.pop(name) for name in ("max_length", "teacher_max_length", "packing") if name in options}
    arguments: dict[str, Any] = {
        "student": WideBytes(1),
        "teacher": WideBytes(2),
        "alignment": CommonEnds(),
        "workers": 0,
    } | options
    return prepare(Listed(pairs=pairs, **fields), "train", cache_directory=str(cache), **arguments)


def test_an_example_becomes_a_row(tmp_path: Path) -> None:
    (row,) = prepared(tmp_path, ("ab", "cdef")).rows([0])
    assert row.student.ids.tolist() == [BOS, *b"abcdef", END]
    assert row.student.maskable.tolist() == [False] * 3 + [True] * 5
    assert row.student.chunk.tolist() == [-1, -1, -1, 0, 0, 1, 1, 2]
    assert row.teacher is not None
    assert row.teacher.ids.tolist() == [BOS, *b"ace", END]
    assert row.teacher.chunk.tolist() == [-1, -1, 0, 1, 2]
    assert row.chunk_bytes.tolist() == [2, 2, 0]


def test_without_a_teacher_there_is_one_side_and_no_chunk(tmp_path: Path) -> None:
    (row,) = prepared(tmp_path, ("ab", "cdef"), teacher=None, alignment=None).rows([0])
    assert row.teacher is None
    assert set(row.student.chunk.tolist()) == {-1}
    assert len(row.chunk_bytes) == 0


def test_the_last_block_is_filled_with_trainable_ends_of_turn(tmp_path: Path) -> None:
    data = prepared(tmp_path, ("ab", "cdef"), ("", "cdefghi"), length_multiple=5, max_length=20)
    first, second = (row.student for row in data.rows([0, 1]))
    assert first.ids.tolist() == [BOS, *b"abcdef", END, END, END]
    assert first.maskable[-2:].all()
    assert first.chunk[-3:].tolist() == [2, -1, -1], "fill is aligned with nothing"
    assert len(second.ids) == 10
    assert data.report.fill == 2 + 1


def test_a_teacher_of_a_block_form_is_filled_too(tmp_path: Path) -> None:
    (row,) = prepared(tmp_path, ("ab", "cdef"), teacher_length_multiple=8).rows([0])
    assert row.teacher is not None
    assert row.teacher.ids.tolist() == [BOS, *b"ace", END, END, END, END]


def test_a_long_example_is_cut_and_chunks_that_lose_a_token_count_no_more(tmp_path: Path) -> None:
    data = prepared(tmp_path, ("", "abcdefgh"), max_length=6, teacher_max_length=5)
    (row,) = data.rows([0])
    assert row.student.ids.tolist() == [BOS, *b"abcde"]
    assert row.student.chunk.tolist() == [-1, 0, 0, 1, 1, -1], "the chunk 'ef' lost its f"
    assert row.teacher is not None
    assert row.teacher.chunk.tolist() == [-1, 0, 1, -1, -1]
    assert row.chunk_bytes.tolist() == [2, 2]
    assert (data.report.truncated, data.report.teacher_truncated) == (1, 1)


def test_an_example_that_just_fits_is_not_counted_as_cut(tmp_path: Path) -> None:
    data = prepared(tmp_path, ("", "abcd"), ("", "abcde"), max_length=6, teacher_max_length=4)
    assert (data.report.truncated, data.report.teacher_truncated) == (1, 1)


def test_the_teachers_window_is_twice_the_students_by_default(tmp_path: Path) -> None:
    data = prepared(tmp_path, ("", "x" * 40), max_length=8, teacher=WideBytes(1), teacher_length_multiple=3)
    (row,) = data.rows([0])
    assert row.teacher is not None
    assert len(row.teacher.ids) == 18, "2 * 8, rounded up to the teacher's block"


def test_what_keeps_nothing_to_train_on_is_dropped_and_counted(tmp_path: Path) -> None:
    class Muted(WideBytes):
        def _encode(self, example: Example) -> Any:
            encoded = super()._encode(example)
            if example.key == "2":
                encoded.trainable[:] = False
            return encoded

    pairs = [("a" * 50, "response"), ("ok", "response"), ("", "muted"), ("a" * 50, "again"), ("b" * 9, "r")]
    data = prepared(tmp_path, *pairs, student=Muted(), max_length=12, teacher_max_length=5)
    report = data.report
    assert report.examples == 5
    assert report.kept == len(data) == 1
    assert report.dropped == {
        "nothing to train on": 1,
        "prompt longer than the window": 2,
        "prompt longer than the teacher's window": 1,
    }
    assert str(report).startswith("1 of 5 examples kept; 1 dropped (nothing to train on); 2 dropped (prompt longer")
    assert report.bytes == len("okresponse")
    assert [row.sample for row in data.rows([0])] == [1], "identity does not depend on what was dropped before"


def test_no_usable_example_is_an_error_that_says_the_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'listed', split 'train': no usable example: the split is empty"):
        prepared(tmp_path)
    with pytest.raises(DataError, match=r"2 of 2: prompt longer than the window; raise data.max_length"):
        prepared(tmp_path, ("a" * 20, "x"), ("a" * 30, "y"), max_length=10)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"], "an error leaves no cache entry"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_length": 500, "length_multiple": 32},
            "data.max_length: 500 is not a multiple of the block size 32; use 480 or 512",
        ),
        ({"max_length": 20, "length_multiple": 32}, "use 32"),
        ({"teacher_max_length": 100, "teacher_length_multiple": 32}, "data.teacher_max_length: 100 is not a multiple"),
    ],
)
def test_a_window_that_is_no_multiple_of_the_block_is_refused(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepared(tmp_path, ("a", "b"), **options)
    assert message in str(caught.value)


def test_a_mask_token_in_the_data_is_refused_by_name(tmp_path: Path) -> None:
    pairs = [("fine", "fine"), ("", "what?")]
    with pytest.raises(DataError, match=r"list:2: the text contains the student's mask token, id 63 \('\?'\)"):
        prepared(tmp_path, *pairs, student=WideBytes(mask=ord("?")))
    with pytest.raises(DataError, match=r"list:2: the text contains the teacher's mask token, id 119"):
        prepared(tmp_path, *pairs, teacher=WideBytes(mask=ord("w")))
    assert len(prepared(tmp_path, *pairs, teacher=WideBytes(mask=None))) == 2


def test_an_example_that_breaks_a_tokenizer_is_named(tmp_path: Path) -> None:
    pairs = [("fine", "fine")] * 20 + [("explode", "")]
    with pytest.raises(PluginError, match=r"list:21: this example cannot be encoded: RuntimeError: boom"):
        prepared(tmp_path, *pairs)


def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    class Short(CommonEnds):
        def align_batch(self, students: Any, teachers: Any) -> Any:
            return super().align_batch(teachers, teachers)

    class Lossy(WideBytes):
        def encode(self, examples: Any) -> Any:
            return super().encode(examples[:-1])

    with pytest.raises(PluginError, match=r"list:1: .*disagree about how many tokens"):
        prepared(tmp_path, ("ab", "cdef"), alignment=Short())
    with pytest.raises(PluginError, match=r"list:1: the teacher's tokenizer returned 0 encodings of 1 examples"):
        prepared(tmp_path, ("ab", "cdef"), teacher=Lossy())


def test_only_the_first_examples_are_looked_at_when_asked(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    data = prepared(
        tmp_path, *[("a", str(n)) for n in range(200)], max_examples=150, progress=lambda *call: calls.append(call)
    )
    assert data.report.examples == len(data) == 150
    assert calls[0] == (0, 150)
    assert calls[-1] == (150, 150)
    assert calls == sorted(calls)
    with pytest.raises(IndexError):
        data.rows([150])


def expected(pair: tuple[str, str], windows: tuple[int, int], multiples: tuple[int, int]) -> dict[str, Any] | None:
    """The window rules, one token at a time."""
    example = next(Listed(pairs=(pair,)).examples("train"))
    tokenizers: tuple[TextTokenizer, TextTokenizer] = (WideBytes(1), WideBytes(3))
    encoded = [tokenizer.encode([example])[0] for tokenizer in tokenizers]
    aligned = CommonEnds().align(*encoded)
    chunks = (aligned.student.tolist(), aligned.teacher.tolist())
    alive = set(range(len(aligned.bytes)))
    for one, chunk, window in zip(encoded, chunks, windows, strict=True):
        if not any(one.trainable[:window]):
            return None
        alive -= {c for place, c in enumerate(chunk) if place >= window or not one.trainable[place]}
    numbers = {chunk: number for number, chunk in enumerate(sorted(alive))}
    result: dict[str, Any] = {"bytes": [int(aligned.bytes[chunk]) for chunk in sorted(alive)]}
    for name, one, chunk, window, multiple in zip(
        ("student", "teacher"), encoded, chunks, windows, multiples, strict=True
    ):
        ids, trainable = one.ids[:window].tolist(), one.trainable[:window].tolist()
        numbered = [numbers.get(c, -1) for c in chunk[:window]]
        while len(ids) % multiple:
            ids.append(END)
            trainable.append(True)
            numbered.append(-1)
        result[name] = (ids, trainable, numbered)
    return result


def plain(side: RowSide | None) -> tuple[list[int], list[bool], list[int]]:
    assert side is not None
    return side.ids.tolist(), side.maskable.tolist(), side.chunk.tolist()


words = st.text(alphabet="abé€ ", max_size=25)


@given(
    pairs=st.lists(st.tuples(words, words), min_size=1, max_size=6),
    blocks=st.tuples(st.integers(1, 8), st.integers(1, 6)),
    counts=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=60, deadline=None)
def test_rows_follow_the_window_rules(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: list[tuple[str, str]],
    blocks: tuple[int, int],
    counts: tuple[int, int],
) -> None:
    windows = (blocks[0] * counts[0] * 2, blocks[1] * counts[1] * 2)
    wanted = {n: row for n, pair in enumerate(pairs) if (row := expected(pair, windows, blocks)) is not None}
    options: dict[str, Any] = {
        "teacher": WideBytes(3),
        "max_length": windows[0],
        "teacher_max_length": windows[1],
        "length_multiple": blocks[0],
        "teacher_length_multiple": blocks[1],
    }
    cache = tmp_path_factory.mktemp("cache")
    if not wanted:
        with pytest.raises(DataError, match="no usable example"):
            prepared(cache, *pairs, **options)
        return
    data = prepared(cache, *pairs, **options)
    rows: list[Row] = data.rows(range(len(data)))
    assert [row.sample for row in rows] == list(wanted)
    for row, want in zip(rows, wanted.values(), strict=True):
        assert plain(row.student) == want["student"]
        assert plain(row.teacher) == want["teacher"]
        assert row.chunk_bytes.tolist() == want["bytes"]
    report = data.report
    assert report.kept + sum(report.dropped.values()) == report.examples == len(pairs)
    assert report.tokens == sum(len(row.student.ids) for row in rows)
    assert report.trainable == sum(int(row.student.maskable.sum()) for row in rows)
    assert report.chunks == sum(len(row.chunk_bytes) for row in rows)
    assert np.array_equal(data.lengths(), [len(row.student.ids) for row in rows])
    assert MASK not in np.concatenate([row.student.ids for row in rows])
