"""An attention backend that raises when it is asked whether it is available."""

from __future__ import annotations

from typing import Any, Literal

from tide_specs import AttentionBackend, hookimpl


class Fickle(AttentionBackend):
    """Works on good days."""

    name: Literal["fickle"] = "fickle"

    def attend(self, query: Any, key: Any, value: Any, layout: Any, options: Any) -> Any:
        return query

    def available(self, device: Any, dtype: Any) -> str | None:
        raise OSError("the driver is asleep")


@hookimpl
def tide_attention_backends() -> Any:
    return [Fickle]
