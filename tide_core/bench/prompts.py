"""The prompts that are continued unless others are given: code to complete, tasks, questions and a story."""

from __future__ import annotations

PROMPTS = (
    'def median(values: list[float]) -> float:\n    """Return the middle value, or the mean of the two middle ones."""\n',
    "A train leaves at 9:40 and arrives at 13:05 after stopping for 25 minutes altogether. How long was it moving? "
    "Explain each step.",
    "Summarise in three sentences why the sky is blue during the day and red at sunset.",
    "class LeastRecentlyUsed:\n"
    '    """A mapping that forgets the entry that nobody has asked for the longest."""\n\n'
    "    def __init__(self, capacity: int) -> None:\n",
    "Write a polite letter to a landlord about a window that does not close, asking for a repair before winter.",
    "The lighthouse keeper had not seen a ship for eleven days when the radio began to speak.",
    "A shop sells pencils at 40 cents and notebooks at 2.50 euros. Mia buys 7 pencils and 3 notebooks and pays with a "
    "20 euro note. What change does she get?",
    "SELECT the right words: explain the difference between an inner join and a left join, with a small example of each.",
)
