"""Scoring texts with a denoiser.

Shapes: R rows scored together, L tokens (padded), V views of a row, N positions that are predicted, H hidden size.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tide_specs import Denoiser, Estimate, Evaluation, EvaluationContext, Example

from .intervals import ratio
from .masks import Views, generator, views
from .texts import Text, cut, is_scorable, texts_of

if TYPE_CHECKING:
    from .bits_per_byte import BitsPerByte

BATCH = 64
"""Examples that are encoded together."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """bits [examples]: of the scored contents, NaN where the example is left out; bytes [examples]: what was scored."""

    bits: NDArray[np.float64]
    bytes: NDArray[np.float64]

    @property
    def excluded(self) -> int:
        """Examples left out because their tokens do not tile their bytes."""
        return int(np.isnan(self.bits).sum())


def evaluate(
    options: BitsPerByte, student: Denoiser, teacher: Denoiser | None, context: EvaluationContext
) -> Evaluation:
    """Score the held-out texts with the student and, where asked for, with the teacher."""
    examples = [cut(example, options.max_bytes) for example in context.examples(options.limit or None)]
    examples = [example for example in examples if is_scorable(example)]
    scores = {"": score(options, student, examples, context)}
    if teacher is not None and options.score_teacher:
        scores["teacher_"] = score(options, teacher, examples, context)
    metrics: dict[str, Estimate] = {}
    per_example: dict[str, Sequence[float]] = {}
    for prefix, scored in scores.items():
        metrics[f"{prefix}bits_per_byte"] = ratio(scored.bits.tolist(), scored.bytes.tolist())
        metrics[f"{prefix}excluded_examples"] = Estimate(value=float(scored.excluded))
        per_example[f"{prefix}bits"] = scored.bits.tolist()
        per_example[f"{prefix}bits_per_byte"] = (scored.bits / scored.bytes).tolist()
    if len(scores) == 2:
        gap = scores[""].bits - scores["teacher_"].bits
        metrics["above_teacher"] = ratio(gap.tolist(), scores[""].bytes.tolist())
    metrics["bytes"] = Estimate(value=float(scores[""].bytes[~np.isnan(scores[""].bits)].sum()))
    per_example["bytes"] = scores[""].bytes.tolist()
    return Evaluation(
        metrics=metrics,
        per_example=per_example,
        tables={"examples": _table(examples, per_example)},
        better={"bits_per_byte": "lower"},
    )


def score(options: BitsPerByte, denoiser: Denoiser, examples: Sequence[Example], context: EvaluationContext) -> Scores:
    """Return the bits that a model needs for the trainable contents of each example."""
    sizes = [sum(len(m.content.encode()) for m in example.messages if m.trainable) for example in examples]
    nats, planned = np.zeros(len(examples)), list[tuple[int, Views]]()
    for number, found in enumerate(_texts(options, denoiser, examples)):
        if found is None:
            nats[number] = math.nan
            continue
        for text in found:
            planned.append((number, views(text, denoiser, options.forwards, generator(context.seed, text))))
    if examples and np.isnan(nats).all():
        warnings.warn(_none_left(len(examples)), RuntimeWarning, stacklevel=2)
    add_nats(nats, denoiser, planned, max(1, options.batch_size), context.device)
    return Scores(bits=nats / math.log(2), bytes=np.array(sizes, dtype=np.float64))


def add_nats(
    nats: NDArray[np.float64],
    denoiser: Denoiser,
    planned: Sequence[tuple[int, Views]],
    rows: int,
    device: torch.device,
) -> None:
    """Add to ``nats`` [n] the estimated negative log-likelihood of each text; ``planned``: its number, and its views."""
    for numbers, group in _groups(planned, rows):
        np.add.at(nats, numbers, _score_group(denoiser, group, rows, device))


def _none_left(count: int) -> str:
    return (
        f"bits_per_byte: the tokens of none of {count} held-out examples reproduce their text, so that nothing can be scored; "
        "use a lossless tokenizer, or set 'lossless: false' to score the text as the tokenizer changes it"
    )


def _texts(options: BitsPerByte, denoiser: Denoiser, examples: Sequence[Example]) -> Iterator[list[Text] | None]:
    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        for offset, encoded in enumerate(denoiser.tokenizer.encode(part)):
            yield texts_of(start + offset, part[offset], encoded, denoiser.tokenizer, lossless=options.lossless)


def _groups(planned: Sequence[tuple[int, Views]], rows: int) -> Iterator[tuple[list[int], list[Views]]]:
    """Yield rows of like length and number of views, so that few are padded and a forward has about ``rows`` rows."""
    order = sorted(planned, key=lambda item: (len(item[1].ids), len(item[1].hidden)))
    start = 0
    while start < len(order):
        together = max(1, rows // len(order[start][1].hidden))
        part = order[start : start + together]
        yield [number for number, _ in part], [view for _, view in part]
        start += together


def _score_group(denoiser: Denoiser, group: Sequence[Views], rows: int, device: torch.device) -> NDArray[np.float64]:
    """Return the estimated negative log-likelihood of each row [R] in nats."""
    count, length = max(len(v.hidden) for v in group), max(len(v.ids) for v in group)
    clean = np.full((len(group), length), denoiser.tokenizer.pad_token_id, dtype=np.int64)
    hidden = np.zeros((count, len(group), length), dtype=np.bool_)
    weight = np.zeros(hidden.shape)
    for row, view in enumerate(group):
        clean[row, : len(view.ids)] = view.ids
        hidden[: len(view.hidden), row, : len(view.ids)] = view.hidden
        weight[: len(view.hidden), row, : len(view.ids)] = view.weight
    mask = denoiser.mask_token_id
    noised = clean[None] if mask is None else np.where(hidden, mask, clean[None])
    lengths = torch.tensor([len(view.ids) for view in group], device=device)
    total, step = np.zeros(len(group)), max(1, rows // len(group))
    for start in range(0, count, step):
        part = slice(start, start + step)
        total += _forward(denoiser, noised[part], clean, weight[part], lengths)
    return total


def _forward(
    denoiser: Denoiser,
    noised: NDArray[np.int64],
    clean: NDArray[np.int64],
    weight: NDArray[np.float64],
    lengths: torch.Tensor,
) -> NDArray[np.float64]:
    """Noised [V, R, L], clean [R, L], weight [V, R, L] -> weighted negative log-likelihood [R], over all views."""
    device = lengths.device
    ids = torch.as_tensor(clean).to(device)
    states = denoiser.hidden_views(torch.as_tensor(noised).to(device), ids, lengths)
    places = np.nonzero(weight)
    chosen = tuple(torch.as_tensor(axis).to(device) for axis in places)
    likelihood = denoiser.head().log_likelihood(states[chosen], ids[chosen[1], chosen[2]])
    total = np.zeros(len(clean))
    np.add.at(total, places[1], -weight[places] * likelihood.double().cpu().numpy())
    return total


def _table(examples: Sequence[Example], per_example: dict[str, Sequence[float]]) -> list[dict[str, float | str]]:
    rows: list[dict[str, float | str]] = []
    for number, example in enumerate(examples):
        rows.append({"key": example.key, **{name: values[number] for name, values in per_example.items()}})
    return rows
