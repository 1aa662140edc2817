"""Corruptions: which tokens are hidden, on which side, how often, and with what weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from corruption_toys import MASK, RowDraws, ToyTokenizer, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_plugins.corruptions import Absorbing, Uniform
from tide_plugins.corruptions.units import leaders, rate_ratio
from tide_plugins.schedules import Cosine, Linear
from tide_specs import Batch, Corruption, DataError, Noise

STUDENT, TEACHER = [[3, 1, 2], [1, 4], []], [[1, 2, 2], [3, 1], []]
ALL: list[Corruption] = [
    Absorbing(),
    Absorbing(masking="token"),
    Absorbing(masking="token", correct_weight=False),
    Uniform(),
    Uniform(masking="token", score="all"),
]


def noise(corruption: Corruption, seed: int = 0, t: float | torch.Tensor = 0.5, of: Batch | None = None) -> Noise:
    rows = of or batch(STUDENT, TEACHER)
    time = torch.full(rows.student.ids.shape, t) if isinstance(t, float) else t
    draws = RowDraws(seed, rows.samples.tolist())
    return corruption.corrupt(rows, time, Linear(), draws, ToyTokenizer(), ToyTokenizer())


@pytest.mark.parametrize("corruption", ALL, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.floats(0.05, 1.0))
def test_a_chunk_is_hidden_whole_and_on_both_sides(corruption: Corruption, seed: int, t: float) -> None:
    rows = batch(STUDENT, TEACHER)
    made = noise(corruption, seed, t)
    assert made.teacher is not None
    for sides, noised in ((rows.student, made.student), (rows.teacher, made.teacher)):
        assert sides is not None
        assert not (noised.masked & ~sides.maskable).any()
        assert (noised.noised == sides.ids)[~sides.maskable].all()
        assert (noised.weight[~noised.masked] == 0).all()
        assert (noised.weight >= 0).all()
    for c in range(rows.chunks):
        assert rows.teacher is not None
        here, there = made.student.masked[rows.student.chunk == c], made.teacher.masked[rows.teacher.chunk == c]
        assert here.unique().numel() == 1
        assert there.unique().tolist() == here.unique().tolist()
        assert made.student.weight[rows.student.chunk == c].unique().numel() == 1


def test_masked_positions_hold_the_mask_token_and_no_others_change() -> None:
    rows, made = batch(STUDENT, TEACHER), noise(Absorbing())
    assert made.teacher is not None
    assert rows.teacher is not None
    assert made.student.masked.any()
    for sides, noised in ((rows.student, made.student), (rows.teacher, made.teacher)):
        assert (noised.noised[noised.masked] == MASK).all()
        assert (noised.noised == sides.ids)[~noised.masked].all()
    outside = rows.teacher.chunk < 0
    assert not made.teacher.masked[outside].any()


def test_a_teacher_without_a_mask_token_keeps_clean_tokens_but_knows_what_counts() -> None:
    rows = batch(STUDENT, TEACHER)
    draws = RowDraws(3, [0, 1, 2])
    time = torch.full(rows.student.ids.shape, 0.7)
    made = Absorbing().corrupt(rows, time, Linear(), draws, ToyTokenizer(), ToyTokenizer(None))
    assert made.teacher is not None
    assert rows.teacher is not None
    assert (made.teacher.noised == rows.teacher.ids).all()
    assert made.teacher.masked.any()


def test_a_run_without_a_teacher_has_no_teacher_noise() -> None:
    rows = replace(batch(STUDENT, TEACHER), teacher=None)
    for corruption in ALL:
        assert corruption.corrupt(
            rows, torch.full((3, 12), 0.5), Linear(), RowDraws(0, [0, 1, 2]), ToyTokenizer(), None
        ).teacher is None  # fmt: skip


def test_a_batch_without_chunks_works() -> None:
    rows = batch([[], []], [[], []])
    made = noise(Absorbing(), of=rows, t=0.9)
    assert made.student.masked.any()
    assert made.teacher is not None
    assert not made.teacher.masked.any()


def test_a_student_without_a_mask_token_is_refused() -> None:
    rows = batch(STUDENT, TEACHER)
    with pytest.raises(DataError, match="needs a student with a mask token"):
        Absorbing().corrupt(
            rows, torch.full((3, 12), 0.5), Linear(), RowDraws(0, [0, 1, 2]), ToyTokenizer(None), ToyTokenizer()
        )
    assert Absorbing().needs_mask_token()
    assert not Uniform().needs_mask_token()


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_noise_of_a_sample_ignores_its_batch_and_padding(corruption: Corruption) -> None:
    both = noise(corruption, t=0.6)
    alone = batch([STUDENT[1]], [TEACHER[1]], lengths=(16, 18))
    alone = replace(alone, samples=torch.tensor([1]))
    full = batch(STUDENT, TEACHER)
    ids = alone.student.ids.clone()
    ids[0, :12] = full.student.ids[1]
    alone = replace(alone, student=replace(alone.student, ids=ids))
    single = noise(corruption, t=0.6, of=alone)
    assert (single.student.masked[0, :12] == both.student.masked[1]).all()
    assert (single.student.noised[0, :12] == both.student.noised[1]).all()
    assert single.teacher is not None
    assert both.teacher is not None
    assert (single.teacher.masked[0, :15] == both.teacher.masked[1]).all()


@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=lambda schedule: schedule.name)
def test_masking_frequency_is_exact(t: float, schedule: Linear | Cosine) -> None:
    # 4000 copies of one row with a chunk of three, a chunk of one, and a token outside chunks.
    n = 4000
    rows = batch([[3, 1]] * n, [[2, 2]] * n, lengths=(7, 8))
    alpha = float(schedule.alpha(torch.tensor(t, dtype=torch.float64)))
    time, draws = torch.full((n, 7), t), RowDraws(1, range(n))
    for masking, expected in (
        ("chunk", [1 - alpha, 1 - alpha, 1 - alpha]),
        ("token", [1 - alpha**3, 1 - alpha, 1 - alpha]),
    ):
        corruption = Absorbing.model_validate({"masking": masking})
        made = corruption.corrupt(rows, time, schedule, draws, ToyTokenizer(), ToyTokenizer())
        seen = made.student.masked.double().mean(0)[[2, 5, 6]].numpy()
        sigma = np.sqrt(np.array(expected) * (1 - np.array(expected)) / n)
        assert (np.abs(seen - expected) < 4.5 * sigma + 1e-12).all()


def test_weights_are_the_schedules_or_those_of_the_chunks_own_rate() -> None:
    t, rows = 0.37, batch([[3, 1]], [[2, 2]], lengths=(7, 8))
    w = {1: 1 / t, 3: 3 * (1 - t) ** 2 / (1 - (1 - t) ** 3)}

    def weights(corruption: Corruption, time: float) -> list[float]:
        for seed in range(200):
            made = noise(corruption, seed, time, of=rows)
            if made.student.masked[0, [2, 5, 6]].all():
                return made.student.weight[0, [2, 5, 6]].tolist()
        raise AssertionError("no draw hid every unit")

    assert weights(Absorbing(), t) == pytest.approx([w[1], w[1], w[1]], rel=1e-5)
    assert weights(Absorbing(masking="token"), t) == pytest.approx([w[3], w[1], w[1]], rel=1e-5)
    assert weights(Absorbing(masking="token", correct_weight=False), t) == pytest.approx([w[1], w[1], w[1]], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(masked=st.floats(1e-9, 1.0), n=st.integers(1, 60))
def test_rate_ratio_equals_its_definition_and_never_breaks(masked: float, n: int) -> None:
    # n a^(n-1) / (1 + a + ... + a^(n-1)), an identity free of cancellation
    a = 1 - masked
    expected = n * a ** (n - 1) / sum(a**k for k in range(n))
    got = float(rate_ratio(torch.tensor([a], dtype=torch.float64), torch.tensor([n])))
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-300)
    assert float(rate_ratio(torch.ones(1, dtype=torch.float64), torch.tensor([n]))) == 1


def test_the_time_of_a_unit_is_that_of_its_first_student_token() -> None:
    # The chunk of three starts at a time that hides everything and ends at one that hides nothing.
    rows = batch([[3, 1]], [[2, 2]], lengths=(7, 8))
    time = torch.tensor([[1.0, 1.0, 1.0, 1e-6, 1e-6, 1e-6, 1e-6]])
    made = noise(Absorbing(), 0, time, of=rows)
    assert made.student.masked.tolist() == [[False, False, True, True, True, False, False]]
    assert made.t[0, 2:5].tolist() == [1.0, 1.0, 1.0]
    assert made.student.weight[0, 2:5].tolist() == [1.0, 1.0, 1.0]
    assert made.t[0, 5] == pytest.approx(1e-6)


def test_leaders_of_chunks_that_touch_each_other_and_single_tokens() -> None:
    chunk = torch.tensor([[-1, -1, 0, 0, 1, 1, 1, -1], [2, 3, 3, -1, -1, 4, 5, 5]])
    assert leaders(chunk).tolist() == [[0, 1, 2, 2, 4, 4, 4, 7], [0, 1, 1, 3, 4, 5, 6, 6]]


def test_uniform_replaces_by_ordinary_tokens_only_and_scores_as_asked() -> None:
    rows = batch([[2] * 4] * 200, [[2] * 4] * 200)
    some, every = (noise(Uniform.model_validate({"score": s}), 4, 0.8, of=rows) for s in ("corrupted", "all"))
    assert (some.student.noised < 10).all()
    assert (some.student.noised == every.student.noised).all()
    assert (every.student.masked == rows.student.maskable).all()
    replaced = some.student.noised[some.student.masked]
    counts = torch.bincount(replaced, minlength=10).double()
    assert (counts / counts.sum() - 0.1).abs().max() < 0.03
    # The same total weight per token on average: w(t) * (1 - alpha) = -alpha'.
    assert float(some.student.weight.sum()) == pytest.approx(float(every.student.weight.sum()), rel=0.05)


def test_uniform_needs_ordinary_tokens() -> None:
    class Special(ToyTokenizer):
        def token_bytes(self) -> list[bytes | None]:
            return [None] * 20

    rows = batch(STUDENT, TEACHER)
    with pytest.raises(DataError, match="no ordinary token"):
        Uniform().corrupt(rows, torch.full((3, 12), 0.5), Linear(), RowDraws(0, [0, 1, 2]), Special(), ToyTokenizer())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_a_gpu_draws_the_same_noise(corruption: Corruption) -> None:
    rows = batch(STUDENT, TEACHER)
    there = noise(corruption, t=torch.full((3, 12), 0.6, device="cuda"), of=rows.to("cuda"))
    here = noise(corruption, t=0.6, of=rows)
    assert there.teacher is not None
    assert here.teacher is not None
    for one, other in ((there.student, here.student), (there.teacher, here.teacher)):
        assert torch.equal(one.noised.cpu(), other.noised)
        assert torch.equal(one.masked.cpu(), other.masked)
        torch.testing.assert_close(one.weight.cpu(), other.weight)
