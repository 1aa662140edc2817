"""Losses against one of several teachers, on chunk starts, on states and on words: the step equals a plain one in float64."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
import torch
from step_toys import ToyDenoiser, micro_batch, toy_batch
from torch import Tensor, nn

from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.joint_units import joint_units
from tide_core.method import Lesson, Method, terms_of
from tide_core.settings import Timesteps
from tide_plugins.corruptions import Absorbing
from tide_plugins.interpolations import Constant
from tide_plugins.schedules import Linear
from tide_plugins.teacher_views import Plain
from tide_plugins.weightings import ByConfidence
from tide_specs import (
    Batch,
    ChunkContext,
    ChunkLoss,
    DistributionLoss,
    FeatureContext,
    FeatureLoss,
    Outcomes,
    PluginError,
    SelfLoss,
    Side,
    StartContext,
    TokenContext,
    VocabularyBridge,
)


class Surprise(SelfLoss):
    name: Literal["surprise"] = "surprise"

    def per_token(self, student: Tensor, at: TokenContext) -> Tensor:
        return -at.log_likelihood(student) * at.interpolation


class Gap(ChunkLoss):
    name: Literal["gap"] = "gap"

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        return (student - teacher) ** 2


class StartCrossEntropy(DistributionLoss):
    name: Literal["start_cross_entropy"] = "start_cross_entropy"

    def per_start(self, student: Tensor, teacher: Tensor, at: StartContext) -> Tensor:
        return -(teacher * student).sum(1) + 0 * at.teacher_log_likelihood


class Halves(VocabularyBridge):
    """Two outcomes: the lower and the upper half of each vocabulary, plus what is not listed."""

    def outcomes(self, student: Tensor, teacher: Tensor, at: StartContext) -> Outcomes:
        assert len(at.targets) == len(at.teacher_targets) == len(student)
        log_p, middle = student.log_softmax(1), student.shape[1] // 2
        mine = torch.stack([log_p[:, :middle].logsumexp(1), log_p[:, middle:].logsumexp(1)], 1)
        return Outcomes(mine, torch.stack([teacher[:, :middle].sum(1), teacher[:, middle:].sum(1)], 1))


class Projected(FeatureLoss):
    name: Literal["projected"] = "projected"

    def build(self, student_size: int, teacher_size: int) -> nn.Module:
        return nn.Linear(student_size, teacher_size)

    def per_chunk(self, student: Tensor, teacher: Tensor, module: Any, at: FeatureContext) -> Tensor:
        return ((module(student) - teacher) ** 2).sum(1) * (at.sequence + 1)


class WordGap(ChunkLoss):
    """The squared gap of a word's likelihood, at its first chunk."""

    name: Literal["word_gap"] = "word_gap"
    resolutions: ClassVar[tuple[Any, ...]] = ("word",)

    def per_chunk(self, student: Tensor, teacher: Tensor, at: ChunkContext) -> Tensor:
        word = at.spans["word"]
        places, number = word.unique(return_inverse=True)
        gaps = (student - teacher).new_zeros(len(places)).index_add(0, number, student - teacher) ** 2
        first = torch.ones_like(word, dtype=torch.bool)
        first[1:] = word[1:] != word[:-1]
        return gaps[number] * first


class Tokens:
    """As much of a tokenizer as a corruption asks for."""

    def __init__(self, mask: int) -> None:
        self.mask_token_id, self.vocabulary_size = mask, 11


def denoiser(**sizes: int) -> ToyDenoiser:
    model = ToyDenoiser(**sizes)
    model.tokenizer = Tokens(10)  # type: ignore[assignment]
    return model


def other_chunks(batch: Batch, spans: tuple[int, ...], taught: tuple[int, ...]) -> Batch:
    """The same student rows, chunked otherwise, with other teacher tokens."""
    rows, length = batch.student.ids.shape
    sides: list[Side] = []
    for side, sizes in ((batch.student, spans), (batch.teacher, taught)):
        assert side is not None
        chunk = torch.full((rows, length), -1)
        for row in range(rows):
            place = 1
            for number, size in enumerate(sizes):
                chunk[row, place : place + size] = row * len(sizes) + number
                place += size
        ids = side.ids if side is batch.student else (side.ids * 3 + 1) % 10
        sides.append(Side(ids=ids, maskable=side.maskable, lengths=side.lengths, chunk=chunk))
    count = rows * len(spans)
    return Batch(
        student=sides[0],
        teacher=sides[1],
        chunk_bytes=torch.ones(count, dtype=torch.int64),
        chunk_relation=torch.zeros(count, dtype=torch.int64),
        samples=batch.samples,
        positions=batch.positions,
        effective_size=batch.effective_size,
    )


