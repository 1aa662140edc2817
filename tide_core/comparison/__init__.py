"""``tide compare``: ways to distil, measured side by side, with what is held equal between them and what is not."""

from __future__ import annotations
