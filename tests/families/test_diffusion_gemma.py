"""DiffusionGemma: its definition, the library's own forward pass, files, training and decoding."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from gemma_checkpoints import CANVAS, TEXT, TOKENIZER, Reference, component, ids, load, randomise, runtime, write
from safetensors.torch import load_file, save_file
from torch import Tensor

from tide_core.compatibility import require_mix
from tide_core.config import load_run
from tide_core.problems import RunFileError
from tide_core.registry import Registry
from tide_core.run import run
from tide_plugins.architectures.adapter.gemma_attention import CanvasAttention
from tide_plugins.architectures.adapter.gemma_layout import CanvasBehindCache, Canvases
from tide_plugins.architectures.diffusion_gemma import DiffusionGemma
from tide_plugins.attention.eager import Eager
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.evaluators import BitsPerByte, TeacherDivergence
from tide_specs import AttentionOptions, CheckpointError, ConfigError, Denoiser, Mix, UnavailableError

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("gemma")
    return folder, write(folder)


@pytest.fixture(scope="module")
def model(checkpoint: tuple[Path, dict[str, Tensor]]) -> Denoiser:
    return load(checkpoint[0])


def logits(model: Denoiser, hidden: Tensor) -> Tensor:
    head = model.head()
    raw = head.project(hidden)
    return head.softcap * torch.tanh(raw / head.softcap)


def predicted(model: Denoiser, noised: Tensor, clean: Tensor, lengths: Tensor, **rest: Any) -> Tensor:
    with torch.no_grad():
        return logits(model, model.hidden(noised, clean, lengths, **rest))


class TestTheDefinition:
    @pytest.mark.parametrize("canvases", [1, 2, 5])
    def test_every_canvas_is_read_behind_the_clean_tokens_before_it(self, model, checkpoint, canvases: int) -> None:
        length = canvases * CANVAS
        noised, clean = ids(2, length, 1), ids(2, length, 2)
        ours = predicted(model, noised, clean, torch.full((2,), length))
        reference = Reference(checkpoint[1])
        expected = torch.stack([reference.logits(x, y) for x, y in zip(noised, clean, strict=True)])
        torch.testing.assert_close(ours, expected, **CLOSE)
        assert expected.std() > 0.3  # far from a model that says nothing

    def test_padded_rows(self, model, checkpoint) -> None:
        noised, clean = ids(3, 20, 1), ids(3, 20, 2)
        lengths = torch.tensor([20, 8, 13])
        ours = predicted(model, noised, clean, lengths)
        for row, length in enumerate(lengths.tolist()):
            expected = Reference(checkpoint[1]).logits(noised[row, :length], clean[row, :length])
            torch.testing.assert_close(ours[row, :length], expected, **CLOSE)

    def test_packed_documents(self, model, checkpoint) -> None:
        noised, clean = ids(2, 24, 1), ids(2, 24, 2)
        cuts = [[0, 4, 24], [0, 12, 20]]
        documents = torch.stack([torch.bucketize(torch.arange(24), torch.tensor(cut[1:]), right=True) for cut in cuts])
        ours = predicted(model, noised, clean, torch.tensor([24, 20]), documents=documents)
        for row, cut in enumerate(cuts):
            for start, stop in pairwise(cut):
                expected = Reference(checkpoint[1]).logits(noised[row, start:stop], clean[row, start:stop])
                torch.testing.assert_close(ours[row, start:stop], expected, **CLOSE)

    def test_views_share_one_pass_of_the_encoder(self, model) -> None:
        views, clean = torch.stack([ids(2, 12, seed) for seed in (3, 4, 5)]), ids(2, 12, 2)
        lengths, calls = torch.tensor([12, 8]), []
        encoder = model.module.model.encoder.language_model
        hook = encoder.register_forward_hook(lambda *_: calls.append(1))
        with torch.no_grad():
            together = model.hidden_views(views, clean, lengths)
            assert len(calls) == 1
            apart = torch.stack([model.hidden(view, clean, lengths) for view in views])
        hook.remove()
        for row, length in enumerate((12, 8)):
            torch.testing.assert_close(together[:, row, :length], apart[:, row, :length], **CLOSE)

    def test_another_canvas_length(self, checkpoint) -> None:
        noised, clean = ids(1, 12, 1), ids(1, 12, 2)
        model = load(checkpoint[0], canvas_length=6)
        assert model.block_size == 6
        expected = Reference(checkpoint[1]).logits(noised[0], clean[0], canvas=6)
        torch.testing.assert_close(predicted(model, noised, clean, torch.tensor([12]))[0], expected, **CLOSE)

    def test_the_library_itself_agrees(self, model, checkpoint) -> None:
        from transformers import DiffusionGemmaForBlockDiffusion

        native: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(
            checkpoint[0], dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
        )
        noised, clean = ids(2, 16, 1), ids(2, 16, 2)
        ours = predicted(model, noised, clean, torch.full((2,), 16))
        for start in range(CANVAS, 16, CANVAS):
            inside = slice(start, start + CANVAS)
            with torch.no_grad():
                theirs = native(input_ids=clean[:, :start], decoder_input_ids=noised[:, inside]).logits
            torch.testing.assert_close(ours[:, inside].float(), theirs, **CLOSE)


class TestAttention:
    @pytest.mark.parametrize("inner", [Eager(), Sdpa()])
    @pytest.mark.parametrize("window", [None, 3, 40])
    @pytest.mark.parametrize("packed", [False, True])
    def test_canvases_are_their_layout(self, inner, window: int | None, packed: bool) -> None:
        documents = torch.tensor([[0] * 4 + [1] * 12, [0] * 8 + [1] * 8]) if packed else None
        layout = Canvases(length=16, lengths=torch.tensor([16, 10]), documents=documents, block=4, streams=2)
        self._compare(inner, layout, window, [32, 48])

    @pytest.mark.parametrize("window", [None, 3, 40])
    @pytest.mark.parametrize("lengths", [[7, 4], [0, 7], None])
    def test_a_canvas_behind_a_cache_is_its_layout(self, window: int | None, lengths: list[int] | None) -> None:
        filled = None if lengths is None else torch.tensor(lengths)
        layout = CanvasBehindCache(length=4, cached=7, cached_lengths=filled)
        self._compare(Eager(), layout, window, [4, 11])

    def _compare(self, inner, layout, window: int | None, sizes: list[int]) -> None:
        draw = torch.Generator().manual_seed(0)
        query = torch.randn(2, 4, sizes[0], 8, generator=draw, dtype=torch.float64)
        key, value = (torch.randn(2, 2, sizes[1], 8, generator=draw, dtype=torch.float64) for _ in range(2))
        out = CanvasAttention(inner=inner).attend(query, key, value, layout, AttentionOptions(scale=1.0, window=window))
        scores = query @ key.repeat_interleave(2, 1).mT
        seen = layout.dense(window=window)
        expected = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value.repeat_interleave(2, 1)
        counts = torch.ones(2, sizes[0], dtype=torch.bool)
        if layout.lengths is not None:  # what padded queries compute is never read
            counts = (torch.arange(sizes[0]) % layout.length) < layout.lengths[:, None]
        torch.testing.assert_close(out.transpose(1, 2)[counts], expected.transpose(1, 2)[counts])


class TestDecoding:
    def test_the_cache_changes_nothing(self, model, checkpoint) -> None:
        clean, canvas = ids(2, 14, 2), ids(2, CANVAS, 1)
        session = model.session(2)
        session.extend(clean[:, :7], torch.tensor([7, 3]))
        session.extend(clean[:, 7:11], torch.tensor([4, 0]))
        assert session.lengths.tolist() == [11, 3]
        for _ in range(2):
            found = logits(model, session.hidden(canvas))
            for row, length in enumerate((11, 3)):
                reference = Reference(checkpoint[1])
                expected = reference.canvas(canvas[row], reference.encode(clean[row, :length]), None)
                torch.testing.assert_close(found[row], expected, **CLOSE)
        session.keep(torch.tensor([1]))
        torch.testing.assert_close(logits(model, session.hidden(canvas[1:]))[0], found[1], **CLOSE)

    def test_nothing_is_needed_before_the_first_canvas(self, model, checkpoint) -> None:
        canvas = ids(1, CANVAS, 1)
        found = logits(model, model.session(1).hidden(canvas))[0]
        torch.testing.assert_close(found, Reference(checkpoint[1]).logits(canvas[0], canvas[0]), **CLOSE)

    def test_the_decoder_reads_its_own_prediction(self, model, checkpoint) -> None:
        clean, canvas, session = ids(1, 5, 2), ids(1, CANVAS, 1), model.session(1)
        session.extend(clean)
        before = logits(model, session.hidden(canvas))
        session.condition(session.recall(before[0])[None])
        found = logits(model, session.hidden(canvas))[0]
        reference = Reference(checkpoint[1])
        expected = reference.canvas(canvas[0], reference.encode(clean[0]), before[0])
        torch.testing.assert_close(found, expected, **CLOSE)
        assert (found - before[0]).abs().max() > 0.05

    def test_a_clean_token_is_encoded_without_what_follows(self, model) -> None:
        clean = ids(1, 12, 2)
        other = clean.clone()
        other[:, 6:] = ids(1, 6, 9)
        states = [model.session(1).extend(side)[:, :6] for side in (clean, other)]
        torch.testing.assert_close(*states, rtol=1e-6, atol=1e-7)


class TestTraining:
    def test_gradient_checkpointing_gives_the_same_gradients(self) -> None:
        gradients = []
        for on in (False, True):
            model = component(self_conditioning=1.0).load("student", runtime(gradient_checkpointing=on))
            randomise(model.module, 0)
            torch.manual_seed(0)
            self._loss(model).backward()
            gradients.append({name: p.grad for name, p in model.module.named_parameters() if p.requires_grad})
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)

    def test_self_conditioning_reaches_its_weights(self) -> None:
        model = component(self_conditioning=1.0).load("student", runtime())
        randomise(model.module, 0)
        self._loss(model).backward()
        weights = model.module.model.decoder.self_conditioning
        assert all(p.grad.abs().max() > 0 for p in weights.parameters())

    def test_self_conditioning_is_the_definition(self, tmp_path) -> None:
        weights = write(tmp_path)
        model = load(tmp_path, "student", self_conditioning=1.0)
        noised, clean = ids(1, 8, 1), ids(1, 8, 2)
        reference = Reference({name: value.double() for name, value in weights.items()})
        first = reference.logits(noised[0], clean[0])
        expected = reference.logits(noised[0], clean[0], recalled=first)
        found = predicted(model, noised, clean, torch.tensor([8]))[0].double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)

    def _loss(self, model: Denoiser) -> Tensor:
        noised, clean = ids(2, 8, 1), ids(2, 8, 2)
        hidden = model.hidden(noised, clean, torch.tensor([8, 8]))
        return torch.nn.functional.cross_entropy(model.head().logits(hidden.flatten(0, 1)), clean.flatten())

    @pytest.mark.parametrize("odd", [False, True])
    def test_bfloat16_is_close_to_float32(self, tmp_path, odd: bool) -> None:
        """Also where experts are too narrow for torch's grouped product in bfloat16 (12 numbers are 24 bytes)."""
        sizes = {**TEXT, "moe_intermediate_size": 12 if odd else 16}
        component(config={"text_config": sizes, "canvas_length": CANVAS}).load("teacher", runtime()).save(str(tmp_path))
        made = DiffusionGemma(model=str(tmp_path))
        noised, clean, lengths = ids(2, 12, 1), ids(2, 12, 2), torch.tensor([12, 8])
        precise, rough = (
            predicted(made.load("teacher", runtime(dtype=dtype)), noised, clean, lengths).float()
            for dtype in (torch.float32, torch.bfloat16)
        )
        assert (precise - rough)[0].abs().mean() < 0.1 * precise[0].abs().mean()

    def test_the_vision_tower_is_not_trained(self) -> None:
        model = component().load("student", runtime())
        still = {name for name, p in model.module.named_parameters() if not p.requires_grad}
        assert still
        assert all("vision" in name for name in still)
        facts, plan = model.facts(), component().plan()
        assert plan["parameters"] == facts["parameters"]
        assert plan["trainable_parameters"] == facts["trainable_parameters"] < facts["parameters"]

    def test_a_run_learns(self, tmp_path) -> None:
        registry = Registry.discover()
        outcome = run(load_run(_run_file(tmp_path), (), registry=registry).config, registry)
        lines = map(json.loads, (tmp_path / "out" / "events.jsonl").read_text().splitlines())
        seen = [e["metrics"]["loss/cross_entropy"] for e in lines if e["event"] == "metrics_logged"]
        assert sum(seen[-3:]) < 0.85 * sum(seen[:3])
        again = DiffusionGemma(model=str(outcome.student)).load("student", runtime())
        assert again.block_size == 8

    def test_another_family_learns_from_it(self, tmp_path) -> None:
        """Under uniform corruption, with the teacher's complementary views, through texts that both tokenize alike or not."""
        write(tmp_path / "teacher")
        llama = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
        student = {
            "name": "huggingface",
            "config": {**llama, "num_attention_heads": 2},
            "tokenizer_from": TOKENIZER,
            "form": "block_diffusion",
            "block_size": 8,
        }
        sections = {
            "teacher": {"name": "diffusion_gemma", "model": str(tmp_path / "teacher")},
            "student": student,
            "teacher_view": "complementary",
            "losses": ["cross_entropy", "reverse_calm"],
        }
        registry = Registry.discover()
        path = _run_file(tmp_path, **sections)
        config = load_run(path, ["training.steps=2", "training.learning_rate=1e-3"], registry=registry).config
        assert run(config, registry).status == "finished"
        lines = map(json.loads, (tmp_path / "out" / "events.jsonl").read_text().splitlines())
        seen = [e["metrics"]["loss/reverse_calm"] for e in lines if e["event"] == "metrics_logged"]
        assert len(seen) == 2
        assert all(value != 0 for value in seen)


