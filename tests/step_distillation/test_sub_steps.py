"""The target of a teacher that answers in sub-steps is the one that enumeration gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from markov import HIDDEN, NUMBER, TIMES, L, V, filled, hidden_places, time_weights, true_denoiser
from table_denoiser import GivenDraws, Scripted, TableDenoiser, all_outcomes, batch_of, distillation

from tide_core.draws import SampleDraws
from tide_core.micro_batch import Teaching
from tide_core.micro_batch_building import build_micro_batch
from tide_core.sub_steps import draw_tokens, revealings_of
from tide_plugins.schedules import Linear, Polynomial
from tide_plugins.teacher_views import SamplerSteps
from tide_specs import Head, Noise, NoisedSide, PluginError


def noise_of(states: list[tuple[int, ...]]) -> Noise:
    noised = torch.tensor(states)
    masked = noised == HIDDEN
    side = NoisedSide(noised=noised, masked=masked, weight=masked.float())
    return Noise(t=torch.full(noised.shape, 0.5), student=side, teacher=side)


def answers(module, states, view, uniform) -> torch.Tensor:
    """The step's targets [B, L, V] for noised texts, NaN where nothing is answered."""
    batch, noise = batch_of(len(states)), noise_of(states)
    # The clean text agrees with what is visible.
    batch.student.ids.copy_(torch.where(noise.student.masked, 0, noise.student.noised))
    draws = GivenDraws(uniform)
    masked = noise.teacher.masked
    revealings = revealings_of(view, batch.teacher, masked, torch.full(masked.shape, 0.5), Linear(), draws)
    teaching = Teaching(
        batch=batch,
        noise=noise,
        passes=view.passes(batch.teacher, masked, draws),
        columns=module.method.lessons[0].columns,
        unit=batch.student.chunk,
        revealings=revealings,
    )
    work = build_micro_batch(batch, noise, [teaching], None)
    (answer,) = module.teach(work)
    found = torch.full((len(states) * L, V), torch.nan)
    rows = torch.arange(len(work.taught[0].rows.index))
    found[work.taught[0].rows.index] = answer.logits(rows)[:, :V].softmax(1)
    return found.reshape(len(states), L, V)


@pytest.mark.parametrize("state", [(2, 2, 2, 2), (2, 0, 2, 2), (1, 2, 0, 2)])
def test_every_outcome_of_two_sub_steps_has_the_enumerated_target(state) -> None:
    table = true_denoiser()
    teacher, student = TableDenoiser(table), TableDenoiser(table)
    outcomes = all_outcomes(state)
    view = Scripted(chosen=tuple(chosen for chosen, _ in outcomes))
    uniform = torch.zeros(len(outcomes), L, dtype=torch.float64)
    for row, (chosen, symbols) in enumerate(outcomes):
        for place, symbol in zip(chosen, symbols, strict=True):
            p = table[NUMBER[state], place]
            uniform[row, place] = p[:symbol].sum() + p[symbol] / 2
    found = answers(distillation(teacher, student, view), [state] * len(outcomes), view, uniform)
    assert len(teacher.asked) == 2
    for row, (chosen, symbols) in enumerate(outcomes):
        after = filled(state, chosen, symbols)
        assert tuple(teacher.asked[1][row].tolist()) == after
        for place in hidden_places(state):
            seen = state if place in chosen else after
            np.testing.assert_allclose(found[row, place], table[NUMBER[seen], place], atol=1e-6)
        assert all(found[row, place].isnan().all() for place in range(L) if state[place] != HIDDEN)


def test_no_gradient_reaches_the_teacher_and_the_student_learns() -> None:
    table = true_denoiser()
    teacher, student = TableDenoiser(table), TableDenoiser(np.full_like(table, 0.5))
    view = SamplerSteps(step=0.2)
    module = distillation(teacher, student, view)
    draws = SampleDraws(seed=1, epoch=0, samples=torch.arange(32))
    _, work = module.noise([batch_of(32)], draws, 0.0)
    loss, _ = module(work, module.counts(work), 0.0)
    loss.backward()
    assert loss > 0
    assert teacher.module.table.grad is None
    assert student.module.table.grad is not None and student.module.table.grad.abs().sum() > 0