FIRST = toy_batch()  # student chunks of 1, 2, 1, 1, 2 tokens
SECOND = other_chunks(FIRST, (3, 1, 1), (1, 2, 3))


def distillation(losses, weightings=(None, None), slice_elements: int = 40) -> Distillation:
    bridges = [Halves(), Halves()]
    lessons = [
        Lesson(
            teacher=denoiser(hidden=4 + k, seed=2 + k),
            view=Plain(),
            interpolation=Constant(value=0.5),
            bridge=bridges[k],
            weighting=weightings[k],
        )
        for k in range(len(losses))
    ]
    terms = [*terms_of([Surprise(weight=0.3)]), *(t for k, own in enumerate(losses) for t in terms_of(own, k))]
    method = Method(
        terms=terms,
        schedule=Linear(),
        corruption=Absorbing(),
        interpolation=Constant(value=0.25),
        timesteps=Timesteps(),
        lessons=lessons,
    )
    torch.manual_seed(7)
    return Distillation(denoiser(seed=1), method, slice_elements=slice_elements)


def noised(module: Distillation, batches, seed: int = 3):
    draws = SampleDraws(seed=seed, epoch=0, samples=FIRST.samples)
    return module.noise(batches, draws, 0.0)


def likelihoods(model: ToyDenoiser, noised: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities [B, L, V], of the tokens [B, L], and states [B, L, H], in float64."""
    states = model.hidden(noised, ids, ids[:, 0])
    log_p = model.head().logits(states).double().log_softmax(-1)
    return log_p, log_p.gather(2, ids[..., None])[..., 0], states.double()


def chunk_table(side: Side, masked: Tensor) -> dict[int, list[tuple[int, int]]]:
    """Chunk -> its places, where it is masked."""
    table: dict[int, list[tuple[int, int]]] = {}
    for row, column in masked.nonzero().tolist():
        if (chunk := int(side.chunk[row, column])) >= 0:
            table.setdefault(chunk, []).append((row, column))
    return table


def reference(module: Distillation, batches, noise, work, factors=None) -> Tensor:
    """Every term as loops in float64."""
    student = batches[0].student
    log_s, token_s, states_s = likelihoods(module.student, noise.student.noised, student.ids)
    masked = noise.student.masked
    terms = [0.3 * -(token_s[masked] * 0.25).mean()]
    for number, term in enumerate(module.method.terms):
        if term.lesson is None:
            continue
        batch, teacher = batches[term.lesson], module.teachers[term.lesson]
        seen = chunk_table(student_side := batch.student, masked)
        hidden = torch.zeros_like(batch.teacher.chunk, dtype=torch.bool)
        for chunk in seen:
            hidden |= batch.teacher.chunk == chunk
        assert torch.equal(work.taught[term.lesson].rows.noised[0], batch.teacher.ids.masked_fill(hidden, 10))
        log_u, token_u, states_u = likelihoods(teacher, batch.teacher.ids.masked_fill(hidden, 10), batch.teacher.ids)
        log_u, token_u, states_u = log_u.detach(), token_u.detach(), states_u.detach()
        taught = chunk_table(batch.teacher, hidden)
        values = []
        for chunk, places in seen.items():
            lp_s, lp_u = (sum(t[p] for p in where) for t, where in ((token_s, places), (token_u, taught[chunk])))
            if isinstance(term.loss, Gap):
                value = (lp_s - lp_u) ** 2
            elif isinstance(term.loss, StartCrossEntropy):
                p, q = log_s[places[0]].exp(), log_u[taught[chunk][0]].exp()
                value = -sum(q[half].sum() * p[half].sum().log() for half in (slice(0, 5), slice(5, 11)))
            else:
                mean_s = torch.stack([states_s[p] for p in places]).mean(0)
                mean_u = torch.stack([states_u[p] for p in taught[chunk]]).mean(0)
                projection = module.projections[str(number)]
                mapped = projection.weight.double() @ mean_s + projection.bias.double()
                value = ((mapped - mean_u) ** 2).sum() * (places[0][0] + 1)
            factor = 1.0 if factors is None else factors(term.lesson, student_side, chunk, seen, token_u)
            values.append(value * factor)
        terms.append(term.loss.weight * torch.stack(values).mean())
    return torch.stack(terms)


@pytest.mark.parametrize("slice_elements", [1, 40, 1 << 20])
@pytest.mark.parametrize("loss", [Gap, StartCrossEntropy, Projected])
def test_terms_of_two_teachers_equal_loops(loss, slice_elements: int) -> None:
    module = distillation([[loss(weight=0.5)], [loss(weight=2.0)]], slice_elements=slice_elements)
    batches = [FIRST, SECOND]
    noise, work = noised(module, batches)
    total, terms = module(work, module.counts(work), 0.5)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters()}
    module.zero_grad()
    expected = reference(module, batches, noise, work)
    expected.sum().backward()
    torch.testing.assert_close(terms.double(), expected.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_what_a_chunk_of_any_teacher_joins_is_masked_together() -> None:
    unit = joint_units([FIRST, SECOND])
    assert unit[0].tolist() == [-1, 0, 0, 0, 1, 2, 3, 3]
    module = distillation([[Gap()], [Gap()]])
    for seed in range(20):
        noise, work = noised(module, [FIRST, SECOND], seed)
        for batch, taught in zip((FIRST, SECOND), work.taught, strict=True):
            for chunk in range(batch.chunks):
                inside = noise.student.masked[batch.student.chunk == chunk]
                assert inside.all() or not inside.any()
            found = batch.student.chunk[noise.student.masked]
            assert len(taught.chunks.t) == len(found[found >= 0].unique())


def test_one_teacher_twice_counts_twice() -> None:
    once, twice = distillation([[Gap()]]), distillation([[Gap()], []])
    _, alone = noised(once, [FIRST])
    _, both = noised(twice, [FIRST, FIRST])
    torch.testing.assert_close(once(alone, once.counts(alone), 0.1)[1], twice(both, twice.counts(both), 0.1)[1])


def test_confidence_shares_the_weight_by_likelihood() -> None:
    module = distillation([[Gap()], [Gap()]], weightings=(ByConfidence(), ByConfidence()))
    noise, work = noised(module, [FIRST, SECOND])
    unit = joint_units([FIRST, SECOND])
    _, terms = module(work, module.counts(work), 0.5)
    table = torch.full((int(unit.max()) + 1, 2), -torch.inf, dtype=torch.float64)
    for number, batch in enumerate((FIRST, SECOND)):
        hidden = torch.isin(batch.teacher.chunk, batch.student.chunk[noise.student.masked]) & (batch.teacher.chunk >= 0)
        ids = batch.teacher.ids
        token = likelihoods(module.teachers[number], ids.masked_fill(hidden, 10), ids)[1].detach()
        for chunk, places in chunk_table(batch.teacher, hidden).items():
            at = unit[batch.student.chunk == chunk][0]
            table[at, number] = table[at, number].nan_to_num(neginf=0.0) + sum(token[p] for p in places)

    def factor(lesson, side, chunk, seen, token_u):
        return 2 * table[unit[side.chunk == chunk][0]].softmax(0)[lesson]

    expected = reference(module, [FIRST, SECOND], noise, work, factor)
    torch.testing.assert_close(terms.double(), expected.detach(), rtol=1e-5, atol=1e-6)


def test_a_slice_never_cuts_a_word_when_a_loss_sums_over_words() -> None:
    lesson = Lesson(teacher=denoiser(hidden=4, seed=2), view=Plain(), interpolation=Constant())
    method = Method(
        terms=terms_of([WordGap()]),
        schedule=Linear(),
        corruption=Absorbing(),
        interpolation=Constant(),
        timesteps=Timesteps(),
        lessons=[lesson],
    )
    values = []
    word = torch.tensor([0, 1, 1, 1, 2, 2, 2, 3]).expand(3, 8) + 4 * torch.arange(3)[:, None]
    for slice_elements in (1, 1 << 20):
        model = denoiser(seed=1)
        model.tokenizer.token_bytes = lambda: [b" a"] * 11
        module = Distillation(model, method, slice_elements=slice_elements)
        noise, _ = noised(module, [FIRST])
        work = micro_batch(FIRST, noise, None, {"word": word})
        values.append(module(work, module.counts(work), 0.5)[1])
    torch.testing.assert_close(*values)


def test_a_corruption_whose_student_noise_depends_on_the_teacher_is_named() -> None:
    class Unfair(Absorbing):
        name: Literal["unfair"] = "unfair"  # type: ignore[assignment]

        def corrupt(self, batch, t, schedule, draws, student, teacher):
            return super().corrupt(batch, t * float(batch.teacher.ids.sum() % 7) / 7, schedule, draws, student, teacher)

    module = distillation([[Gap()], [Gap()]])
    module.method = Method(**{**vars(module.method), "corruption": Unfair()})
    with pytest.raises(PluginError, match="'unfair' noised the same student tokens in two ways for two teachers"):
        noised(module, [FIRST, SECOND])
