"""Divergence from the teacher against loops in float64, over batches whose two sides have different tokens."""

import math
from functools import cache, partial

import numpy as np
import pytest
import torch
from evaluator_toys import Characters
from hypothesis import given, settings
from hypothesis import strategies as st

from tide_core.data import Row, RowSide, collate
from tide_core.evaluation import HeldOut, evaluate_all
from tide_plugins.evaluators import TeacherDivergence
from tide_plugins.evaluators.divergence import bernoulli_kl
from tide_specs import ConfigError, Dataset, Denoiser, Evaluation, Evaluator, Example, Head, Message, SharedColumns

MASK, PAD = 0, 1


class Ids(Characters):
    mask_token_id, pad_token_id = MASK, PAD


@cache
def table(seed, columns, context, i):
    logits = np.random.default_rng([seed, i, *context]).normal(size=columns)
    return logits - np.log(np.exp(logits).sum())


class Tables(Denoiser):
    """Logits of a position depend on every token of the row that it reads."""

    def __init__(self, columns, seed, *, autoregressive=False):
        self.form = "autoregressive" if autoregressive else "bidirectional"
        self.columns, self.seed = columns, seed
        self.mask_token_id = None if autoregressive else MASK
        self.tokenizer, self.module = Ids(), torch.nn.Dropout(0.5)

    def log_p(self, noised, clean, i):
        return table(self.seed, self.columns, tuple(noised if self.mask_token_id is not None else clean[:i]), i)

    def hidden(self, noised, clean, lengths, documents=None):
        out = np.zeros((*noised.shape, self.columns))
        for row, (x, y, n) in enumerate(zip(noised.tolist(), clean.tolist(), lengths.tolist(), strict=True)):
            for i in range(n):
                out[row, i] = self.log_p(x[:n], y[:n], i)
        return torch.tensor(out, dtype=torch.float32)

    def head(self):
        return Head(torch.eye(self.columns))

    def save(self, path):
        raise NotImplementedError


def side(ids, chunk, maskable):
    return RowSide(ids=np.array(ids, np.int32), chunk=np.array(chunk, np.int32), maskable=np.array(maskable, bool))


def row(sample, student, teacher, relation):
    return Row(
        sample=sample,
        student=student,
        teacher=teacher,
        chunk_bytes=np.ones(len(relation), np.int32),
        chunk_relation=np.array(relation, np.int8),
    )


ROWS = [
    row(
        4,
        side([2, 3, 4, 5, 2, 3, 6], [-1, 0, 0, 1, 2, 2, -1], [0, 1, 1, 1, 1, 1, 1]),
        side([2, 4, 6, 7, 3], [-1, 0, 1, 2, 2], [0, 1, 1, 1, 1]),
        [1, 0, 3],
    ),
    row(9, side([2, 5, 6], [-1, 0, 1], [0, 1, 1]), side([3, 4, 5, 2], [-1, 0, 1, -1], [0, 1, 1, 1]), [0, 0]),
    row(2, side([2, 5, 6], [-1, -1, -1], [0, 1, 1]), side([3, 4], [-1, -1], [0, 1]), []),
]


class Prepared(list):
    def rows(self, indices, teacher=0):
        return [self[i] for i in indices]


class Numbers(Dataset):
    """Examples 0, 1, 2, ...; counts how often it is read."""

    reads: list[int]

    def examples(self, split):
        self.reads.append(1)
        for number in range(5):
            yield Example(key=str(number), messages=[Message(role="text", content=split, trainable=True)])

    def fingerprint(self):
        return ""


def context(rows=ROWS, columns=None):
    return HeldOut(
        dataset=Numbers(name="numbers", reads=[]),
        data=Prepared(rows),
        join=partial(collate, student_pad=PAD, teacher_pad=PAD),
        seed=7,
        device=torch.device("cpu"),
        columns=columns,
    )


