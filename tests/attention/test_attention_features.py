"""What models ask for beyond the layout: served exactly, or refused by name."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import torch
from attention_cases import CASES, LAYOUTS, inputs, looped, outcome, textbook, with_rows
from torch.nn.attention import flex_attention as flex_module

from tide_plugins.attention import BUNDLED, tide_attention_backends
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.flex import Flex
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.attention.xformers import Xformers
from tide_specs import AttentionBackend, AttentionLayout, AttentionOptions, Full, UnavailableError

SOME = [case for case in CASES if case[0] in ("full", "causal", "everything", "cached_ragged")]
SINKS = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)


def asked(feature: str, layout: AttentionLayout) -> AttentionOptions:
    generator = torch.Generator().manual_seed(3)
    shape = (1, 4, layout.query_length, layout.key_length)
    options = {
        "softcap": {"softcap": 0.5},
        "window": {"window": 3},
        "sinks": {"sinks": SINKS.clone().requires_grad_()},
        "bias": {"bias": torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()},
        "dropout": {"dropout": 0.5},
    }
    return AttentionOptions(scale=0.4, **options[feature])


@pytest.mark.parametrize(
    ("backend", "feature"),
    [(Eager(), "softcap"), (Eager(), "sinks"), (Eager(), "bias"), (Sdpa(tile=8), "bias")],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize(("name", "rows"), SOME)
def test_features_equal_the_textbook(name: str, rows: str, backend: AttentionBackend, feature: str) -> None:
    layout = with_rows(LAYOUTS[name], rows)
    options = asked(feature, layout)
    learned = [tensor for tensor in (options.sinks, options.bias) if tensor is not None]
    tensors, mask = [*inputs(layout), *learned], looped(layout, 3)
    expected = outcome(lambda q, k, v, *_: textbook(q, k, v, mask, options), tensors, layout)
    found = outcome(lambda q, k, v, *_: backend.attend(q, k, v, layout, options), tensors, layout)
    for want, have in zip(expected, found, strict=True):
        torch.testing.assert_close(have, want)


@pytest.mark.filterwarnings("ignore:.*flex_attention")
@pytest.mark.parametrize("feature", ["sinks", "bias", "softcap"])
@pytest.mark.parametrize(("name", "rows"), SOME)
def test_flex_features_equal_the_textbook(name: str, rows: str, feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    layout = with_rows(LAYOUTS[name], rows)
    options, mask = asked(feature, layout), looped(layout, 3)
    with torch.no_grad():
        tensors = inputs(layout)
        expected = outcome(lambda *t: textbook(*t, mask, options), tensors, layout, gradients=False)
        found = outcome(lambda *t: Flex().attend(*t, layout, options), tensors, layout, gradients=False)
    torch.testing.assert_close(found[0], expected[0])


def test_softcap_comes_before_the_bias() -> None:
    layout = Full(length=5)
    bias = 10 * torch.randn(1, 1, 5, 5, dtype=torch.float64)
    options = AttentionOptions(scale=3.0, softcap=0.5, bias=bias)
    tensors = inputs(layout)
    expected = textbook(*tensors, looped(layout, 3), options)
    torch.testing.assert_close(Eager().attend(*tensors, layout, options), expected)


@pytest.mark.parametrize("backend", [Eager(), Sdpa(tile=8)], ids=lambda b: b.name)
@pytest.mark.parametrize("name", ["full", "causal", "block_diffusion"])
def test_dropout_keeps_the_mean_and_drops_weights(backend: AttentionBackend, name: str) -> None:
    layout = LAYOUTS[name]
    tensors = [tensor.detach() for tensor in inputs(layout, rows=1)]
    exact = backend.attend(*tensors, layout, AttentionOptions(scale=0.4))
    torch.manual_seed(0)
    many = [tensor.expand(2000, -1, -1, -1) for tensor in tensors]
    dropped = backend.attend(*many, layout, AttentionOptions(scale=0.4, dropout=0.3))
    assert not torch.allclose(dropped[0], exact[0])
    torch.testing.assert_close(dropped.mean(0), exact[0], atol=0.12, rtol=0)


@pytest.mark.parametrize("backend", [cls() for cls in BUNDLED], ids=lambda b: b.name)
@pytest.mark.parametrize("feature", ["softcap", "window", "sinks", "bias", "dropout"])
def test_a_feature_is_listed_or_refused_by_name(backend: AttentionBackend, feature: str) -> None:
    layout = Full(length=6)
    if feature in backend.features:
        return
    able = ", ".join(sorted(cls.component_name() for cls in BUNDLED if feature in cls.features))
    message = f"attention backend '{backend.name}' does not serve '{feature}'; backends that do: {able}"
    with pytest.raises(UnavailableError) as caught:
        backend.attend(*inputs(layout), layout, asked(feature, layout))
    assert str(caught.value) == message


def test_an_unknown_layout_is_refused_by_name() -> None:
    class Spiral(Full):
        kind = "spiral"

    layout = Spiral(length=6)
    with pytest.raises(UnavailableError, match="'sdpa' does not serve the layout 'spiral'; no other known backend"):
        Sdpa().attend(*inputs(layout), layout, AttentionOptions(scale=1.0))


@pytest.mark.parametrize("backend", [Eager(), Sdpa()], ids=lambda b: b.name)
def test_tensors_unlike_the_layout_are_refused(backend: AttentionBackend) -> None:
    tensors = inputs(Full(length=6))
    with pytest.raises(ValueError, match="describes 7 queries and 7 keys, but the model passed 6 and 6"):
        backend.attend(*tensors, Full(length=7), AttentionOptions(scale=1.0))
    with pytest.raises(ValueError, match="3 key heads do not divide 4 query heads"):
        backend.attend(*inputs(Full(length=6), heads=(4, 3)), Full(length=6), AttentionOptions(scale=1.0))


def test_a_layout_subclass_that_changes_the_rule_is_computed_by_its_rule() -> None:
    """Only exact classes are lowered by structure: a subclass may show more than its parent."""
    base = type(LAYOUTS["block_causal"])

    class Reversed(base):
        def pattern(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return key // self.block >= query // self.block

    layout = Reversed(length=14, block=4)
    tensors = inputs(layout)
    found = Sdpa(tile=4).attend(*tensors, layout, AttentionOptions(scale=0.4))
    torch.testing.assert_close(found, Eager().attend(*tensors, layout, AttentionOptions(scale=0.4)))
    assert not torch.allclose(
        found[:, :, 0], Sdpa().attend(*tensors, LAYOUTS["block_causal"], AttentionOptions(scale=0.4))[:, :, 0]
    )


@pytest.mark.parametrize("backend", [Eager(), Sdpa(tile=8)], ids=lambda b: b.name)
def test_output_has_the_dtype_of_the_query(backend: AttentionBackend) -> None:
    layout = LAYOUTS["block_diffusion"]
    query, key, value = (tensor.detach().float() for tensor in inputs(layout))
    options = AttentionOptions(scale=0.4)
    assert backend.attend(query, key.bfloat16(), value.bfloat16(), layout, options).dtype == torch.float32
    assert backend.attend(query.bfloat16(), key, value, layout, options).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert backend.attend(query, key, value, layout, options).dtype == torch.float32


def test_availability_is_honest_about_devices_and_dtypes() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert Eager().available(cpu, torch.float64) is None
    assert Sdpa().available(cuda, torch.bfloat16) is None
    assert "no backward pass on cpu" in str(Flex().available(cpu, torch.float32))
    assert Flex().available(cuda, torch.bfloat16) is None
    assert "no CUDA kernel for torch.float64" in str(Flex().available(cuda, torch.float64))


def test_flex_refuses_to_train_on_cpu() -> None:
    layout = Full(length=6)
    with pytest.raises(UnavailableError, match=r"'flex' cannot train here: .*no backward pass on cpu.*use sdpa"):
        Flex().attend(*inputs(layout), layout, AttentionOptions(scale=1.0))


def test_xformers_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tide_plugins.attention.xformers.find_spec", lambda name: None)
    reason = Xformers().available(torch.device("cuda"), torch.float16)
    assert reason == "the package xformers is missing; pip install 'tide-distill[xformers]'"
    layout = Full(length=6)
    with pytest.raises(UnavailableError, match="'xformers' cannot run here: the package xformers is missing"):
        Xformers().attend(*inputs(layout), layout, AttentionOptions(scale=1.0))


def test_backends_are_found_without_importing_torch() -> None:
    code = "import sys, tide_plugins.attention as a; a.tide_attention_backends(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_backends_travel_to_worker_processes() -> None:
    for cls in tide_attention_backends():
        assert pickle.loads(pickle.dumps(cls())) == cls()
