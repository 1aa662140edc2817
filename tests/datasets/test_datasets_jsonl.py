from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from tide_plugins.datasets import JsonLines
from tide_specs import DataError, Message


def write(path: Path, *lines: object) -> str:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return str(path)


def everything(dataset: JsonLines) -> list[list[Message]]:
    return [list(example.messages) for example in dataset.examples("train")]


def test_only_what_the_assistant_says_is_trained_on(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    path = write(
        tmp_path / "a.jsonl", {"messages": turns}, {"prompt": "1+1", "response": "2", "id": 7}, b"", {"text": "Füße"}
    )
    conversation, pair, text = everything(JsonLines(path=path, evaluation_fraction=0))
    assert [(message.role, message.trainable) for message in conversation] == [
        ("system", False),
        ("user", False),
        ("assistant", True),
    ]
    assert pair == [Message(role="user", content="1+1"), Message(role="assistant", content="2", trainable=True)]
    assert text == [Message(role="text", content="Füße", trainable=True)]


def test_prompt_and_response_can_be_one_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "def f():", "response": " pass"})
    (example,) = JsonLines(path=path, evaluation_fraction=0, chat=False).examples("train")
    assert example.is_text
    assert [message.trainable for message in example.messages] == [False, True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "a"', "not valid JSON: Expecting ',' delimiter at column 13"),
        (b'{"text": "\xff"}', "not valid UTF-8 (byte 10 of the line)"),
        ([1], "expected an object, found a list"),
        ({"txt": "a"}, "none of 'messages', 'prompt' with 'response', 'text'; found 'txt'"),
        ({}, "found nothing"),
        ({"prompt": "a"}, "no 'response' beside 'prompt'"),
        ({"response": "a"}, "no 'prompt' beside 'response'"),
        ({"text": 3}, "'text' must be a string, found a number"),
        ({"text": None}, "'text' must be a string, found null"),
        ({"messages": "hello"}, "'messages' must be a list of messages, found a string"),
        ({"messages": []}, "'messages' is empty"),
        ({"messages": ["hello"]}, 'messages[0] must be {"role": ..., "content": ...}, found a string'),
        ({"messages": [{"role": "user"}]}, "messages[0] has no 'content'"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content must be a string, found a list"),
        ({"messages": [{"role": "", "content": "a"}]}, "messages[0].role is ''; use system, user, assistant"),
        ({"messages": [{"role": "text", "content": "a"}]}, "messages[0].role is 'text'; use system, user, assistant"),
        (b'{"text": "a\\ud800"}', "'text' holds half of a surrogate pair at character 1"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: object, message: str) -> None:
    path = write(tmp_path / "train.jsonl", {"text": "fine"}, b"", line)
    with pytest.raises(DataError) as caught:
        everything(JsonLines(path=path, evaluation_fraction=0))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert message in str(caught.value)


def test_lines_before_a_broken_one_have_been_streamed(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", {"text": "fine"}, b"broken")
    stream = JsonLines(path=path, evaluation_fraction=0).examples("train")
    assert next(stream).messages[0].content == "fine"
    with pytest.raises(DataError, match=r"train.jsonl:2"):
        next(stream)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    dataset = JsonLines(path=str(tmp_path / "nowhere.jsonl"))
    for call in (dataset.fingerprint, lambda: everything(dataset)):
        with pytest.raises(DataError, match=r"nowhere.jsonl: cannot be read: No such file.*check data.path"):
            call()


def test_equal_lines_are_held_out_together(tmp_path: Path) -> None:
    lines = [{"text": f"number {number % 300}"} for number in range(900)]
    dataset = JsonLines(path=write(tmp_path / "a.jsonl", *lines), evaluation_fraction=0.2)
    train, evaluation = (
        [example.messages[0].content for example in dataset.examples(split)] for split in ("train", "evaluation")
    )
    assert len(train) + len(evaluation) == 900
    assert not set(train) & set(evaluation)
    assert 0.1 < len(evaluation) / 900 < 0.3


def test_a_file_of_its_own_for_evaluation_leaves_every_line_to_training(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", *({"text": str(number)} for number in range(50)))
    held_out = write(tmp_path / "b.jsonl", {"text": "held out"})
    dataset = JsonLines(path=train, evaluation_path=held_out)
    assert len(list(dataset.examples("train"))) == 50
    assert [example.source for example in dataset.examples("evaluation")] == [f"{held_out}:1"]
    with pytest.raises(ValidationError, match="must not be trained on"):
        JsonLines(path=train, evaluation_path=train)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n{"text": "two"}\r\n')
    assert [messages[0].content for messages in everything(JsonLines(path=str(path), evaluation_fraction=0))] == [
        "one",
        "two",
    ]


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"text": "one"})
    dataset = JsonLines(path=path)
    before = dataset.fingerprint()
    assert pickle.loads(pickle.dumps(dataset)).fingerprint() == before
    assert JsonLines(path=path, evaluation_fraction=0.5).fingerprint() != before
    assert JsonLines(path=write(tmp_path / "copy.jsonl", {"text": "one"})).fingerprint() == before
    write(tmp_path / "a.jsonl", {"text": "two"})
    assert dataset.fingerprint() != before
