from __future__ import annotations

import ast
import pickle
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pydantic import ValidationError

from tide_plugins.datasets import PythonStandardLibrary
from tide_plugins.datasets.functions import functions
from tide_specs import DataError, Example


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Example]]:
    dataset = PythonStandardLibrary()
    return {split: list(dataset.examples(split)) for split in ("train", "evaluation")}


def text(example: Example) -> str:
    return "".join(message.content for message in example.messages)


def test_there_is_enough_of_it(splits: dict[str, list[Example]]) -> None:
    assert 8000 <= len(splits["train"]) + len(splits["evaluation"]) <= 16000
    assert len(splits["evaluation"]) >= 200


def test_every_example_is_a_function_whose_body_is_to_be_written(splits: dict[str, list[Example]]) -> None:
    for example in splits["train"][::20] + splits["evaluation"]:
        prompt, body = example.messages
        (function,) = ast.parse(text(example)).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert example.is_text
        assert (prompt.trainable, body.trainable) == (False, True)
        assert 40 <= len(body.content.encode()) <= 2000
        assert any(line.startswith((" ", "\t")) for line in body.content.splitlines()), "the body keeps its indentation"
        ast.parse(prompt.content + "    pass\n")


def test_the_splits_share_neither_module_nor_body(splits: dict[str, list[Example]]) -> None:
    train, evaluation = splits["train"], splits["evaluation"]
    modules = [{example.key.split(":")[0] for example in split} for split in (train, evaluation)]
    assert not modules[0] & modules[1]
    bodies = [example.messages[1].content for example in train + evaluation]
    assert len(set(bodies)) == len(bodies)
    keys = [example.key for example in train + evaluation]
    assert len(set(keys)) == len(keys)


def test_tests_and_installed_packages_are_left_out(splits: dict[str, list[Example]]) -> None:
    modules = {example.key.split(":")[0] for split in splits.values() for example in split}
    parts = {part for module in modules for part in module.split("/")}
    assert not parts & {"test", "tests", "idlelib", "lib2to3", "site-packages"}
    assert "json" in parts


def test_the_source_tells_where_a_function_stands(splits: dict[str, list[Example]]) -> None:
    example = splits["train"][100]
    module, line = example.source.rsplit(":", 1)
    source = Path(sysconfig.get_paths()["stdlib"], module).read_text().splitlines()
    assert "def " in source[int(line) - 1]


def test_another_process_yields_the_same(splits: dict[str, list[Example]]) -> None:
    code = (
        "from tide_plugins.datasets import PythonStandardLibrary as P\n"
        "d = P(max_examples=50)\n"
        "print(d.fingerprint(), [e.key for e in d.examples('train')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    keys = [example.key for example in splits["train"][:50]]
    assert out.strip() == f"{PythonStandardLibrary(max_examples=50).fingerprint()} {keys}"


def test_options_choose_and_change_the_fingerprint() -> None:
    dataset = PythonStandardLibrary(max_examples=30, min_body=100, max_body=200, docstring_required=True, style="chat")
    examples = list(pickle.loads(pickle.dumps(dataset)).examples("train"))
    assert len(examples) == 30
    for example in examples:
        user, assistant = example.messages
        assert (user.role, assistant.role, assistant.trainable) == ("user", "assistant", True)
        assert '"""' in user.content or "'" in user.content
        assert 99 <= len(assistant.content.encode()) <= 200
    assert dataset.fingerprint() != PythonStandardLibrary().fingerprint()
    assert PythonStandardLibrary(max_length=64, packing=True).fingerprint() == PythonStandardLibrary().fingerprint()
    with pytest.raises(ValidationError, match="no function can fit"):
        PythonStandardLibrary(min_body=10, max_body=5)


def test_an_interpreter_without_sources_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataError, match="no source file under"):
        next(PythonStandardLibrary().examples("train"))


SOURCE = '''
import functools

@functools.cache
def plain(a,
          b):  # a comment
    # about the first statement

    return a + b

def one_line(): return 1

class Outer:
    class Inner:
        async def method(self):
            """Says what it does.

            At length.
            """
            text = """
            deep enough
            """
            return text

        def shallow(self):
            return """
not indented
"""

    def nested(self):
        def inside():
            return 2
        return inside

def only_documented():
    """Nothing else."""

if True:
    def conditional():
        "Doc."; return 3

    def fine():

        @functools.cache
        def decorated():
            pass
        return decorated
'''


def test_functions_are_cut_where_the_body_begins() -> None:
    found = {function.qualified_name: function for function in functions(SOURCE)}
    assert list(found) == ["plain", "Outer.Inner.method", "Outer.nested", "fine"]
    plain = found["plain"]
    assert plain.prompt == "@functools.cache\ndef plain(a,\n          b):  # a comment\n"
    assert plain.body == "    # about the first statement\n\n    return a + b\n"
    method = found["Outer.Inner.method"]
    assert method.prompt.startswith('async def method(self):\n    """Says')
    assert method.prompt.endswith('    At length.\n    """\n')
    assert method.body.startswith('    text = """\n    deep')
    assert found["fine"].body.startswith("\n    @functools.cache\n    def decorated")
