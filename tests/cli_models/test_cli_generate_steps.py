"""``tide generate``: how a text came about, on a terminal, in JSON and in a trace; and what is refused before a model loads."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tide_core import denoising_trace, html_pages
from tide_core.cli import generate as command
from tide_core.generation_display import GenerationDisplay, printable
from tide_core.html_pages import embedded

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import DEMO

SCRIPTED = Path(__file__).with_name("scripted_sampler.py")
TEXT = "é = '\U0001f642'\n"


def arguments(text: str = TEXT, sampler: str = "scripted", **options: Any) -> list[object]:
    """The demo's teacher, which spells bytes, and a sampler that writes a text from its end to its start."""
    given = {"text": json.dumps(text, ensure_ascii=False), **options} if sampler == "scripted" else options
    sets = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
    return [DEMO / "teacher", "--plugin", SCRIPTED, "--sampler", sampler, *sets, "--max-new-tokens", 40]


def test_json_has_what_the_text_took_and_its_steps_when_asked(tide) -> None:
    code, out, err = tide("generate", *arguments(), "-p", "a", "-p", "def b", "--json")
    assert code == 0, err
    plain = json.loads(out)
    count = plain["written"][0]["tokens"]
    assert plain["tokens"] == 2 * count
    assert (plain["forwards"], plain["positions"]) == (count + 2, 99)
    assert plain["tokens_per_forward"] == pytest.approx(2 * count / (count + 2))
    assert set(plain["written"][0]) == {"prompt", "text", "tokens", "finish"}
    code, out, err = tide("generate", *arguments(), "-p", "a", "-p", "def b", "--json", "--steps")
    assert code == 0, err
    for one in json.loads(out)["written"]:
        assert (one["text"], one["finish"], one["given"]) == (TEXT, "end_of_turn", {})
        assert one["places"] - one["first"] == 40
        assert one["steps"][0] == {
            "forwards": 1,
            "positions": [one["first"] + count - 1],
            "tokens": one["steps"][0]["tokens"],
            "scores": [0.25],
            "texts": ["!"],
            "repaired": [],
        }
        assert one["steps"][1]["texts"] == [None]  # the end of the turn is no text
        assert replayed(one) == TEXT
        assert any("\ufffd" in (text or "") for step in one["steps"] for text in step["texts"])


def replayed(one: dict[str, Any]) -> str:
    texts: dict[int, str | None] = {}
    for step in one["steps"]:
        texts.update(zip(step["positions"], step["texts"], strict=True))
        texts.update(dict(step["repaired"]))
    return "".join(texts[place] or "" for place in sorted(texts))


def test_what_ended_a_text(tide) -> None:
    def one(limit: int) -> dict[str, Any]:
        code, out, err = tide("generate", *arguments("a,b,c"), "-p", "x", "--json", "--max-new-tokens", limit)
        assert code == 0, err
        return json.loads(out)["written"][0]

    count = one(20)["tokens"]
    assert count > 2
    found = [(limit, one(limit)["tokens"], one(limit)["finish"]) for limit in (count + 1, count, count - 1)]
    assert found == [(count + 1, count, "end_of_turn"), (count, count, "length"), (count - 1, count - 1, "length")]


