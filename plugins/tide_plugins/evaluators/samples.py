"""Writing samples, measuring their variety, and asking a judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from tide_specs import (
    Architecture,
    Denoiser,
    Estimate,
    Evaluation,
    EvaluationContext,
    Example,
    Message,
    Role,
    Runtime,
    TextTokenizer,
)

from .bits_per_byte import BitsPerByte
from .intervals import ratio
from .likelihood import Scores, score
from .variety import distinct, entropy
from .writing import added, sampler_for, write

if TYPE_CHECKING:
    from .generation import Generation


NGRAMS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt, and what a person wrote for it."""

    key: str
    prompt: Sequence[Message]
    reference: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Texts for the prompts and their tokens in the student's vocabulary."""

    texts: Sequence[str]
    ids: Sequence[Sequence[int]]


def evaluate(options: Generation, student: Denoiser, context: EvaluationContext) -> Evaluation:
    """Write for every prompt, then measure samples and references alike."""
    asked = [found for e in context.examples(options.limit or None) if (found := ask(e, options.prefix_bytes))]
    prompts = [student.tokenizer.encode_prompt(item.prompt) for item in asked]
    written = write(
        sampler_for(options.sampler, context, student),
        student,
        prompts,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        seed=context.seed,
    )
    samples = Answers(texts=written.texts, ids=written.ids)
    references = _references(student.tokenizer, asked, prompts, options.max_new_tokens)
    bits = judged(options, asked, [samples, references], context)
    per_example: dict[str, Sequence[float]] = {
        "token_entropy": [entropy(ids) for ids in samples.ids],
        "tokens": [float(len(ids)) for ids in samples.ids],
        "ended": [float(ended) for ended in written.ended],
        **({"judge_bits_per_byte": _per_byte(bits[0])} if bits else {}),
    }
    metrics: dict[str, Estimate] = {name: ratio(values, [1.0] * len(values)) for name, values in per_example.items()}
    for number, (prefix, answers) in enumerate((("", samples), ("reference_", references))):
        metrics |= _variety(prefix, answers)
        if bits:
            metrics[f"{prefix}judge_bits_per_byte"] = ratio(bits[number].bits.tolist(), bits[number].bytes.tolist())
    if bits:
        metrics["judge_excluded"] = Estimate(value=float(bits[0].excluded))
    metrics["forwards"] = Estimate(value=float(written.forwards))
    metrics["tokens_per_forward"] = Estimate(value=sum(map(len, samples.ids)) / max(1, written.forwards))
    return Evaluation(
        metrics={name: found for name, found in metrics.items() if math.isfinite(found.value)},
        per_example=per_example,
        tables={"samples": _table(asked, samples, per_example)},
    )


def _per_byte(scores: Scores) -> list[float]:
    """Return bits per byte of each sample; NaN for an empty one."""
    return [
        bits / size if size else math.nan
        for bits, size in zip(scores.bits.tolist(), scores.bytes.tolist(), strict=True)
    ]


def ask(example: Example, prefix_bytes: int) -> Asked | None:
    """Return the prompt of an example and its answer; ``None`` where there is no answer to compare with."""
    first = next((place for place, message in enumerate(example.messages) if message.trainable), None)
    if first is None:
        return None
    answer, before = example.messages[first].content, example.messages[:first]
    if not any(message.content for message in before):
        start = answer.encode()[:prefix_bytes].decode(errors="ignore")
        before, answer = [Message(role="text", content=start)], answer[len(start) :]
    return Asked(key=example.key, prompt=before, reference=answer) if answer else None


def _references(
    tokenizer: TextTokenizer, asked: Sequence[Asked], prompts: Sequence[Sequence[int]], limit: int
) -> Answers:
    """Return what people wrote, cut to the tokens that a sample may have."""
    ids = [_continuation(tokenizer, item)[:limit] for item in asked]
    texts = [added(tokenizer, prompt, new) for prompt, new in zip(prompts, ids, strict=True)]
    return Answers(texts=texts, ids=ids)


def _continuation(tokenizer: TextTokenizer, item: Asked) -> list[int]:
    answer = Message(
        role="text" if item.prompt[-1].role == "text" else "assistant", content=item.reference, trainable=True
    )
    (encoded,) = tokenizer.encode([Example(key=item.key, messages=[*item.prompt, answer])])
    return encoded.ids[(encoded.message == len(item.prompt)) & (encoded.kind == 1)].tolist()


def _variety(prefix: str, answers: Answers) -> Mapping[str, Estimate]:
    words = [text.split() for text in answers.texts]
    found = {f"{prefix}distinct_{n}": Estimate(value=distinct(words, n)) for n in NGRAMS}
    if prefix:
        entropies = [entropy(ids) for ids in answers.ids]
        found[f"{prefix}token_entropy"] = ratio(entropies, [1.0] * len(entropies))
    return found


def judged(
    options: Generation, asked: Sequence[Asked], answers: Sequence[Answers], context: EvaluationContext
) -> list[Scores]:
    """Return what the judge says of each set of answers; nothing without a judge."""
    if options.judge is None:
        return []
    judge = load_judge(options.judge, context)
    scorer = BitsPerByte(forwards=options.judge_forwards, batch_size=max(1, options.batch_size), lossless=False)
    return [_score(scorer, judge, options, asked, each.texts, context) for each in answers]


def _score(
    scorer: BitsPerByte,
    judge: Denoiser,
    options: Generation,
    asked: Sequence[Asked],
    texts: Sequence[str],
    context: EvaluationContext,
) -> Scores:
    examples = [shown(item, text, template=options.judge_template) for item, text in zip(asked, texts, strict=True)]
    return score(scorer, judge, examples, context)


def shown(item: Asked, text: str, *, template: bool) -> Example:
    """Return a prompt with an answer as the judge reads it."""
    plain = item.prompt[-1].role == "text"
    if template and not plain:
        return Example(key=item.key, messages=[*item.prompt, Message(role="assistant", content=text, trainable=True)])
    between = "" if plain else "\n\n"
    before = [
        replace(message, role="text", content=message.content + between, trainable=False) for message in item.prompt
    ]
    return Example(key=item.key, messages=[*before, Message(role="text", content=text, trainable=True)])


def load_judge(architecture: Architecture, context: EvaluationContext) -> Denoiser:
    """Load the judge, frozen, in the precision that the device is good at."""
    from ..attention.sdpa import Sdpa

    role: Role = "teacher" if architecture.serves("teacher") is None else "student"
    dtype = torch.bfloat16 if context.device.type == "cuda" else torch.float32
    runtime = Runtime(device=context.device, dtype=dtype, attention=Sdpa.model_validate({}), seed=context.seed)
    judge = architecture.load(role, runtime)
    judge.module.requires_grad_(False).eval()
    return judge


def _table(
    asked: Sequence[Asked], samples: Answers, per_example: Mapping[str, Sequence[float]]
) -> list[dict[str, float | str]]:
    return [
        {
            "key": item.key,
            "prompt": "\n".join(message.content for message in item.prompt),
            "text": samples.texts[number],
            **{name: values[number] for name, values in per_example.items()},
        }
        for number, item in enumerate(asked)
    ]