def hidden_by_hand(held, rows, t):
    """Per row: which of its chunks are hidden, and which loose tokens of either side."""
    out = []
    for number, one in enumerate(rows):
        draws = held.draws(next(iter(context([one]).batches(1))))
        chunks = draws.uniform(f"teacher_divergence/chunks/{t}", 8)[0].tolist()
        loose = {n: draws.uniform(f"teacher_divergence/{n}/{t}", 8)[0].tolist() for n in ("student", "teacher")}
        out.append((number, [u < t for u in chunks], {n: [u < t for u in us] for n, us in loose.items()}))
    return out


def by_hand(student, teacher, rows, t, temperature=1.0, same=None):
    """Sums by loops: (bernoulli_kl, gap, chunks), and token KLs of one-to-one chunks over shared columns."""
    kls, gaps, tokens = [], [], []
    for number, hides, loose in hidden_by_hand(context(rows), rows, t):
        one, sums, at = rows[number], {}, {}
        for name, model in (("student", student), ("teacher", teacher)):
            part = getattr(one, name)
            ids, chunk = part.ids.tolist(), part.chunk.tolist()
            masked = [
                hides[c] if c >= 0 else (bool(m) and loose[name][i])
                for i, (c, m) in enumerate(zip(chunk, part.maskable.tolist(), strict=True))
            ]
            noised = [MASK if m else token for m, token in zip(masked, ids, strict=True)]
            sums[name] = dict.fromkeys(range(len(one.chunk_bytes)), 0.0)
            for i, c in enumerate(chunk):
                if c >= 0 and hides[c]:
                    log_p = model.log_p(noised, ids, i)
                    sums[name][c] += log_p[ids[i]]
                    at[name, c] = log_p
        for c in range(len(one.chunk_bytes)):
            if not hides[c]:
                continue
            s, p = math.exp(sums["student"][c] / temperature), math.exp(sums["teacher"][c] / temperature)
            kls.append(p * math.log(p / s) + (1 - p) * math.log((1 - p) / (1 - s)))
            gaps.append(abs(sums["student"][c] - sums["teacher"][c]))
            if same is not None and one.chunk_relation[c] == 0:
                q, r = (at[n, c][cols] for n, cols in zip(("student", "teacher"), same, strict=True))
                q, r = q - np.log(np.exp(q).sum()), r - np.log(np.exp(r).sum())
                tokens.append(float((np.exp(r) * (r - q)).sum()))
    return kls, gaps, tokens


@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_chunk_divergences_equal_loops(autoregressive, temperature):
    student, teacher = Tables(8, 1), Tables(9, 2, autoregressive=autoregressive)
    option = TeacherDivergence(ratios=(0.5, 0.9), temperature=temperature)
    found = option.evaluate(student, teacher, context()).metrics
    parts = {t: by_hand(student, teacher, ROWS, t, temperature) for t in (0.5, 0.9)}
    for t, (kls, gaps, _) in parts.items():
        assert kls
        assert found[f"bernoulli_kl_t{t:g}"].value == pytest.approx(np.mean(kls), rel=1e-4)
        assert found[f"log_likelihood_gap_t{t:g}"].value == pytest.approx(np.mean(gaps), rel=1e-4)
    assert found["bernoulli_kl"].value == pytest.approx(np.mean([*parts[0.5][0], *parts[0.9][0]]), rel=1e-4)
    assert "token_kl" not in found


def test_token_kl_equals_loops_over_shared_columns():
    student, teacher = Tables(8, 1), Tables(9, 2)
    ids = [2, 5, 3, 7], [8, 2, 0, 4]
    columns = SharedColumns(size=4, student_ids=np.array(ids[0]), teacher_ids=np.array(ids[1]))
    found = TeacherDivergence(ratios=(0.9,)).evaluate(student, teacher, context(columns=columns)).metrics
    expected = by_hand(student, teacher, ROWS, 0.9, same=ids)[2]
    assert len(expected) > 1
    assert found["token_kl"].value == pytest.approx(np.mean(expected), rel=1e-4)
    prefix = TeacherDivergence(ratios=(0.9,)).evaluate(student, teacher, context(columns=SharedColumns(size=6))).metrics
    first = list(range(6))
    assert prefix["token_kl"].value == pytest.approx(
        np.mean(by_hand(student, teacher, ROWS, 0.9, same=(first, first))[2]), rel=1e-4
    )