def test_a_sampler_that_does_not_tell_of_its_steps_still_writes(tide, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    for given in (arguments(sampler="earlier"), arguments("abc", tell="nothing")):
        code, out, err = tide("generate", *given, "-p", "x", "--trace", page)
        assert (code, out) == (0, "abc\n")
        assert err.count(f"note: sampler '{given[4]}' does not tell of its steps") == 1
        assert '"silent": true' in page.read_text()
        code, out, err = tide("generate", *given, "-p", "x")
        assert (code, out) == (0, "abc\n")
        assert "note" not in err


def test_steps_that_cannot_be_are_the_samplers_fault(tide, tmp_path: Path) -> None:
    for tell, message in (("outside", "position 10000 of "), ("too_few", "1 positions, 1 tokens, 0 scores")):
        code, _, err = tide("generate", *arguments(tell=tell), "-p", "x", "--trace", tmp_path / "t.html")
        assert code == 2
        assert f"sampler 'scripted' told of a step that cannot be: {message}" in err
    code, out, err = tide("generate", *arguments(tell="nan"), "-p", "x", "--json", "--steps")
    assert code == 0, err
    assert json.loads(out)["written"][0]["steps"][0]["scores"] == [0.0]


def test_a_trace_is_one_page_that_holds_the_record(tide, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    evil = "</script><!--<script>alert(1)</script>"
    code, out, err = tide("generate", *arguments(evil), "-p", evil, "--max-new-tokens", 99, "--trace", page)
    assert (code, out) == (0, evil + "\n")
    assert f"trace: {page}" in err
    html = page.read_text()
    before, _, rest = html.partition('<script type="application/json" id="trace">')
    data, _, after = rest.partition("</script>")
    assert "<" not in data
    trace = json.loads(data)
    assert trace["rows"][0]["text"] == trace["rows"][0]["prompt"] == evil
    assert dict(trace["facts"])["Seed"] == "0"
    assert html.count("</script>") == 2
    assert not [
        word for word in ("http://", "https://", "src=", "@import") if word in (before + after).replace(SVG, "")
    ]


SVG = '"http://www.w3.org/2000/svg"'


def test_json_stays_json_inside_a_page() -> None:
    value = ["</script>", "<!--", "]]>", "&lt;", "\u2028", "\ud83d", "{{ trace }}"]
    text = embedded(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert denoising_trace.page({"text": "{{ data }}"}).count("{{ data }}") == 1


def test_samplers_that_come_with_tide_tell_of_what_they_write(tide, trained: Path, autoregressive: Path) -> None:
    plain = ("--architecture", "{name: huggingface, form: autoregressive}")
    for model, options in ((trained, ()), (autoregressive, plain)):
        code, out, err = tide("generate", model, *options, "-p", "x", "--json", "--steps", "--max-new-tokens", 9)
        assert code == 0, err
        record = json.loads(out)
        (one,) = record["written"]
        ids = {}
        for step in one["steps"]:
            ids.update(zip(step["positions"], step["tokens"], strict=True))
        assert [place - one["first"] for place in sorted(ids)] == list(range(len(ids)))
        assert len(ids) >= one["tokens"] > 0
        assert one["steps"][-1]["forwards"] <= record["forwards"]


def test_gaps_are_filled_and_the_rest_is_kept(tide) -> None:
    given = ("--infill", "-p", "def f(x):\n    <gap:5>\n    return<gap:2>", "-p", "a <gap> c", "--max-new-tokens", 3)
    code, out, err = tide("generate", DEMO / "teacher", *given, "--json", "--steps")
    assert code == 0, err
    first, second = json.loads(out)["written"]
    assert (first["tokens"], second["tokens"]) == (7, 3)
    assert first["finish"] == second["finish"] == "filled"
    assert first["text"].startswith("def f(x):\n    ") and "\n    return" in first["text"]
    assert second["text"].startswith("a ") and second["text"].endswith(" c")
    written = [position for step in first["steps"] for position in step["positions"]]
    assert sorted(written) == sorted(set(range(first["places"])) - set(map(int, first["given"])))
    assert [first["given"][str(place)] for place in (1, 2)] == ["def", " f"]
    code, out, _ = tide("generate", DEMO / "teacher", "--infill", "-p", "a <gap:3> c")
    assert (code, out) == (0, second["text"] + "\n")


def test_texts_around_gaps_are_encoded_as_training_does(tide) -> None:
    from tide_core.prompting import Prompting
    from tide_core.registry import Registry
    from tide_specs import Message

    for model in ("student-tokenizer", "teacher-tokenizer"):
        options = {"name": "huggingface", "config": {"model_type": "llama"}, "form": "bidirectional"}
        build = Registry.discover().build
        tokenizer = build("architecture", {**options, "tokenizer_from": str(DEMO / model)}).tokenizer("student")
        ids = list(Prompting(infill=True).encode(tokenizer, "<gap:2>def f<gap:1>(x)"))
        mask = tokenizer.mask_token_id
        texts = [Message(role="text", content=text) for text in ("", "def f", "(x)")]
        assert [i for i in ids if i != mask] == tokenizer.encode_prompt(texts)
        assert ids.count(mask) == 3
        assert tokenizer.decode([i for i in ids if i != mask]).strip() == "def f(x)"


TEMPLATE = (
    "{% for message in messages %}<|endoftext|>{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|endoftext|>assistant: {% endif %}"
)


def test_a_chat_begins_with_the_system_message(tide, autoregressive: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model, page = tmp_path / "model", tmp_path / "trace.html"
    shutil.copytree(autoregressive, model)
    (model / "chat_template.jinja").write_text(TEMPLATE)
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = ("--architecture", "{name: huggingface, form: autoregressive}", "--max-new-tokens", 3, "--chat")
    for system in (None, "Be brief."):
        messages = [{"role": "user", "content": "Why?"}]
        messages = messages if system is None else [{"role": "system", "content": system}, *messages]
        rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        expected = tokenizer(rendered.removesuffix(" "), add_special_tokens=False)["input_ids"]
        given = () if system is None else ("--system", system)
        code, out, err = tide("generate", model, *plain, *given, "-p", "Why?", "--json", "--steps", "--trace", page)
        assert code == 0, err
        assert json.loads(out)["written"][0]["first"] == len(expected)
        assert f'"chat": true, "system": {json.dumps(system)},' in page.read_text()
    (model / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    )
    code, _, err = tide("generate", model, *plain, "--system", "Be brief.", "-p", "Why?")
    assert code == 2
    assert "--chat: the chat template of tokenizer" in err and "no system" in err
    assert "(the template may only refuse --system)" in err


# On a terminal.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(width: int = 100, height: int = 30) -> Console:
    return Console(file=Terminal(), force_terminal=True, width=width, height=height, color_system="truecolor")


def lines(console: Console, display: GenerationDisplay) -> list[str]:
    with console.capture() as captured:
        console.print(display.picture())
    return captured.get().splitlines()


class Watched(GenerationDisplay):
    """Keeps every picture that it draws."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, clock=iter(range(10**6)).__next__)
        self.pictures: list[list[str]] = []
        self.told = ""

    def _draw(self) -> None:
        super()._draw()
        self.pictures.append(
            lines(Console(width=self._console.width, height=self._console.height, no_color=True), self)
        )


def watched(tide, monkeypatch: pytest.MonkeyPatch, *given: object, width: int = 100, height: int = 30) -> Watched:
    console = terminal(width, height)
    display = Watched(console)
    monkeypatch.setattr(command, "console", lambda error: console)
    monkeypatch.setattr("tide_core.generation_display.GenerationDisplay", lambda shown: display)
    monkeypatch.setattr("tide_core.cli.generate.sys", type("Sys", (), {"stdout": Terminal(), "stdin": None}))
    code, _, err = tide("generate", *given)
    assert code == 0, err
    display.told = "".join(line for line in err.splitlines(True) if line.startswith("note"))
    return display


def test_tokens_appear_where_they_are_written(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    display = watched(tide, monkeypatch, *arguments("x = 12"), "-p", "start", "--max-new-tokens", 30)
    assert display.steps == len(display.pictures)
    first, last = display.pictures[0], display.pictures[-1]
    assert "start" in first[0]
    assert "░!" in first[1]
    assert "░x" not in last[1] and "x = 12" in last[1]
    assert "░" not in last[1]  # what follows the end of the turn is not waited for
    count = display.drafts[0].written()
    assert f"{count} tokens, {count + 2} forwards, {count / (count + 2):.1f} each" in last[2]
    assert "sure" in last[3] and "unsure" in last[3]


def test_several_texts_stand_beside_one_another_where_there_is_room(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ("-p", "first", "-p", "second")
    wide = watched(tide, monkeypatch, *arguments("abc"), *prompts, width=120).pictures[-1]
    assert "first" in wide[0] and "second" in wide[0]
    narrow = watched(tide, monkeypatch, *arguments("abc"), *prompts, width=60).pictures[-1]
    assert "first" in narrow[0] and "second" not in narrow[0]
    many = watched(tide, monkeypatch, *arguments("abc"), *[*prompts] * 5, width=60, height=18)
    assert all(len(picture) <= 18 for picture in many.pictures)
    assert "and 7 more" in many.pictures[-1][-1]


def test_a_long_text_is_shown_where_it_is_written(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(f"line_{n}" for n in range(60))
    display = watched(tide, monkeypatch, *arguments(text), "-p", "a", "--max-new-tokens", 999, height=14)
    assert all(len(picture) <= 14 for picture in display.pictures)
    assert any("line_59" in line for line in display.pictures[9])
    assert any("line_0" in line for line in display.pictures[-1])


def test_a_text_cannot_steer_the_terminal(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    assert printable("a\x1b[2Jb\r\n\tc\x9b\x07") == "a\ufffd[2Jb\n\tc\ufffd\ufffd"
    display = watched(tide, monkeypatch, *arguments("\x1b[2Jx"), "-p", "\x1b[1mp")
    assert not [line for picture in display.pictures for line in picture if "\x1b" in line]


def test_a_terminal_is_told_that_there_is_nothing_to_draw(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    display = watched(tide, monkeypatch, *arguments(sampler="earlier"), "-p", "a")
    assert (display.pictures, display.steps) == ([], 0)
    assert display.told == "note: sampler 'earlier' does not tell of its steps, so only its result can be shown\n"
    assert "note" not in watched(tide, monkeypatch, *arguments("abc"), "-p", "a").told


def test_no_live_draws_nothing(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(tide, monkeypatch, *arguments("abc"), "-p", "a", "--no-live").pictures == []


def test_on_a_pipe_nothing_is_animated(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = tide("generate", *arguments(), "-p", "a")
    assert (code, out) == (0, TEXT + "\n")
    assert "\x1b" not in err and "░" not in err


# What is refused.

ERRORS = {
    "empty": (["-p", ""], "--prompt '': is empty; give the text to go on from"),
    "no folder": (
        ["-p", "a", "--trace", "{tmp}/no/t.html"],
        "--trace {tmp}/no/t.html: there is no folder {tmp}/no; make",
    ),
    "a folder": (
        ["-p", "a", "--trace", "{tmp}"],
        "--trace {tmp}: is a folder; name a file in it, e.g. {tmp}/trace.html",
    ),
    "system alone": (["-p", "a", "--system", "b"], "--system is the system message of a chat: add --chat"),
    "steps alone": (["-p", "a", "--steps"], "--steps adds to the JSON record: add --json"),
    "infill, chat": (["-p", "a <gap>", "--infill", "--chat"], "--infill fills gaps of plain texts: leave --chat out"),
    "no gap": (
        ["-p", "a <gap:x>", "--infill"],
        "--prompt 'a <gap:x>': has no gap for --infill; write <gap> or <gap:12>",
    ),
    "empty gap": (["-p", "a <gap:0>", "--infill"], "--prompt 'a <gap:0>': a gap of no tokens; write <gap:1> or more"),
    "no template": (["-p", "a", "--chat"], "without --chat the prompt is continued as plain text"),
    "no template, system": (["-p", "a", "--chat", "--system", "b"], "has no chat template"),
}


def test_a_prompt_that_is_not_text(tide, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "character 3 is not text (bytes that are not UTF-8, or half a pair); convert the text"
    code, out, err = tide("generate", DEMO / "teacher", "-p", "ab\udcff")
    assert (code, out, err) == (2, "", f"--prompt: {message}\n")
    code, out, err = tide("generate", DEMO / "teacher", "-p", "ab", "--chat", "--system", "ab\ud800")
    assert (code, out, err) == (2, "", f"--system: {message}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff"), encoding="utf-8"))
    code, out, err = tide("generate", DEMO / "teacher")
    assert (code, out, err) == (2, "", f"--prompt: {message}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    code, out, err = tide("generate", DEMO / "teacher")
    assert (code, out, err) == (2, "", "--prompt '': is empty; give the text to go on from\n")


def test_a_prompt_that_holds_the_mask_token_is_refused() -> None:
    from tide_core.prompting import Prompting
    from tide_specs import ConfigError

    class Tokenizer:
        mask_token_id = 7

        def encode_prompt(self, messages: Any) -> list[int]:
            return [1, *[7 if character == "?" else 5 for message in messages for character in message.content]]

    tokenizer: Any = Tokenizer()
    assert Prompting().encode(tokenizer, "ab") == [1, 5, 5]
    assert Prompting(infill=True).encode(tokenizer, "a<gap:2>b") == [1, 5, 7, 7, 5]
    for prompting, prompt in ((Prompting(), "a?"), (Prompting(chat=True), "a?"), (Prompting(infill=True), "<gap>?")):
        with pytest.raises(
            ConfigError, match=r"contains the model's mask token, .* mark gaps as <gap:8> with --infill"
        ):
            prompting.encode(tokenizer, prompt)
    tokenizer.mask_token_id = None
    with pytest.raises(ConfigError, match="--infill: the model has no mask token"):
        Prompting(infill=True).encode(tokenizer, "<gap>")


@pytest.mark.parametrize("case", ERRORS)
def test_errors_come_before_a_model_loads(case: str, tide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tide_plugins.architectures.huggingface import HuggingFace

    def load(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(HuggingFace, "load", load)
    given, message = ERRORS[case]
    code, out, err = tide("generate", DEMO / "teacher", *(word.replace("{tmp}", str(tmp_path)) for word in given))
    assert (code, out) == (2, "")
    assert message.replace("{tmp}", str(tmp_path)) in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_cannot_be_written_is_told_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tide_specs import ConfigError

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "trace.html"
    monkeypatch.setattr(html_pages.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"trace\.html: cannot be written \(Permission denied\); name another file"):
        html_pages.require_writable("--trace", str(file), "trace.html")
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(ConfigError, match="cannot be written"):
        html_pages.write_page("--trace", str(file), "")


def test_a_trace_that_is_there_is_kept_until_the_new_one_is_written(tide, tmp_path: Path) -> None:
    page = tmp_path / "trace.html"
    page.write_text("old")
    html_pages.require_writable("--trace", str(page), "trace.html")
    assert page.read_text() == "old"
    code, _, _ = tide("generate", *arguments(tell="outside"), "-p", "x", "--trace", page)
    assert (code, page.read_text()) == (2, "old")


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom tide_core.cli.main import call\n"
        "assert call(['generate', '--help']) == 0\nassert not {'torch', 'transformers'} & set(sys.modules)\n"
        "import tide_core.generation_display, tide_core.denoising_trace, tide_core.generation_record\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert "--trace" in done.stdout
