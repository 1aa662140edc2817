"""Denoising a canvas of random tokens, under a bound on entropy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sampler_toys import EOT, FIRST, TableDenoiser

from tide_plugins.samplers import CanvasSampler, canvas_decoding, canvas_prediction
from tide_plugins.samplers.canvas_prediction import accepted, draw, entropy
from tide_specs import ConfigError, SamplingStep

sys.path.append(str(Path(__file__).parents[1] / "families"))
import gemma_checkpoints as gemma

PROMPTS = [[3, 4, 5], [4], [5, 5, 3, 4, 3]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gemma")
    gemma.write(made)
    return made


class TestOneStep:
    @pytest.mark.parametrize("bound", [0.0, 0.5, 2.0, 100.0])
    def test_the_lowest_entropies_are_accepted_while_their_sum_without_the_largest_fits(self, bound: float) -> None:
        draws = np.random.default_rng(0)
        values, open_ = draws.exponential(size=(20, 9)), draws.random((20, 9)) < 0.7
        found = accepted(torch.tensor(values), torch.tensor(open_), bound)
        for row in range(20):
            chosen: list[int] = []
            for place in sorted(np.flatnonzero(open_[row]), key=lambda i: values[row, i]):
                if sum(values[row, i] for i in chosen) > bound:
                    break
                chosen.append(place)
            assert sorted(chosen) == found[row].nonzero()[:, 0].tolist()
            assert chosen or not open_[row].any()

    def test_entropy(self) -> None:
        logits = torch.tensor([[0.0, 1.0, 2.0], [1.0, -torch.inf, 1.0]])
        p = np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()
        assert entropy(logits).tolist() == pytest.approx([-(p * np.log(p)).sum(), np.log(2)], rel=1e-6)

    def test_drawing_by_inversion_follows_the_distribution(self) -> None:
        logits = torch.tensor([[0.5, -torch.inf, 2.0, 0.0]])
        count = 20_000
        numbers = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        found = draw(logits.expand(count, -1), numbers).bincount(minlength=4) / count
        torch.testing.assert_close(found, logits.softmax(1)[0], atol=0.012, rtol=0)
        assert found[1] == 0
        assert draw(logits, torch.tensor([1 - 2**-53], dtype=torch.float64)).item() == 3


def argmax_of(logits: torch.Tensor, *_: Any) -> torch.Tensor:
    """In place of a random draw: the likeliest token."""
    return logits.argmax(dim=-1)


class Lattice:
    """In place of random tokens: a fixed, changing sequence of canvases, the same for the library and for us."""

    def __init__(self, width: int, columns: int) -> None:
        self.width, self.columns, self.calls = width, columns, 0

    def next(self, rows: int) -> torch.Tensor:
        self.calls += 1
        return ((torch.arange(self.width) * 7 + 13 * self.calls) % self.columns).expand(rows, -1).clone()


class TestTheLibrary:
    @pytest.mark.parametrize(
        ("options", "canvases"),
        [
            ({"max_denoising_steps": 4, "entropy_bound": 0.5}, 1),
            ({"max_denoising_steps": 4, "entropy_bound": 3.0, "t_max": 0.3, "t_min": 0.1}, 3),
            (
                {
                    "max_denoising_steps": 3,
                    "entropy_bound": 1e-4,
                    "stability_threshold": 0,
                    "confidence_threshold": 2.0,
                },
                2,
            ),
            ({"max_denoising_steps": 4, "entropy_bound": 9.0, "confidence_threshold": 4.0}, 2),
        ],
    )
    def test_generation_is_the_library_s_step_by_step(self, folder, monkeypatch, options, canvases: int) -> None:
        """Draws and random tokens replaced by the same fixed ones on both sides: everything else is compared."""
        prompt, width = gemma.ids(1, 9, 5), gemma.CANVAS
        expected, passes = self._library(folder, monkeypatch, prompt, canvases * width, options)
        model = gemma.load(folder)
        model.tokenizer.end_of_turn_token_id = -1
        lattice = Lattice(width, model.head().weight.shape[0])
        monkeypatch.setattr(canvas_decoding.Noise, "tokens", lambda self, rows, width: lattice.next(len(rows)))
        monkeypatch.setattr(canvas_prediction, "draw", argmax_of)
        result = CanvasSampler(**options).sample(model, prompt.tolist(), max_new_tokens=canvases * width)
        assert result.ids[0] == expected
        assert result.forwards == passes + canvases  # the encoder's passes: the prompt, and all canvases but the last
        assert len(set(expected)) > 2

    def _library(
        self, folder: Path, monkeypatch: Any, prompt: torch.Tensor, count: int, options: dict[str, Any]
    ) -> tuple[list[int], int]:
        from transformers import DiffusionGemmaForBlockDiffusion
        from transformers.models.diffusion_gemma import generation_diffusion_gemma as library

        native: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
        )
        width = gemma.CANVAS
        lattice = Lattice(width, native.lm_head.weight.shape[0])
        monkeypatch.setattr(
            library.EntropyBoundSampler, "initialize_canvas", lambda self, batch_size, device: lattice.next(batch_size)
        )
        monkeypatch.setattr(torch, "multinomial", lambda p, num_samples: p.argmax(-1, keepdim=True))
        # The random tokens of a step that turns out to be a canvas's last start our next canvas; the library draws new ones.
        native.model.encoder.register_forward_hook(lambda *_: setattr(lattice, "calls", max(0, lattice.calls - 1)))
        passes: list[int] = []
        native.model.decoder.register_forward_hook(lambda *_: passes.append(1))
        settings = {"t_min": 0.4, "t_max": 0.8, "stability_threshold": 1, "confidence_threshold": 0.005, **options}
        bound = settings.pop("entropy_bound")
        out = native.generate(
            prompt,
            max_new_tokens=count,
            sampler_config=library.EntropyBoundSamplerConfig(entropy_bound=bound),
            eos_token_id=None,
            pad_token_id=None,
            **settings,
        )
        monkeypatch.undo()
        return out.sequences[0, prompt.shape[1] :].tolist(), len(passes)


class TestText:
    def test_who_watches_ends_with_the_text(self, folder) -> None:
        model, steps = gemma.load(folder), list[SamplingStep]()
        model.tokenizer.end_of_turn_token_id = -1
        prompts = [[3, 4, 5, 9, 11], [7]]
        result = CanvasSampler().sample(model, prompts, max_new_tokens=10, seed=1, watch=steps.append)
        texts: list[dict[int, int]] = [{}, {}]
        for step in steps:
            assert step.positions
            assert all(0 <= score <= 1 for score in step.scores)
            texts[step.row].update(zip(step.positions, step.tokens, strict=True))
        for prompt, text, ids in zip(prompts, texts, result.ids, strict=True):
            assert [text[place] for place in range(len(prompt), len(prompt) + 10)] == ids
        assert [step.forwards for step in steps] == sorted(step.forwards for step in steps)
        assert steps[-1].forwards <= result.forwards

    def test_positions_are_those_that_go_through_the_model(self, folder) -> None:
        model, seen = gemma.load(folder), list[int]()
        model.tokenizer.end_of_turn_token_id = -1
        for part in (model.module.model.encoder.language_model, model.module.model.decoder):
            part.embed_tokens.register_forward_hook(lambda _, given, __: seen.append(given[0].numel()))
        result = CanvasSampler().sample(model, [[3, 4, 5], [7]], max_new_tokens=9)
        assert (result.positions, result.forwards) == (sum(seen), len(seen))

    def test_a_row_does_not_depend_on_the_other_rows(self, folder) -> None:
        model, sampler = gemma.load(folder), CanvasSampler(entropy_bound=1.0)
        together = sampler.sample(model, PROMPTS, max_new_tokens=9, seed=2).ids
        assert together == [sampler.sample(model, [prompt], max_new_tokens=9, seed=2).ids[0] for prompt in PROMPTS]

    def test_self_conditioning_changes_the_text(self, folder) -> None:
        model = gemma.load(folder)
        with_it, without = (
            CanvasSampler(self_conditioning=on, t_max=0.0, t_min=0.0).sample(model, PROMPTS, max_new_tokens=12).ids
            for on in (True, False)
        )
        assert with_it != without

    def test_ordinary_noise_is_what_the_uniform_corruption_draws(self, folder) -> None:
        from tide_plugins.corruptions.vocabulary import ordinary_ids

        model = gemma.load(folder)
        ordinary = set(ordinary_ids(model.tokenizer, torch.device("cpu")).tolist())
        noise = canvas_decoding.Noise(CanvasSampler(noise="ordinary"), model, [[1]], 0)
        assert set(noise.tokens([0], 4000).flatten().tolist()) <= ordinary
        everything = canvas_decoding.Noise(CanvasSampler(), model, [[1]], 0).tokens([0], 20_000)
        assert set(everything.flatten().tolist()) - ordinary


class TestOtherModels:
    """Any block model that learned from random tokens, a table in place of one."""

    def test_the_prompt_s_last_block_is_filled_up(self) -> None:
        denoiser = TableDenoiser("block_diffusion", 9, 4, cached=True, never=(EOT,))
        result = CanvasSampler().sample(denoiser, [[3, 4, 5, 6, 7], [3]], max_new_tokens=6)
        assert [len(ids) for ids in result.ids] == [6, 6]
        assert all(token >= FIRST or token == 2 for ids in result.ids for token in ids)  # neither mask nor end of turn

    def test_a_stable_and_confident_canvas_is_finished_early(self) -> None:
        class Certain(TableDenoiser):
            """Predicts the same whatever it reads."""

            def sees(self, *_: Any) -> tuple[int, ...]:
                return ()

        denoiser = Certain("block_diffusion", 9, 8, cached=True, never=(EOT,), sharpness=100.0)

        def forwards(**options: Any) -> int:
            return CanvasSampler(**options).sample(denoiser, [[]], max_new_tokens=8).forwards

        assert forwards() == 2
        assert forwards(stability_threshold=0) == 1
        assert forwards(stability_threshold=3) == 4
        assert forwards(confidence_threshold=0.0) == 8  # no more steps than tokens
        assert forwards(confidence_threshold=0.0, max_denoising_steps=5) == 5

    def test_a_text_ends_with_its_turn(self) -> None:
        denoiser = TableDenoiser("block_diffusion", 9, 4, cached=True, wants_end_at=[6])
        result = CanvasSampler().sample(denoiser, [[3, 4, 5], [3, 4, 5, 4, 5, 4]], max_new_tokens=12)
        assert [len(ids) for ids in result.ids] == [3, 0]

    def test_what_it_cannot_decode_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="this bidirectional model has no blocks; use sampler 'block'"):
            CanvasSampler().sample(TableDenoiser("bidirectional", 9), [[3]], max_new_tokens=4)
        with pytest.raises(ConfigError, match="decodes with a cache"):
            CanvasSampler().sample(TableDenoiser("block_diffusion", 9, 4), [[3]], max_new_tokens=4)

    def test_the_temperature_falls(self) -> None:
        with pytest.raises(ValidationError, match=r"t_max 0\.1 is below t_min 0\.4"):
            CanvasSampler(t_max=0.1)
