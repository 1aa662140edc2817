"""Chat templates rendered by construction: where every message's content goes is known, never searched for.

The template is rendered once for a sequence of roles with sentinels in place of the contents. What lies between the
sentinels is the markup; the contents themselves never pass through the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tide_specs import DataError

_SENTINEL = "qZ{:05d}TideContentZq"


def render_markup(tokenizer: Any, roles: Sequence[str]) -> list[str]:
    """Return the markup before, between and after the contents of messages with these roles: len(roles) + 1 strings.

    Args:
        tokenizer: a tokenizer of transformers.
        roles: e.g. ``["user", "assistant"]``.

    Raises:
        DataError: no chat template, or one that refuses these roles, or drops, repeats or reorders messages.
    """
    if tokenizer.chat_template is None:
        raise DataError(
            f"tokenizer {_name(tokenizer)} has no chat template, but the example has roles {', '.join(roles)}; give it "
            "one (chat_template.jinja beside tokenizer.json), or use plain texts (messages of role 'text')"
        )
    sentinels = [_SENTINEL.format(number) for number in range(len(roles))]
    rendered = _render(tokenizer, roles, sentinels)
    _check_places(tokenizer, roles, sentinels, rendered)
    markup: list[str] = []
    for sentinel in sentinels:
        before, _, rendered = rendered.partition(sentinel)
        markup.append(before)
    return [*markup, rendered]


def _name(tokenizer: Any) -> str:
    return repr(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def _render(tokenizer: Any, roles: Sequence[str], contents: Sequence[str]) -> str:
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    try:
        # Templates that know the switch (Qwen3) otherwise ask for a chain of thought that the answers do not have.
        return tokenizer.apply_chat_template(messages, tokenize=False, enable_thinking=False)
    except Exception as error:
        raise DataError(
            f"the chat template of tokenizer {_name(tokenizer)} refuses a conversation with roles "
            f"{', '.join(roles)}: {error}"
        ) from error


def _check_places(tokenizer: Any, roles: Sequence[str], sentinels: Sequence[str], rendered: str) -> None:
    counts = [rendered.count(sentinel) for sentinel in sentinels]
    for number, count in enumerate(counts):
        if count != 1:
            fault = "drops" if count == 0 else "repeats"
            raise DataError(
                f"the chat template of tokenizer {_name(tokenizer)} {fault} message {number + 1} (role "
                f"{roles[number]!r}) of a conversation with roles {', '.join(roles)}; leave such messages out of the "
                "data, or use another template"
            )
    places = [rendered.index(sentinel) for sentinel in sentinels]
    if places != sorted(places):
        order = [number + 1 for number in sorted(range(len(places)), key=places.__getitem__)]
        raise DataError(
            f"the chat template of tokenizer {_name(tokenizer)} reorders messages: it renders roles {', '.join(roles)} "
            f"in the order {order}; use conversations that it keeps in order, or another template"
        )
