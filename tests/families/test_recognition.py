"""Which family a checkpoint is of, and its tokenizer: read without the code that comes with it, and held against its model."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny_dream import END, MASK, SETTINGS, write_dream

from tide_plugins.architectures.families import FAMILIES, recognise
from tide_plugins.architectures.families.qwen import Dream
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.eager import Eager
from tide_specs import CheckpointError, DataError, Message, Runtime, UnavailableError

RUNTIME = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Eager())
MARKERS = {"model_type": None, "architectures": None, "auto_map": None}
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"


class Templated(Dream):
    """Dream with a chat template of its own."""

    chat_template: ClassVar[str | None] = TEMPLATE


class Other(HuggingFace):
    """An architecture that knows another list of families."""

    families: ClassVar[Any] = (Templated(),)


@pytest.fixture
def dream(tmp_path: Path) -> Path:
    return write_dream(tmp_path / "dream")


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    merged = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({name: value for name, value in merged.items() if value is not None}))


@pytest.mark.parametrize("kept", sorted(MARKERS))
def test_each_marker_alone_is_enough(kept: str) -> None:
    settings = {name: value for name, value in SETTINGS.items() if name == kept or name not in MARKERS}
    family = recognise(settings)
    assert family is not None
    assert family.name == "dream"
    assert recognise({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}) is None
    assert recognise({}) is None


def test_names_of_families_differ() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert all(family.title for family in FAMILIES)


@pytest.mark.parametrize("whole", [True, False], ids=["tokenizer.json", "vocab.json and merges.txt"])
def test_the_tokenizer_needs_no_code_and_no_warning(whole: bool, tmp_path: Path, capfd: Any) -> None:
    folder = write_dream(tmp_path / "dream", whole=whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer: Any = HuggingFace(model=str(folder)).tokenizer("teacher")
    assert (tokenizer.mask_token_id, tokenizer.vocabulary_size) == (258, 259)
    assert tokenizer.tokenizer.convert_ids_to_tokens([257, 258]) == [END, MASK]
    assert tokenizer.decode(tokenizer.tokenizer("Ein Satz.").input_ids) == "Ein Satz."
    assert "You are using a model of type" not in "".join(capfd.readouterr())


def test_a_saved_model_carries_no_reference_to_code(dream: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    HuggingFace(model=str(dream)).load("student", RUNTIME).save(str(tmp_path / "saved"))
    saved = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert "auto_map" not in saved
    assert saved["tokenizer_class"] != "DreamTokenizer"
    shutil.copy(tmp_path / "saved" / "tokenizer_config.json", dream)
    again = HuggingFace(model=str(tmp_path / "saved"))
    assert again.family is not None
    assert again.tokenizer("student").mask_token_id == 258
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "saved" / name, alone)
    assert AutoTokenizer.from_pretrained(alone).mask_token_id == 258


def test_a_template_is_added_where_there_is_none(tmp_path: Path) -> None:
    plain = write_dream(tmp_path / "plain", added=(END, MASK, "<|im_start|>"))
    own = write_dream(
        tmp_path / "own", added=(END, MASK, "<|im_start|>"), chat_template="{{ messages[0].content }}" + END
    )
    tokenizer: Any = Other(model=str(plain)).tokenizer("student")
    assert tokenizer.tokenizer.chat_template == TEMPLATE
    ids = tokenizer.encode_prompt([Message(role="user", content="hi")])
    assert ids[0] == 259
    assert tokenizer.end_of_turn_token_id == 257
    kept: Any = Other(model=str(own), form="autoregressive")
    with pytest.raises(DataError):  # the checkpoint's own template loses messages, and stays the checkpoint's
        kept.tokenizer("teacher")


def test_without_a_template_the_familys_token_ends_a_turn(dream: Path) -> None:
    tokenizer: Any = HuggingFace(model=str(dream)).tokenizer("student")
    assert tokenizer.tokenizer.chat_template is None
    assert tokenizer.end_of_turn_token_id == 257
    assert tokenizer.tokenizer.eos_token_id == 256


def test_a_mask_token_that_is_missing_names_the_remedy(tmp_path: Path) -> None:
    folder = write_dream(tmp_path / "dream", added=(END, "<|other|>"))
    with pytest.raises(DataError, match=r"no token '<\|mask\|>', the mask token of Dream 7B.*`mask_token`"):
        HuggingFace(model=str(folder)).tokenizer("student")
    assert HuggingFace(model=str(folder), mask_token="<|other|>").tokenizer("student").mask_token_id == 258


def test_mask_ids_that_disagree_are_named(dream: Path) -> None:
    change(dream, mask_token_id=200)
    with pytest.raises(
        CheckpointError, match=r"mask_token_id 200, but the tokenizer's mask token '<\|mask\|>' has id 258"
    ):
        HuggingFace(model=str(dream)).tokenizer("student")
    change(dream, mask_token_id=None)
    assert HuggingFace(model=str(dream)).tokenizer("student").mask_token_id == 258


def test_a_tokenizer_larger_than_the_model_is_another_models(tmp_path: Path) -> None:
    folder = write_dream(tmp_path / "dream", added=(END, MASK, *(f"<{n}>" for n in range(10))))
    with pytest.raises(CheckpointError, match=r"has 269 ids, but the model's vocabulary has 264 rows"):
        HuggingFace(model=str(folder)).load("teacher", RUNTIME)


def test_a_tokenizer_from_elsewhere_is_held_against_the_model(dream: Path, tmp_path: Path) -> None:
    elsewhere = write_dream(tmp_path / "elsewhere", added=(MASK, END))
    component = HuggingFace(model=str(dream), tokenizer_from=str(elsewhere))
    with pytest.raises(CheckpointError, match=r"mask_token_id 258, but the tokenizer's mask token .* has id 257"):
        component.tokenizer("student")


def test_a_model_of_its_own_may_read_with_a_familys_tokenizer(dream: Path) -> None:
    config = {"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    component = HuggingFace(config=config, tokenizer_from=str(dream), form="bidirectional")
    assert component.tokenizer("student").mask_token_id == 258
    assert component.load("student", RUNTIME).mask_token_id == 258


def test_a_hub_name_whose_copy_is_on_this_disk(dream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    repository = tmp_path / "cache" / "models--org--dream"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(dream, repository / "snapshots" / "abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    component = HuggingFace(model="org/dream")
    assert component.family is not None
    assert (component.denoiser_form, component.native_shift) == ("bidirectional", "right")


def test_an_unknown_family_names_those_near_it(dream: Path) -> None:
    change(dream, model_type="Dreem", architectures=["DreamModell"], auto_map=None)
    with pytest.raises(CheckpointError, match=r"knows no model_type 'Dreem' \(near it: Dream 7B"):
        HuggingFace(model=str(dream), form="bidirectional").load("teacher", RUNTIME)
    change(dream, model_type="qwen33", architectures=None)
    with pytest.raises(CheckpointError, match=r"near it: .*'qwen3'"):
        HuggingFace(model=str(dream), form="bidirectional").check(trust_remote_code=False)


def test_unknown_code_is_hinted_at_and_not_run(dream: Path) -> None:
    remote = {"AutoConfig": "configuration_dream.XConfig", "AutoModel": "modeling_dream.XModel"}
    change(dream, model_type="x", architectures=["XModel"], auto_map=remote)
    component = HuggingFace(model=str(dream), form="bidirectional")
    with pytest.raises(UnavailableError, match=r"trust_remote_code: true"):
        component.load("teacher", RUNTIME)
    with pytest.raises(DataError, match="set trust_remote_code if you trust that"):
        component.tokenizer("teacher")


def test_a_tokenizers_code_runs_where_the_run_allows_it(dream: Path) -> None:
    change(dream, model_type="qwen2", architectures=["Qwen2ForCausalLM"], auto_map=None)
    component = HuggingFace(model=str(dream), form="bidirectional")
    with pytest.raises(SystemExit, match="this code ran"):
        component.trusted_tokenizer("teacher")
