"""Data that cannot be trained on: the line that is at fault, and what became of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_files import events

ALONE = {"teacher": None, "losses": ["cross_entropy"]}
TEXT = '{"text": "a text that is fine"}'


@pytest.fixture
def lines(tmp_path: Path):
    """``lines(...)`` writes ``train.jsonl`` and returns the sections of a run that reads it."""

    def write(*texts: str, **options: object) -> dict[str, object]:
        (tmp_path / "train.jsonl").write_text("".join(f"{text}\n" for text in texts))
        data = {"name": "jsonl", "path": "train.jsonl", "max_length": 64, "evaluation_fraction": 0, **options}
        return {"data": data, **ALONE}

    return write


BROKEN = {
    "cut off": ('{"text": "x"', "not valid JSON: Expecting ',' delimiter at column 13"),
    "not an object": ("[1]", "expected an object, found a list"),
    "nothing known": ('{"txt": "x"}', "none of 'messages', 'prompt' with 'response', 'text'; found 'txt'"),
    "a number for a text": ('{"text": 3}', "'text' must be a string, found a number"),
    "no response": ('{"prompt": "x"}', "no 'response' beside 'prompt'"),
    "no content": ('{"messages": [{"role": "user"}]}', "messages[0] has no 'content'"),
    "no role": ('{"messages": [{"role": "", "content": "x"}]}', "messages[0].role is ''; use system, user, assistant"),
    "half a surrogate pair": ('{"text": "\\ud800"}', "'text' holds half of a surrogate pair at character 0"),
}


# One case shows that messages survive the way back from a worker process.
@pytest.mark.parametrize(("case", "workers"), [*((case, 0) for case in BROKEN), ("cut off", 1)])
def test_a_broken_line_is_named_by_its_number(case: str, workers: int, refused, lines) -> None:
    line, fault = BROKEN[case]
    message = refused(**lines(TEXT, "", TEXT, line, TEXT), training={"workers": workers})
    where, _, rest = message.partition("train.jsonl:4: ")
    assert where.startswith("run.yaml:")
    assert ": data: " in where
    assert rest.startswith(fault)


def test_bytes_that_are_no_text(refused, lines, tmp_path: Path) -> None:
    sections = lines(TEXT)
    (tmp_path / "train.jsonl").write_bytes(TEXT.encode() + b'\n{"text": "\xff"}\n')
    assert "train.jsonl:2: not valid UTF-8 (byte 10 of the line)" in refused(**sections)


MISSING = {
    "jsonl": "none.jsonl: cannot be read: No such file or directory; check data.path and data.evaluation_path",
    "huggingface": "none.jsonl: no such file or folder; check data.path",
}


@pytest.mark.parametrize("dataset", MISSING)
def test_a_file_that_is_not_there(dataset: str, refused) -> None:
    message = refused(data={"name": dataset, "path": "none.jsonl", "max_length": 64}, **ALONE)
    assert message.startswith("run.yaml:")
    assert MISSING[dataset] in message


def test_a_folder_instead_of_a_file(refused, tmp_path: Path) -> None:
    message = refused(data={"name": "jsonl", "path": ".", "max_length": 64}, **ALONE)
    assert f"{tmp_path}: cannot be read: Is a directory; check data.path and data.evaluation_path" in message


def test_nothing_is_left_to_train_on(refused, lines) -> None:
    assert "split 'train': no usable example: the split is empty; check where the data comes from" in refused(**lines())
    unanswered = json.dumps({"prompt": "word " * 100, "response": "x"})
    message = refused(**lines(unanswered, unanswered, chat=False))
    assert "no usable example: 2 of 2: prompt longer than the window; raise data.max_length" in message


def test_nothing_is_left_to_evaluate_on(refused, lines) -> None:
    message = refused(**lines(TEXT), evaluation=["bits_per_byte"])
    assert "split 'evaluation': no usable example: the split is empty" in message
    assert "what share of it is held out" in message


def test_prompts_longer_than_the_window_are_counted_and_reported(tide, lines, tmp_path: Path) -> None:
    long = json.dumps({"prompt": "word " * 100, "response": "x"})
    cut = json.dumps({"prompt": "short", "response": "word " * 100})
    code, _, err = tide("run", **lines(long, TEXT, cut, TEXT, chat=False))
    assert code == 0, err
    (started,) = events(tmp_path, "run_started")
    report = started["facts"]["data_report"]
    assert (report["examples"], report["kept"], report["truncated"]) == (4, 3, 1)
    assert report["dropped"] == {"prompt longer than the window": 1}
    assert "train data: 3 of 4 examples kept; 1 dropped (prompt longer than the window); 1 cut at the window" in err


def test_a_tokenizer_without_chat_template(refused, lines) -> None:
    chat = json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]})
    message = refused(**lines(TEXT, chat))
    assert "train.jsonl:2: " in message
    assert (
        "has no chat template, but the example has roles user, assistant; give it one (chat_template.jinja" in message
    )
