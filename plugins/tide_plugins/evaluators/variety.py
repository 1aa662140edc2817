"""How varied text is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def entropy(tokens: Sequence[Hashable]) -> float:
    """Return the entropy in bits of the tokens' own frequencies; 0 for none."""
    count = len(tokens)
    return math.fsum(-n / count * math.log2(n / count) for n in Counter(tokens).values()) if count else 0.0


def distinct(texts: Sequence[Sequence[Hashable]], n: int) -> float:
    """Return different n-grams over all n-grams, all texts together; NaN where there is none (Li et al. 2016)."""
    grams = [tuple(text[start : start + n]) for text in texts for start in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else math.nan