def test_the_probability_to_reveal_is_dt_over_t() -> None:
    view, t = SamplerSteps(step=0.125, sub_steps=3), torch.tensor([[1.0, 0.5, 0.25, 0.1]], dtype=torch.float64)
    np.testing.assert_allclose(view.share(0, t, Linear()), [[0.125, 0.25, 0.5, 1.0]])
    np.testing.assert_allclose(view.share(1, t, Linear()), [[0.125 / 0.875, 0.125 / 0.375, 1.0, 1.0]])
    # With alpha = 1 - t^2: (t^2 - s^2) / t^2.
    np.testing.assert_allclose(view.share(0, t[:, :1], Polynomial(exponent=2.0)), [[1 - 0.875**2]])


def test_rounds_double_the_step() -> None:
    steps = [SamplerSteps(round=r, sampler_steps=1024).dt for r in range(8)]
    np.testing.assert_allclose(steps, [(1 - 1e-3) * 2**r / 1024 for r in range(8)])
    assert SamplerSteps(sampler_steps=2, round=4).dt == 1.0
    assert SamplerSteps(step=0.3, round=4).dt == 0.3


def test_the_published_grid() -> None:
    """t u_j + (1 - t) (t - m dt) instead of t - j dt, not below eps."""
    t = torch.tensor([[0.6, 0.002]], dtype=torch.float64)
    view = SamplerSteps(step=0.1, grid="published")
    np.testing.assert_allclose(view.times(0, t), [[0.6 + 0.4 * 0.4, 1e-3]])
    np.testing.assert_allclose(view.times(1, t), [[0.4 * 0.4, 1e-3]])
    np.testing.assert_allclose(SamplerSteps(step=0.1).times(1, t), [[0.5, 0.0]])


def test_what_is_revealed_agrees_with_the_sampler_on_average() -> None:
    """Frequencies over many samples: the share of revealed positions at a time, and the symbols drawn there."""
    table, rows = true_denoiser(), 4000
    teacher = TableDenoiser(table)
    view = SamplerSteps(step=0.25)
    batch = batch_of(rows)
    masked = torch.ones(rows, L, dtype=torch.bool)
    draws = SampleDraws(seed=5, epoch=0, samples=torch.arange(rows))
    (one,) = revealings_of(view, batch.teacher, masked, torch.full((rows, L), 0.5), Linear(), draws)
    assert abs(float(one.revealed.double().mean()) - 0.5) < 0.02
    hidden = teacher.hidden(torch.full((rows, L), HIDDEN), batch.teacher.ids, batch.teacher.lengths)
    drawn = draw_tokens(hidden.flatten(0, 1), teacher.head(), one.uniform.flatten(), never=HIDDEN, elements=64)
    assert int(drawn.max()) < HIDDEN
    share = (drawn.reshape(rows, L) == 1).double().mean(0)
    np.testing.assert_allclose(share, table[NUMBER[(HIDDEN,) * L], :, 1], atol=0.03)


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).repeat(4, 1)
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-53, 0.49], dtype=torch.float64)
    drawn = draw_tokens(logits.clamp(min=-1e30), Head(torch.eye(5)), uniform, never=None, elements=10)
    assert drawn.tolist() == [1, 3, 3, 1]


def test_a_view_that_reveals_what_stands_there_is_named() -> None:
    batch = batch_of(1)
    masked = torch.zeros(1, L, dtype=torch.bool)
    view = Scripted(chosen=((0,),))
    with pytest.raises(PluginError, match="'scripted' must reveal, in sub-step 0, a boolean subset"):
        revealings_of(view, batch.teacher, masked, torch.ones(1, L), Linear(), GivenDraws(torch.zeros(1, L)))


def test_time_weights_are_those_of_uniform_times() -> None:
    """The oracle's own quadrature: given that everything is hidden, t has density 5 t^4."""
    assert abs((time_weights(L) * TIMES).sum() - (L + 1) / (L + 2)) < 1e-4
