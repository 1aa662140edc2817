"""Words and lines of real tokenizers' tokens, against those of the text itself."""

from __future__ import annotations

import re

import pytest
import torch

from tide_core.text_spans import SpanNumbers
from tide_plugins.tokenizers.packaged import load_packaged
from tide_specs import ByteTokenizer, Example, Message, TextTokenizer

TEXT = "def area(r):\n    # the area  of a disc\n    return 3.14 * r ** 2\n\n\nprint(area(2))\tand more\n日本語のテキスト\nlast"
LOSSLESS = ["smollm2", "qwen", "deepseek", "tekken", "mistral-sp"]


def encoded(tokenizer: TextTokenizer, text: str) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Ids [1, L], and the bytes (start, end) of each content token, in the raw text."""
    example = Example(key="a", messages=[Message(role="text", content=text, trainable=True)])
    (row,) = tokenizer.encode([example])
    places, start = [], 0
    for end in row.end.tolist():
        places.append((start, max(end, start)))
        start = max(end, start)
    return torch.from_numpy(row.ids).long()[None], places


def spelled(numbers: torch.Tensor, places: list[tuple[int, int]], text: str) -> list[str]:
    """The text of each span that holds any."""
    raw, spans = text.encode(), dict[int, bytes]()
    for number, (start, end) in zip(numbers[0].tolist(), places, strict=True):
        spans[number] = spans.get(number, b"") + raw[start:end]
    return [span.decode() for span in spans.values() if span]


@pytest.mark.parametrize("name", LOSSLESS)
def test_lines_are_the_lines_of_the_text(name: str) -> None:
    tokenizer = load_packaged(name)  # type: ignore[arg-type]
    ids, places = encoded(tokenizer, TEXT)
    lines = spelled(SpanNumbers(tokenizer).number(ids)["line"], places, TEXT)
    # What a token holds after its newline (indentation, blank lines) stays with the line that it ends.
    assert [line.split() for line in lines if line.strip()] == [x.split() for x in TEXT.splitlines() if x.strip()]


@pytest.mark.parametrize("name", LOSSLESS)
def test_words_are_what_stands_between_white_space(name: str) -> None:
    tokenizer = load_packaged(name)  # type: ignore[arg-type]
    ids, places = encoded(tokenizer, TEXT)
    words = spelled(SpanNumbers(tokenizer).number(ids)["word"], places, TEXT)
    assert [word.strip() for word in words if word.strip()] == TEXT.split()


def test_wordpiece_shows_words_by_decoding_and_no_lines() -> None:
    tokenizer = load_packaged("minilm")
    text = "Unbelievably wonderful\nworld"
    ids, places = encoded(tokenizer, text)
    spans = SpanNumbers(tokenizer).number(ids)
    assert [word.strip() for word in spelled(spans["word"], places, text)] == text.split()
    assert spelled(spans["line"], places, text) == [text]


def numbered(tokenizer: ByteTokenizer, text: str, longest: int = 128) -> tuple[list[int], list[int]]:
    ids = torch.tensor([list(text.encode())])
    spans = SpanNumbers(tokenizer, longest=longest).number(ids)
    return spans["word"][0].tolist(), spans["line"][0].tolist()


def test_white_space_leads_the_word_that_follows_it() -> None:
    word, line = numbered(ByteTokenizer(), "a  b\n c")
    assert word == [0, 1, 1, 1, 2, 3, 3]
    assert line == [0, 0, 0, 0, 0, 1, 1]


def test_rows_documents_and_special_tokens_start_anew() -> None:
    tokenizer = ByteTokenizer()
    end, a = tokenizer.end_of_turn_token_id, ord("a")
    ids = torch.tensor([[a, a, end, a, a], [a, a, a, a, a]])
    documents = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 1, 2]])
    assert SpanNumbers(tokenizer).number(ids)["line"].tolist() == [[0, 0, 1, 2, 2], [3, 3, 3, 3, 3]]
    for number in SpanNumbers(tokenizer).number(ids, documents).values():
        assert number.tolist() == [[0, 0, 1, 2, 2], [3, 3, 4, 4, 5]]


def test_long_spans_are_cut_at_words_so_that_memory_stays_bounded() -> None:
    word, line = numbered(ByteTokenizer(), "aaaa aaaa aa aaaaaaaa", longest=6)
    assert [word.count(n) for n in sorted(set(word))] == [4, 5, 3, 6, 3]
    assert [line.count(n) for n in sorted(set(line))] == [9, 3, 6, 3]
    assert all(len({line[i] for i in range(len(line)) if word[i] == n}) == 1 for n in set(word))


@pytest.mark.parametrize("seed", range(20))
def test_words_nest_in_lines_and_no_line_is_twice_the_limit(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    letters = torch.tensor(list(b"abcdefgh  \n"))
    ids = letters[torch.randint(len(letters), (3, 200), generator=random)]
    spans = SpanNumbers(ByteTokenizer(), longest=8).number(ids)
    pairs = torch.stack([spans["word"].flatten(), spans["line"].flatten()]).unique(dim=1)
    assert len(pairs[0].unique()) == pairs.shape[1]
    assert int(spans["line"].flatten().bincount().max()) < 16
    for row in range(3):
        text = bytes(ids[row].tolist()).decode()
        expected = [m.start() for m in re.finditer(r"(?m)^", text)][: text.count("\n") + (not text.endswith("\n"))]
        starts = (spans["line"][row].diff() != 0).nonzero()[:, 0] + 1
        assert set(expected[1:]) <= set(starts.tolist())


def test_an_empty_batch_has_empty_numbers() -> None:
    spans = SpanNumbers(ByteTokenizer()).number(torch.zeros(2, 0, dtype=torch.int64))
    assert {name: tuple(number.shape) for name, number in spans.items()} == {"word": (2, 0), "line": (2, 0)}
