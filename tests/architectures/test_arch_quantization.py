"""Teachers in 4 and 8 bits: refused where they cannot be had, and near the full-precision model where they can."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_models import Make
from pydantic import ValidationError
from test_arch_loading import IDS, LENGTHS, write_llama

from tide_plugins.architectures.adapter import quantization
from tide_plugins.architectures.huggingface import HuggingFace
from tide_specs import Runtime, UnavailableError

BITS = ["4bit", "8bit"]


@pytest.fixture
def llama(folder: Path, tokenizer_folder: str) -> str:
    write_llama(folder, tokenizer_folder, hidden_size=128, intermediate_size=128)
    return str(folder)


def installed(monkeypatch: pytest.MonkeyPatch, *, package: bool, cuda: bool) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: object() if package else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)


@pytest.mark.parametrize("bits", BITS)
def test_what_is_missing_is_named_before_anything_loads(
    bits: str, llama: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = HuggingFace(model=llama, form="autoregressive", quantization=bits)
    installed(monkeypatch, package=False, cuda=True)
    with pytest.raises(UnavailableError, match=f"{bits} needs the package bitsandbytes; .*extra 'quantization'"):
        component.check(trust_remote_code=False)
    installed(monkeypatch, package=True, cuda=False)
    with pytest.raises(UnavailableError, match=f"{bits} needs CUDA, but torch sees no CUDA device"):
        component.check(trust_remote_code=False)
    installed(monkeypatch, package=True, cuda=True)
    component.check(trust_remote_code=False)
    with pytest.raises(UnavailableError, match="needs CUDA, but the model is to live on cpu"):
        component.load("teacher", runtime)


def test_it_is_for_pretrained_teachers(llama: str, make: Make, runtime: Runtime) -> None:
    component = HuggingFace(model=llama, form="bidirectional", quantization="4bit")
    assert component.serves("teacher") is None
    with pytest.raises(UnavailableError, match="holds weights in a few bits, which cannot be trained"):
        component.load("student", runtime)
    with pytest.raises(ValidationError, match="is for pretrained weights"):
        make(quantization="8bit")
    with pytest.raises(ValidationError, match="'4bit' or '8bit'"):
        HuggingFace(model=llama, form="bidirectional", quantization="2bit")


def test_options_that_the_library_is_given() -> None:
    pytest.importorskip("bitsandbytes", reason="needs the package bitsandbytes (extra 'quantization')")
    place = torch.device("cuda", 0)
    assert quantization.quantized_options(None, torch.bfloat16, place) == {}
    four = quantization.quantized_options("4bit", torch.bfloat16, place)
    assert four["device_map"] == {"": place}
    config: Any = four["quantization_config"]
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
    assert quantization.quantized_options("8bit", torch.bfloat16, place)["quantization_config"].load_in_8bit


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the package bitsandbytes")
@pytest.mark.parametrize(("bits", "tolerance"), [("4bit", 0.25), ("8bit", 0.05)])
def test_a_quantized_teacher_says_nearly_the_same(bits: str, tolerance: float, llama: str, runtime: Runtime) -> None:
    there = replace(runtime, device=torch.device("cuda", 0), dtype=torch.bfloat16)
    ids, lengths = IDS.cuda(), LENGTHS.cuda()

    def logits(**options: Any) -> torch.Tensor:
        model = HuggingFace(model=llama, form="autoregressive", **options).load("teacher", there)
        assert model.head().weight.dtype == torch.bfloat16
        with torch.no_grad():
            return model.head().logits(model.hidden(ids, ids, lengths)[:, 1:].flatten(0, 1))

    full, few = logits(), logits(quantization=bits)
    assert float((full - few).norm() / full.norm()) < tolerance
