"""What a watcher is told, and what is counted."""

import pytest
import torch
from sampler_toys import EOT, FORMS, MASK, POLICIES, PROMPTS, TableDenoiser
from torch.utils._python_dispatch import TorchDispatchMode

from tide_plugins.samplers import AutoregressiveSampler, BlockSampler, WindowSampler
from tide_specs.testing.toys import toy_denoiser

SAMPLERS = [*(BlockSampler(**policy, temperature=1.0) for policy in POLICIES), WindowSampler(window=3)]


@pytest.mark.parametrize(("form", "block"), FORMS)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_steps_replay_to_the_answer(sampler, form, block):
    denoiser, steps = TableDenoiser(form, 7, block, sharpness=2.0), []
    found = sampler.sample(denoiser, PROMPTS, max_new_tokens=9, seed=2, watch=steps.append)
    assert found == sampler.sample(denoiser, PROMPTS, max_new_tokens=9, seed=2)
    texts = [[MASK] * 9 for _ in PROMPTS]
    for step in steps:
        for place, token, score in zip(step.positions, step.tokens, step.scores, strict=True):
            before = texts[step.row][place - len(PROMPTS[step.row])]
            assert (before == MASK) != (token == MASK), "a step writes what is masked and takes back what is written"
            texts[step.row][place - len(PROMPTS[step.row])] = token
            assert 0.0 <= score <= 1.0
    for text, ids in zip(texts, found.ids, strict=True):
        assert [*text, EOT][: [*text, EOT].index(EOT)] == ids
    forwards = [step.forwards for step in steps]
    assert forwards == sorted(forwards)
    assert forwards[-1] == found.forwards


@pytest.mark.parametrize("kind", ["rescaled", "confidence"])
def test_revision_is_seen(kind):
    denoiser, steps = TableDenoiser("bidirectional", 7, never=(1,)), []
    sampler = BlockSampler(revise=kind, revision=1.0, steps_per_block=8)
    found = sampler.sample(denoiser, [[3]], max_new_tokens=16, watch=steps.append)
    assert any(MASK in step.tokens for step in steps)
    assert len(steps) == found.forwards == 8
    masked = 16
    for step in steps:
        written = sum(token != MASK for token in step.tokens)
        masked -= written - (len(step.tokens) - written)
        assert masked == 16 - 2 * step.forwards, "two more in each step, whatever is taken back"


@pytest.mark.parametrize("cached", [False, True])
def test_autoregressive_steps_replay_to_the_answer(cached):
    denoiser, steps = TableDenoiser("autoregressive", 7, cached=cached), []
    found = AutoregressiveSampler(temperature=1.0).sample(denoiser, PROMPTS, max_new_tokens=9, watch=steps.append)
    texts = [list(prompt) for prompt in PROMPTS]
    for step in steps:
        assert step.positions == [len(texts[step.row])]
        texts[step.row] += step.tokens
    for text, prompt, ids in zip(texts, PROMPTS, found.ids, strict=True):
        assert [*text[len(prompt) :], EOT][: [*text[len(prompt) :], EOT].index(EOT)] == ids
        assert len(ids) == 9 or text[-1] == EOT


def test_prompts_are_encoded_in_one_pass_and_finished_blocks_once():
    denoiser = TableDenoiser("block_diffusion", 7, 4, never=(1,), cached=True)
    found = BlockSampler(tokens_per_step=2).sample(denoiser, [[3] * 8, [4] * 5], max_new_tokens=8)
    # The whole blocks of the prompts, then every finished block that another one follows in its row.
    assert denoiser.extended == [(2, 8), (2, 4), (1, 4)]
    assert denoiser.calls == [(2, 4)] * 4 + [(1, 4)]
    assert found.forwards == 3 + 5
    assert found.positions == 2 * 8 + 2 * 4 + 4 + 4 * 8 + 4


def test_positions_of_a_whole_reading():
    whole = BlockSampler(tokens_per_step=2).sample(
        TableDenoiser("bidirectional", 7, never=(1,)), [[3], [3, 4, 5]], max_new_tokens=4
    )
    assert whole.positions == 2 * 2 * 7, "two passes over two rows, the longer of which has seven tokens"
    both = BlockSampler(tokens_per_step=2).sample(
        TableDenoiser("block_diffusion", 7, 4, never=(1,)), [[]], max_new_tokens=4
    )
    assert both.positions == 2 * 8, "[x_t, x_0]"


class Waits(TorchDispatchMode):
    """Counts operations for which the host would wait on a device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_step_reads_no_single_numbers_from_the_device(policy):
    denoiser = toy_denoiser("bidirectional")
    waits = []
    for count in (4, 12):
        with Waits() as mode, torch.no_grad():
            BlockSampler(**policy, min_new_tokens=0).sample(denoiser, [[70, 71], [80]], max_new_tokens=count)
        waits.append(len(mode.names))
    assert waits[0] == waits[1] <= 2, "one for each row at its end, and none that grows with the steps"
