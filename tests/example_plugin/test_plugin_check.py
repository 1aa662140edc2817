"""``tide plugin check`` and ``list``: what they print and how they exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tide_core.cli.main import call

GOOD = '''
from typing import Literal
from tide_specs import NoiseSchedule, hookimpl


class Square(NoiseSchedule):
    """alpha = 1 - t^2."""

    name: Literal["square"] = "square"

    def alpha(self, t):
        return 1 - t**2

    def alpha_prime(self, t):
        return -2 * t

    def weight(self, t):
        return 2 / t


@hookimpl
def tide_noise_schedules():
    return [Square]
'''
WRONG = GOOD.replace("return -2 * t", "return -3 * t")
NEEDY = '''
from typing import Literal
from pydantic import Field
from tide_specs import Dataset, Example, Message, hookimpl


class Lines(Dataset):
    """Numbered lines."""

    name: Literal["numbered"] = "numbered"
    word: str = Field(description="what is written on every line")

    def examples(self, split):
        for number in range(20):
            if (number % 10 == 0) == (split == "evaluation"):
                yield Example(key=str(number), messages=(Message(role="text", content=f"{self.word} {number}", trainable=True),))

    def fingerprint(self):
        return self.word


@hookimpl
def tide_datasets():
    return [Lines]
'''


@pytest.fixture
def write(tmp_path: Path, request: pytest.FixtureRequest):
    def file(text: str) -> str:
        path = tmp_path / f"plugin_{abs(hash(request.node.name)) % 10**9}.py"
        path.write_text(text)
        return str(path)

    return file


def test_a_correct_file_passes(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", write(GOOD)]) == 0
    assert "square" in capsys.readouterr().out


def test_a_wrong_file_fails_and_says_why(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", write(WRONG)]) == 1
    out = capsys.readouterr().out
    assert "square: check_derivative" in out
    assert "correct the derivative" in " ".join(out.split())


def test_verbose_lists_every_check(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", write(GOOD), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "check_end_points" in out
    assert "check_picklable" in out


def test_a_component_that_needs_options_is_built_with_them(write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(NEEDY)
    assert call(["plugin", "check", path]) == 0
    assert "needs options (word: Field required)" in " ".join(capsys.readouterr().out.split())
    assert call(["plugin", "check", path, "--with", "{name: numbered, word: hello}"]) == 0
    assert "numbered(word='hello')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{name: nubmered, word: x}", "offers no component 'nubmered'; it offers numbered"),
        ("{name: numbered, wrod: x}", "'numbered': word: Field required"),
        ("hello", "write a mapping with a name"),
        ("{", "not YAML"),
    ],
)
def test_wrong_options(write, given: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", write(NEEDY), "--with", given]) == 2
    assert message in capsys.readouterr().err


def test_a_plugin_that_cannot_be_imported(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", write("import no_such_library")]) == 2
    assert "no_such_library" in capsys.readouterr().err


def test_an_unknown_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "check", "tide_plugins.loses"]) == 2
    assert "did you mean 'tide_plugins.losses'?" in capsys.readouterr().err


def test_the_list_shows_offers_and_reasons(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "list", "--plugin", write("raise ValueError('broken')")]) == 0
    out = capsys.readouterr().out
    assert "loss: cross_entropy" in out
    assert "skipped: raises ValueError" in " ".join(out.split())


def test_the_list_as_json(write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["plugin", "list", "--json", "--plugin", write(GOOD)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[-1]["offers"] == {"schedule": ["square"]}
    assert {"plugin", "distribution", "version", "bundled", "skipped", "notes"} <= listed[-1].keys()
