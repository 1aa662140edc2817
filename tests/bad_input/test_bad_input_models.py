"""Models, tokenizers and vocabularies that cannot be used: said before any weights load, with the file at fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_files import DEMO, student, teacher

ALONE = {"teacher": None, "losses": ["cross_entropy"]}
SAVED = {"student": {"name": "huggingface", "model": "model"}, **ALONE}


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def configured(**changes: object):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def write(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


DAMAGES = {
    "truncated weights": (cut, "model.safetensors: ", "bytes, but its header promises "),
    "weights that are none": (
        write("model.safetensors", "hello"),
        "model.safetensors: ",
        "truncated or not a safetensors file; copy or download it again",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "model.safetensors: missing; ",
        "a model directory needs config.json and *.safetensors",
    ),
    "pickled weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        "model.safetensors: missing; ",
        "pytorch_model.bin is a pickle, which TIDE never loads: convert it to safetensors",
    ),
    "a shard is missing": (
        write("model.safetensors.index.json", '{"weight_map": {"a": "model-1.safetensors"}}'),
        "model-1.safetensors: missing",
        "model.safetensors.index.json lists 1 files",
    ),
    "no configuration": (
        lambda folder: (folder / "config.json").unlink(),
        "config.json: missing; ",
        "a model directory needs config.json and *.safetensors",
    ),
    "broken configuration": (
        write("config.json", '{"model_type":'),
        "config.json: not readable as JSON (",
        "; copy or download",
    ),
    "a list as configuration": (
        write("config.json", "[]"),
        "config.json: not a JSON object; ",
        "copy or download it again",
    ),
    "unknown model type": (
        configured(model_type="foo"),
        "config.json: transformers ",
        " knows no model_type 'foo'; correct it, or",
    ),
    "code of its own": (
        configured(model_type="foo", auto_map={"AutoConfig": "configuration_foo.FooConfig"}),
        "model_type 'foo' is not part of transformers; ",
        "runs only with `trust_remote_code: true`. Read that code before you allow it",
    ),
    "broken record": (write("tide.json", "{"), "tide.json: not readable as JSON (", "; save the model again"),
    "a list as record": (write("tide.json", "[]"), "tide.json: not a JSON object; ", "save the model again"),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "cannot load a tokenizer from '",
        "give a directory that holds tokenizer.json, a hub name, or a GGUF file",
    ),
    "broken tokenizer": (
        write("tokenizer.json", "{"),
        "cannot load a tokenizer from '",
        "give a directory that holds tokenizer.json, a hub name, or a GGUF file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_directory(damage: str, refused, model: Path) -> None:
    harm, fault, remedy = DAMAGES[damage]
    harm(model)
    message = refused(**SAVED)
    assert message.startswith("run.yaml:1: student: ")
    assert str(model) in message
    assert fault in message
    assert remedy in message
    assert "\n" not in message


def test_the_students_damage_is_found_before_the_teacher_loads(refused, model: Path) -> None:
    cut(model)
    assert "its header promises" in refused(student=SAVED["student"], teacher=teacher())


def test_weights_of_another_size_are_named(tide, loads: list[str], model: Path) -> None:
    configured(hidden_size=64)(model)
    code, out, err = tide("run", **SAVED)
    assert (code, out) == (2, "")
    assert (
        f"run.yaml:1: student: {model}: weight 'model.embed_tokens.weight' is [2048, 32] where config.json makes it"
        in err
    )
    assert "weights and configuration belong to different models" in err


OPTIONS = {
    "no such folder": (
        {"model": "./nowhere", "form": "bidirectional"},
        "./nowhere: no such directory; name one that holds",
    ),
    "a file": (
        {"model": "run.yaml", "form": "bidirectional"},
        "run.yaml: is a file; name a directory, a hub name, or a .gguf file",
    ),
    "no such GGUF file": ({"model": "./x.gguf", "form": "bidirectional"}, "./x.gguf: no such file"),
    "no such tokenizer": (
        {**student(), "tokenizer_from": "./nowhere"},
        "./nowhere: no such directory; name one that holds",
    ),
    "no such package": (
        {**student(), "tokenizer_from": "package:qwem"},
        "no packaged tokenizer 'qwem'; there are: qwen, ",
    ),
    "misspelt model type": (
        {**student(), "config": {"model_type": "qwen33"}},
        "config.model_type: transformers knows no model type 'qwen33'; did you mean qwen3",
    ),
    "misspelt size": (
        {**student(), "config": {"model_type": "qwen3", "hiden_size": 32}},
        "config.hiden_size: model type 'qwen3' has no such option; did you mean 'hidden_size'?",
    ),
    "unknown mask token": (
        student(mask_token="[NO]"),
        "mask token '[NO]' is not in the vocabulary; name an existing token, or let one be added",
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_name_nothing(case: str, refused) -> None:
    options, message = OPTIONS[case]
    found = refused(student={"name": "huggingface", **options}, **ALONE)
    assert found.startswith("run.yaml:1: student: ")
    assert message in found


def test_sizes_of_the_wrong_type_are_named(refused) -> None:
    message = refused("--set", "student.config.hidden_size=wide", **ALONE)
    assert message.startswith("run.yaml:1: student: config of model_type 'qwen3': ")
    assert "Field 'hidden_size' expected int, got str (value: 'wide')" in message


def test_vocabularies_that_differ_under_shared_vocabulary(refused) -> None:
    message = refused("--set", "alignment=shared_vocabulary", "--set", "losses=[cross_entropy, forward_kl]")
    assert message == (
        "--set alignment=shared_vocabulary: alignment: the vocabularies differ: id 3 is b' ' for the student and b'\"' for the "
        "teacher (sizes 2048 and 2048); use alignment 'byte_chunks', which takes any two tokenizers"
    )


def test_a_mask_token_that_the_data_holds(refused, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "d"}\n')
    data = {"name": "jsonl", "path": "train.jsonl", "max_length": 64, "evaluation_fraction": 0}
    message = refused(student=student(mask_token="d"), data=data, **ALONE)
    assert "train.jsonl:2" in message
    assert "mask token" in message
    assert "'d'" in message


@pytest.fixture
def chat(tmp_path: Path):
    """``chat(side, template)`` -> a copy of a tokenizer with a chat template, beside the run file."""

    def made(side: str, template: str) -> str:
        folder = tmp_path / f"{side}-tokenizer"
        shutil.copytree(DEMO / f"{side}-tokenizer", folder)
        (folder / "chat_template.jinja").write_text(template)
        return str(folder)

    return made


PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
REVERSED = "{% for m in messages | reverse %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
TWICE = "{% for m in messages %}{{ m.content }}{{ m.content }}\n{% endfor %}"
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (REVERSED, "reorders messages: it renders roles user, assistant in the order [2, 1]"),
        (NO_SYSTEM, "drops message 1 (role 'system') of a conversation with roles system, user, assistant"),
        (TWICE, "repeats message 1 (role 'user') of a conversation with roles user, assistant"),
        (STRICT, "refuses a conversation with roles system, user, assistant: no system role"),
    ],
)
def test_chat_templates_that_tell_another_conversation(
    template: str, fault: str, refused, chat, tmp_path: Path
) -> None:
    turns = [{"role": role, "content": role[::-1]} for role in ("system", "user", "assistant")]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    message = refused(
        student=student(tokenizer_from=chat("student", PLAIN)),
        teacher=teacher(tokenizer_from=chat("teacher", template)),
        data={"name": "jsonl", "path": "train.jsonl", "max_length": 64, "evaluation_fraction": 0},
    )
    assert f"teacher-tokenizer' {fault}" in message
    # What is wrong with every conversation is found without one.
    assert "train.jsonl:1: " in message or message.startswith("run.yaml:15: teacher: ")