def test_a_model_does_not_diverge_from_itself():
    twin = [row(r.sample, r.student, r.student, [0] * len(r.chunk_bytes)) for r in ROWS[1:]]
    rows = [r for r in twin if len(r.chunk_bytes)]
    found = (
        TeacherDivergence(ratios=(1.0,))
        .evaluate(Tables(8, 1), Tables(8, 1), context(rows, SharedColumns(size=8)))
        .metrics
    )
    for name in ("bernoulli_kl", "log_likelihood_gap", "token_kl"):
        assert found[name].value == pytest.approx(0.0, abs=1e-6)


def test_batching_changes_nothing():
    student, teacher = Tables(8, 1), Tables(9, 2)
    runs = [TeacherDivergence(batch_size=size).evaluate(student, teacher, context()) for size in (1, 2, 8)]
    for run in runs[1:]:
        for name, values in runs[0].per_example.items():
            assert run.per_example[name] == pytest.approx(values, nan_ok=True)


def test_without_a_teacher_it_says_what_to_do():
    with pytest.raises(ConfigError, match="add one to the run, or drop the evaluator"):
        TeacherDivergence().evaluate(Tables(8, 1), None, context())
    assert TeacherDivergence.needs_teacher


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e5, 0), st.floats(-1e5, 0))
def test_the_bernoulli_divergence_is_finite_positive_and_right(teacher, student):
    found = float(bernoulli_kl(torch.tensor([teacher]).double(), torch.tensor([student]).double()))
    assert math.isfinite(found)
    assert found >= -1e-12
    if -20 < teacher < -1e-6 and -20 < student < -1e-6:
        p, q = math.exp(teacher), math.exp(student)
        expected = p * (teacher - student) + (1 - p) * (math.log1p(-p) - math.log1p(-q))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_held_out_examples_are_read_once_and_in_order():
    held = context()
    assert [e.key for e in held.examples(2)] == ["0", "1"]
    assert [e.key for e in held.examples()] == ["0", "1", "2", "3", "4"]
    assert [e.key for e in held.examples(3)] == ["0", "1", "2"]
    assert [e.messages[0].content for e in held.examples(1)] == ["evaluation"]
    assert len(held.dataset.reads) == 2


def test_batches_cover_the_rows_up_to_the_limit():
    assert [b.samples.tolist() for b in context().batches(2)] == [[4, 9], [2]]
    assert [b.samples.tolist() for b in context().batches(2, limit=1)] == [[4]]


class Peeks(Evaluator):
    """Records the mode that the models are in."""

    seen: list[tuple[bool, bool]]

    def evaluate(self, student, teacher, context):
        self.seen.append((student.module.training, torch.is_grad_enabled()))
        return Evaluation(metrics={})


class Breaks(Evaluator):
    """Fails."""

    def evaluate(self, student, teacher, context):
        raise ZeroDivisionError("no texts")


def test_models_are_in_evaluation_mode_meanwhile_and_then_as_they_were():
    student, seen = Tables(8, 1), []
    frozen = torch.nn.Dropout()
    student.module = torch.nn.Sequential(torch.nn.Linear(1, 1), frozen).train()
    frozen.eval()
    peeks = Peeks(name="peeks", seen=seen)
    results = evaluate_all([peeks, peeks], student, [(None, context())])
    assert list(results) == ["peeks", "peeks#2"]
    assert peeks.seen == [(False, False)] * 2
    assert (student.module.training, student.module[0].training, frozen.training) == (True, True, False)
    assert torch.is_grad_enabled()


def test_an_evaluator_that_fails_is_named_and_leaves_the_modes_right():
    student = Tables(8, 1)
    with pytest.raises(
        Exception, match="evaluator 'breaks' failed while it evaluated the model: ZeroDivisionError: no texts"
    ):
        evaluate_all([Breaks(name="breaks")], student, [(None, context())])
    assert student.module.training
