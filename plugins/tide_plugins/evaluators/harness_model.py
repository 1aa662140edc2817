"""A denoiser as a model of lm-evaluation-harness.

The harness speaks in strings. A conversation goes through it as JSON behind ``CHAT``, since ours is encoded from its messages
and never searched for in a rendered text.
"""

# lm-eval publishes no types worth the name.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false, reportMissingTypeStubs=false, reportMissingImports=false

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from lm_eval.api.model import LM

from tide_specs import DataError, Denoiser, Example, Message, Sampler, TokenKind

from .likelihood import add_nats
from .masks import generator, views
from .texts import Text, text_at
from .writing import added, cut_at

CHAT = "\x02tide-chat\x02"
USUAL_NEW_TOKENS = 256
"""Tokens of an answer where a task does not say."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model is asked: ``forwards`` noised versions of each text, ``rows`` of a batch, ``new_tokens`` in place of a task's."""

    forwards: int
    rows: int
    seed: int
    device: torch.device
    new_tokens: int | None = None


class HarnessModel(LM):
    """Answers the harness's three kinds of request.

    Log-likelihoods are exact for an autoregressive model. For the others they are the Monte-Carlo estimate of the bound that
    ``bits_per_byte`` gives, with the same masks for every model; whether greedy decoding would write a text is then not known,
    and ``False``.
    """

    def __init__(self, denoiser: Denoiser, sampler: Sampler, reading: Reading) -> None:
        super().__init__()
        self.denoiser, self.sampler, self.reading = denoiser, sampler, reading
        self.forwards = 0
        self.tokens = 0

    # ---- log-likelihoods

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Score continuations given contexts."""
        texts = [self._fit(self._pair(number, *request.args[:2])) for number, request in enumerate(requests)]
        nats = self._nats([(number, text) for number, text in enumerate(texts)], len(texts))
        greedy = self._greedy(texts) if self.denoiser.form == "autoregressive" else [False] * len(texts)
        return list(zip((-nats).tolist(), greedy, strict=True))

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Score whole texts; one that is longer than the model reads is cut into windows without overlap."""
        planned: list[tuple[int, Text]] = []
        for number, request in enumerate(requests):
            planned += [(number, window) for window in self._windows(self._pair(number, "", request.args[0]))]
        return (-self._nats(planned, len(requests))).tolist()

    def _pair(self, number: int, context: str, continuation: str) -> Text:
        """Encode a continuation behind its context."""
        if context.startswith(CHAT):
            *before, prefill = _opened(_messages(context))
            whole = Message(role="assistant", content=prefill.content + continuation, trainable=True)
            return self._text(number, [*before, whole], len(prefill.content.encode()))
        # As everywhere in the harness, a space belongs to the word behind it.
        kept = context.rstrip()
        continuation, context = context[len(kept) :] + continuation, kept
        before = [Message(role="text", content=context)] if context else []
        return self._text(number, [*before, Message(role="text", content=continuation, trainable=True)], 0)

    def _text(self, number: int, messages: Sequence[Message], skipped: int) -> Text:
        """Return the text of the last message without its first ``skipped`` bytes."""
        (encoded,) = self.denoiser.tokenizer.encode([Example(key=str(number), messages=messages)])
        last = len(messages) - 1
        own = np.flatnonzero((encoded.message == last) & (encoded.kind == TokenKind.CONTENT))
        size = len(messages[last].content.encode())
        if skipped:
            own = own[np.maximum.accumulate(encoded.end[own]) > skipped]
        if own.size == 0:
            raise DataError(f"lm_eval: the tokenizer makes no token of {messages[last].content!r}")
        return text_at(number, last, own, encoded, size - skipped)

    def _fit(self, text: Text) -> Text:
        """Drop the beginning of a context that the model has no positions for; what it begins with stays."""
        limit = self.denoiser.longest
        if limit is None or len(text.ids) <= limit:
            return text
        over = len(text.ids) - limit
        if over >= text.first:
            raise DataError(
                f"lm_eval: a text of {text.last - text.first} tokens is too long for a model of {limit} positions"
            )
        ids = np.concatenate([text.ids[:1], text.ids[1 + over :]])
        return replace(text, ids=ids, first=text.first - over, last=text.last - over)

    def _windows(self, text: Text) -> list[Text]:
        limit = self.denoiser.longest or self.denoiser.trained_length
        if limit is None or len(text.ids) <= limit:
            return [text]
        step, size = limit - 1, text.last - text.first
        found: list[Text] = []
        for part, start in enumerate(range(text.first, text.last, step)):
            content = text.ids[start : min(start + step, text.last)]
            ids = np.concatenate([text.ids[:1], content])
            found.append(replace(text, message=part, ids=ids, first=1, last=len(ids), bytes=size))
        return found

    def _nats(self, texts: Sequence[tuple[int, Text]], count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the negative log-likelihood of each request; its texts add up."""
        nats, reading = np.zeros(count), self.reading
        planned = [
            (number, views(text, self.denoiser, reading.forwards, generator(reading.seed, text)))
            for number, text in texts
        ]
        with torch.no_grad():
            add_nats(nats, self.denoiser, planned, reading.rows, reading.device)
        return nats

    @torch.no_grad()
    def _greedy(self, texts: Sequence[Text]) -> list[bool]:
        """Return whether each token of a text is the likeliest one, given those before it."""
        found = [False] * len(texts)
        order = sorted(range(len(texts)), key=lambda number: texts[number].last)
        for start in range(0, len(order), self.reading.rows):
            numbers = order[start : start + self.reading.rows]
            rows = [torch.as_tensor(texts[number].ids[: texts[number].last]) for number in numbers]
            ids = torch.nn.utils.rnn.pad_sequence(
                rows, batch_first=True, padding_value=self.denoiser.tokenizer.pad_token_id
            )
            ids = ids.to(self.reading.device)
            lengths = torch.tensor([len(row) for row in rows], device=ids.device)
            states = self.denoiser.hidden(ids, ids, lengths)
            for row, number in enumerate(numbers):
                place = slice(texts[number].first, texts[number].last)
                found[number] = self._likeliest(states[row, place], ids[row, place])
        return found

    def _likeliest(self, states: torch.Tensor, ids: torch.Tensor) -> bool:
        """States [n, H] and ids [n] -> whether each is the argmax of its logits."""
        head = self.denoiser.head()
        return all(bool((head.logits(states[p]).argmax(1) == ids[p]).all()) for p in head.slices(len(states)))

    # ---- writing

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Answer prompts with the sampler, which decides how tokens are chosen, up to the first of a task's stops."""
        groups: dict[int, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            groups[self._new_tokens(request.args[1])].append(number)
        answers = [""] * len(requests)
        for new_tokens, numbers in groups.items():
            prompts = [self._prompt(requests[number].args[0], new_tokens) for number in numbers]
            for number, text in zip(numbers, self._write(prompts, new_tokens), strict=True):
                until = requests[number].args[1].get("until") or []
                answers[number] = cut_at(text, [until] if isinstance(until, str) else until)
        return answers

    def _new_tokens(self, given: Mapping[str, Any]) -> int:
        if self.reading.new_tokens is not None:
            return self.reading.new_tokens
        return int(given.get("max_gen_toks") or given.get("max_new_tokens") or USUAL_NEW_TOKENS)

    def _write(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[str]:
        from .writing import write

        found = write(
            self.sampler,
            self.denoiser,
            prompts,
            max_new_tokens=new_tokens,
            batch_size=self.reading.rows,
            seed=self.reading.seed,
        )
        self.forwards, self.tokens = self.forwards + found.forwards, self.tokens + sum(map(len, found.ids))
        return [added(self.denoiser.tokenizer, prompt, ids) for prompt, ids in zip(prompts, found.ids, strict=True)]

    def _prompt(self, context: str, new_tokens: int) -> list[int]:
        tokenizer, limit = self.denoiser.tokenizer, self.denoiser.longest
        if context.startswith(CHAT):
            messages = _messages(context)
            ids = self._prefilled(messages) if messages[-1].role == "assistant" else tokenizer.encode_prompt(messages)
        else:
            ids = tokenizer.encode_prompt([Message(role="text", content=context)])
        if limit is not None and len(ids) + new_tokens > limit:
            warnings.warn(f"lm_eval: a prompt of {len(ids)} tokens was cut to fit {limit} positions", stacklevel=2)
            ids = [*ids[:1], *ids[1 + len(ids) + new_tokens - limit :]]
        return list(ids)

    def _prefilled(self, messages: Sequence[Message]) -> list[int]:
        """Encode a conversation whose last answer has begun."""
        (encoded,) = self.denoiser.tokenizer.encode([Example(key="", messages=messages)])
        own = np.flatnonzero((encoded.message == len(messages) - 1) & (encoded.kind == TokenKind.CONTENT))
        return cast("list[int]", encoded.ids[: int(own[-1]) + 1].tolist())

    # ---- conversations

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return a conversation as the string that the other methods know."""
        return CHAT + json.dumps([{"role": m["role"], "content": m["content"]} for m in chat_history])

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return what stands for the template in the harness's records."""
        return self.tokenizer_name

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's fingerprint, template included."""
        return self.denoiser.tokenizer.fingerprint()


def _messages(context: str) -> list[Message]:
    return [Message(role=m["role"], content=m["content"]) for m in json.loads(context.removeprefix(CHAT))]


def _opened(messages: list[Message]) -> list[Message]:
    """Return the messages with an answer at the end: the one that has begun, or an empty one."""
    return messages if messages[-1].role == "assistant" else [*messages, Message(role="assistant", content="")]
