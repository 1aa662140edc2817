"""Records (parsed JSON objects, rows of a table) -> messages, with an error that says what is wrong with which record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tide_specs import DataError, Message


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where a record keeps what, and whether prompt and response are turns of a chat or pieces of one text."""

    messages: str = "messages"
    prompt: str = "prompt"
    response: str = "response"
    text: str = "text"
    chat: bool = True


def messages_of(record: object, columns: Columns, where: str) -> list[Message]:
    """Return a record's messages; only what the assistant says, or a plain text, is trained on.

    A record holds a list of messages, or a prompt and a response, or a text; the first of these that is there counts.
    Raises ``DataError`` that starts with ``where``.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: expected an object, found {_kind(record)}")
    fields = cast(Mapping[str, Any], record)
    if fields.get(columns.messages) is not None:
        return _conversation(fields[columns.messages], columns.messages, where)
    if columns.prompt in fields or columns.response in fields:
        return _prompt_and_response(fields, columns, where)
    if columns.text in fields:
        text = _string(fields[columns.text], f"'{columns.text}'", where)
        return [Message(role="text", content=text, trainable=True)]
    found = ", ".join(f"'{name}'" for name in fields) or "nothing"
    raise DataError(
        f"{where}: none of '{columns.messages}', '{columns.prompt}' with '{columns.response}', '{columns.text}'; found {found}"
    )


def _conversation(turns: object, name: str, where: str) -> list[Message]:
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise DataError(f"{where}: '{name}' must be a list of messages, found {_kind(turns)}")
    if not turns:
        raise DataError(f"{where}: '{name}' is empty")
    listed = cast(Sequence[object], turns)
    return [_turn(turn, f"{name}[{number}]", where) for number, turn in enumerate(listed)]


def _turn(turn: object, at: str, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f'{where}: {at} must be {{"role": ..., "content": ...}}, found {_kind(turn)}')
    fields = cast(Mapping[str, Any], turn)
    for name in ("role", "content"):
        if name not in fields:
            raise DataError(f"{where}: {at} has no '{name}'")
    role = _string(fields["role"], f"{at}.role", where)
    content = _string(fields["content"], f"{at}.content", where)
    if role in ("", "text"):
        raise DataError(
            f"{where}: {at}.role is '{role}'; use system, user, assistant or another role of the chat template"
        )
    return Message(role=role, content=content, trainable=role == "assistant")


def _prompt_and_response(fields: Mapping[str, Any], columns: Columns, where: str) -> list[Message]:
    pieces: list[str] = []
    for name in (columns.prompt, columns.response):
        if name not in fields:
            raise DataError(
                f"{where}: no '{name}' beside '{columns.prompt if name != columns.prompt else columns.response}'"
            )
        pieces.append(_string(fields[name], f"'{name}'", where))
    asks, answers = ("user", "assistant") if columns.chat else ("text", "text")
    return [Message(role=asks, content=pieces[0]), Message(role=answers, content=pieces[1], trainable=True)]


def _string(value: object, at: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: {at} must be a string, found {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {at} holds half of a surrogate pair at character {error.start}, which is not text"
        ) from error
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case Sequence():
            return "a list"
        case _:
            return type(value).__name__