def _run_file(folder: Path, **sections: Any) -> Path:
    import yaml

    student = {
        "name": "diffusion_gemma",
        "config": {"text_config": TEXT, "canvas_length": 8},
        "tokenizer_from": TOKENIZER,
        "self_conditioning": 0.5,
    }
    training = {"steps": 12, "batch_size": 4, "learning_rate": 2e-2, "log_every": 1, "workers": 0, "device": "cpu"}
    record = {
        "student": student,
        "corruption": "uniform",
        "losses": ["cross_entropy"],
        "data": {"name": "python_stdlib", "max_length": 64, "max_examples": 24},
        "observers": [],
        "output": str(folder / "out"),
        "training": training,
        **sections,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return path


class TestRefusals:
    def test_a_mask_token_is_refused_before_anything_loads(self, tmp_path) -> None:
        path = _run_file(tmp_path, corruption="absorbing", evaluation=["bits_per_byte"])
        registry = Registry.discover()
        loaded = load_run(path, (), registry=registry)
        with pytest.raises(RunFileError) as caught:
            require_mix(loaded.config, registry, loaded.source)
        message = " ".join(str(caught.value).split())
        assert "corruption 'absorbing' hides tokens behind a mask token, and DiffusionGemma has none" in message
        assert "`corruption: uniform`" in message
        assert "evaluation 'bits_per_byte' hides tokens behind a mask token" in message

    def test_an_evaluator_of_the_other_model_is_left_alone(self) -> None:
        other = component(canvas_length=8)
        mix = Mix(components={"evaluator": [BitsPerByte()]}, roles={"teacher": component(), "student": other})
        assert not list(component().conflicts(mix))
        assert list(other.conflicts(mix))
        compared = Mix(components={"evaluator": [TeacherDivergence()]}, roles=mix.roles)
        assert list(component().conflicts(compared))

    @pytest.mark.parametrize(
        ("config", "error", "message"),
        [
            ({"text_config": {**TEXT, "num_experts": None}}, ConfigError, "num_experts missing"),
            ({"text_config": {**TEXT, "hiden_size": 8}}, ConfigError, "hidden_size"),
            ({"text_config": TEXT, "model_type": "gemma"}, ConfigError, "must be 'diffusion_gemma'"),
            ({"text_config": TEXT, "tie_word_embeddings": False}, UnavailableError, "tie_word_embeddings"),
            (
                {"text_config": {**TEXT, "use_bidirectional_attention": "all"}},
                UnavailableError,
                "use_bidirectional_attention",
            ),
        ],
    )
    def test_a_configuration_that_cannot_be(self, config: dict[str, Any], error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            component(config=config).check(trust_remote_code=False)

    def test_another_family(self, tmp_path) -> None:
        write(tmp_path)
        settings = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**settings, "model_type": "gemma3_text"}))
        with pytest.raises(CheckpointError, match="model_type is 'gemma3_text', not 'diffusion_gemma'"):
            DiffusionGemma(model=str(tmp_path)).check(trust_remote_code=False)

    @pytest.mark.parametrize("slip", ["missing", "left over", "misshapen"])
    def test_wrong_weights_are_named(self, tmp_path, slip: str) -> None:
        weights, name = write(tmp_path), "model.decoder.layers.1.mlp.up_proj.weight"
        if slip == "missing":
            del weights[name]
        elif slip == "left over":
            name = "model.decoder.layers.9.mlp.up_proj.weight"
            weights[name] = torch.zeros(2, 2)
        else:
            weights[name] = torch.zeros(3, 24)
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=name):
            load(tmp_path)


def test_it_saves_what_the_library_reads(checkpoint, model, tmp_path) -> None:
    from transformers import DiffusionGemmaForBlockDiffusion

    model.save(str(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    assert set(weights) == set(checkpoint[1])
    assert all(torch.equal(weights[name], value) for name, value in checkpoint[1].items())
    _, report = DiffusionGemmaForBlockDiffusion.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    copy = DiffusionGemma(model=str(checkpoint[0])).saved_at(str(tmp_path)).load("teacher", runtime())
    noised, clean, lengths = ids(1, 12, 1), ids(1, 12, 2), torch.tensor([12])
    assert torch.equal(predicted(copy, noised, clean, lengths), predicted(model, noised, clean, lengths))


def test_a_shorter_canvas_is_saved_with_the_model(checkpoint, tmp_path) -> None:
    load(checkpoint[0], canvas_length=2).save(str(tmp_path))
    assert DiffusionGemma(model=str(tmp_path)).length_multiple == 2


def test_the_component_imports_no_torch() -> None:
    import subprocess

    code = "import sys, tide_plugins.architectures.diffusion_gemma, tide_plugins.samplers.canvas; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
