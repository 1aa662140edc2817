"""How a row reads while it is written in any order: halves of characters, revisions, the end of the turn."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from tide_core.draft import Draft, spell
from tide_core.watching import Scene, takes_watch, watch_for
from tide_specs import PluginError, SamplingStep

BYTES: list[bytes | None] = [bytes([byte]) for byte in range(256)]
MASK, END = 256, 257
PIECES = [*BYTES, None, None]


def draft(prompt: bytes | list[int], places: int, *, infill: bool = False) -> Draft:
    tokenizer: Any = SimpleNamespace(end_of_turn_token_id=END)
    ids = [list(prompt)]
    scene = Scene(prompts=[""], ids=ids, max_new_tokens=places, mask_token_id=MASK, tokenizer=tokenizer, infill=infill)
    return Draft(scene, 0, PIECES)


def write(target: Draft, positions: list[int], tokens: list[int] | bytes) -> set[int]:
    scores = [0.5] * len(positions)
    step = SamplingStep(row=0, positions=positions, tokens=list(tokens), scores=scores, forwards=target.steps + 1)
    return target.apply(step)


def texts(target: Draft) -> list[str | None]:
    return [cell.text for cell in target.cells]


def test_half_a_character_is_repaired_when_its_other_half_arrives() -> None:
    row = draft(b"a", 3)
    assert write(row, [2], "é".encode()[1:]) == set()
    assert texts(row) == ["a", None, "\ufffd", None]
    assert write(row, [1], "é".encode()[:1]) == {2}
    assert texts(row) == ["a", "é", "", None]
    assert write(row, [2], [MASK]) == {1}
    assert texts(row) == ["a", "\ufffd", None, None]
    assert write(row, [2], b"b") == set()
    assert texts(row) == ["a", "\ufffd", "b", None]


def test_a_prompt_that_ends_in_half_a_character_is_completed() -> None:
    row = draft("é".encode()[:1], 1)
    assert write(row, [1], "é".encode()[1:]) == {0}
    assert texts(row) == ["é", ""]


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_bytes_come_the_text_is_the_one_of_all_bytes(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choice("aé€🙂\n") for _ in range(12))
    stray = bytes(draw.choice(range(256)) for _ in range(len(text.encode())))
    row, order = draft(b"", len(stray)), list(range(len(stray)))
    draw.shuffle(order)
    for place in order:
        write(row, [place], [stray[place]])
    while order:
        batch = [order.pop() for _ in range(min(len(order), 3))]
        repaired = write(row, batch, [text.encode()[place] for place in batch])
        assert repaired.isdisjoint(batch)
        assert texts(row) == spell([bytes([cell.token or 0]) for cell in row.cells])
    assert "".join(cell.text or "" for cell in row.cells) == text


def test_spelling_gives_a_character_to_the_token_where_it_begins() -> None:
    euro, smile = "€".encode(), "🙂".encode()
    assert spell([b"a" + euro[:1], euro[1:2], euro[2:] + b"b"]) == ["a€", "", "b"]
    assert spell([euro[:2], b"c", smile[1:]]) == ["\ufffd", "c", "\ufffd" * 3]
    assert spell([]) == []


def test_tokens_behind_the_end_of_the_turn_do_not_count() -> None:
    row = draft(b"ab", 5)
    assert (row.first, row.end(), row.written()) == (2, 7, 0)
    write(row, [2, 6], b"cz")
    assert row.written() == 2
    write(row, [4], [END])
    assert (row.end(), row.written()) == (4, 1)
    write(row, [4], b"d")
    assert (row.end(), row.written(), row.cells[4].revisions) == (7, 3, 1)


def test_open_places_inside_a_prompt_are_part_of_the_answer() -> None:
    row = draft([*b"a", MASK, *b"c"], 0, infill=True)
    assert row.first == 0
    assert [cell.given for cell in row.cells] == [True, False, True]
    write(row, [1], b"b")
    assert row.written() == 1


class Listener:
    def __init__(self) -> None:
        self.steps: list[SamplingStep] = []

    def begin(self, scene: Scene) -> None:
        raise NotImplementedError

    def step(self, step: SamplingStep) -> None:
        self.steps.append(step)


def told(**changes: Any) -> list[SamplingStep]:
    tokenizer: Any = SimpleNamespace(vocabulary_size=9)
    scene = Scene(prompts=["a"], ids=[[1, 2]], max_new_tokens=3, mask_token_id=0, tokenizer=tokenizer)
    sampler: Any = SimpleNamespace(name="mine")
    listener = Listener()
    step = {"row": 0, "positions": [2], "tokens": [5], "scores": [0.5], "forwards": 1, **changes}
    watch_for([listener], scene, sampler)(SamplingStep(**step))
    return listener.steps


def test_a_step_of_tensors_becomes_plain_numbers() -> None:
    import torch

    columns = {name: torch.tensor([value]) for name, value in {"positions": 4, "tokens": 5, "scores": 0.25}.items()}
    (step,) = told(row=torch.tensor(0), forwards=torch.tensor(7), **columns)
    assert step == SamplingStep(row=0, positions=[4], tokens=[5], scores=[0.25], forwards=7)
    assert all(type(number) is int for number in (step.row, step.forwards, *step.positions, *step.tokens))


FAULTS = {
    "row": ({"row": 1}, "row 1 of 1"),
    "counts": ({"scores": []}, "1 positions, 1 tokens, 0 scores; they must be as many"),
    "position": ({"positions": [5]}, "position 5 of 5"),
    "negative": ({"tokens": [-1]}, "token -1"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_step_that_cannot_be_is_refused(case: str) -> None:
    changes, message = FAULTS[case]
    with pytest.raises(PluginError, match=f"^sampler 'mine' told of a step that cannot be: {message}$"):
        told(**changes)


def test_who_takes_watch_is_seen_from_the_signature() -> None:
    def old(denoiser: Any, prompts: Any, *, max_new_tokens: int) -> None: ...
    def new(denoiser: Any, prompts: Any, *, watch: Any = None) -> None: ...
    def any_(denoiser: Any, **rest: Any) -> None: ...

    assert [takes_watch(method) for method in (old, new, any_)] == [False, True, True]
