"""The decoding loop of the ``canvas`` sampler; it reads top to bottom.

Shapes: B rows still being written, C positions of a canvas.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tide_specs import ConfigError, DecodingSession, Denoiser, Sampled, SamplingStep, Watch

from .canvas import CanvasSampler
from .canvas_board import CanvasBoard
from .canvas_prediction import Prediction, SelfConditioned, predict
from .randomness import row_generators


class Noise:
    """Random numbers and random tokens of each row, from the row's own generator."""

    def __init__(self, options: CanvasSampler, denoiser: Denoiser, prompts: Sequence[Sequence[int]], seed: int) -> None:
        weight = denoiser.head().weight
        self.generators = row_generators(prompts, seed, weight.device)
        if options.noise == "ordinary":
            from tide_plugins.corruptions.vocabulary import ordinary_ids

            self.ids = ordinary_ids(denoiser.tokenizer, weight.device)
        else:
            ids = torch.arange(weight.shape[0], device=weight.device)
            self.ids = ids if denoiser.mask_token_id is None else ids[ids != denoiser.mask_token_id]

    def numbers(self, rows: Sequence[int], width: int) -> Tensor:
        """Return numbers [B, C] in [0, 1), float64."""
        drawn = torch.empty(len(rows), width, dtype=torch.float64, device=self.ids.device)
        for place, row in enumerate(rows):
            drawn[place].uniform_(generator=self.generators[row])
        return drawn

    def tokens(self, rows: Sequence[int], width: int) -> Tensor:
        """Return random tokens [B, C]."""
        return self.ids[(self.numbers(rows, width) * len(self.ids)).long()]


@torch.no_grad()
def decode(
    options: CanvasSampler,
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seed: int,
    watch: Watch | None,
) -> Sampled:
    """Continue prompts by at most ``max_new_tokens`` tokens each."""
    width = _width(denoiser)
    if not prompts or max_new_tokens <= 0:
        return Sampled(ids=[[] for _ in prompts], forwards=0)
    session = _session(denoiser, len(prompts))
    aware = session if options.self_conditioning and isinstance(session, SelfConditioned) else None
    noise = Noise(options, denoiser, prompts, seed)
    starts = _starts(options, denoiser, prompts, width)
    random = noise.tokens(range(len(prompts)), width)
    board = CanvasBoard(options, prompts, starts, random, max_new_tokens=max_new_tokens)
    end_of_turn = denoiser.tokenizer.end_of_turn_token_id
    results: list[list[int]] = [[] for _ in prompts]
    forwards = positions = 0
    if longest := max(starts):
        session.extend(board.ids[:, :longest], board.start.clone())
        forwards, positions = 1, len(prompts) * longest
    while board.rows:
        prediction = predict(
            session.hidden(board.canvas),
            denoiser.head(),
            temperature=board.temperature,
            uniform=noise.numbers(board.rows, width),
            forbidden=denoiser.mask_token_id,
            session=aware,
        )
        forwards, positions = forwards + 1, positions + board.canvas.numel()
        random = noise.tokens(board.rows, width)
        taken, done = board.judge(prediction)
        board.write(prediction, taken, done, random)
        if watch is not None:
            _tell(watch, board, prediction, board.news(taken, done), forwards)
        if aware is not None and prediction.recalled is not None:
            # A new canvas starts without a prediction.
            aware.condition(prediction.recalled.masked_fill(done[:, None, None], 0.0))
        if not bool(done.any()):
            continue
        left = _retire(session, board, done, end_of_turn, results)
        done, random = done[left], random[left]
        if bool(done.any()):
            session.extend(board.canvas, done * width)
            forwards, positions = forwards + 1, positions + board.canvas.numel()
            board.advance(done, random)
    return Sampled(ids=results, forwards=forwards, positions=positions)


def _width(denoiser: Denoiser) -> int:
    if denoiser.block_size is None:
        raise ConfigError(
            f"sampler 'canvas' writes one canvas after the other, but this {denoiser.form} model has no blocks; use sampler "
            f"'{'autoregressive' if denoiser.form == 'autoregressive' else 'block'}'"
        )
    return denoiser.block_size


def _session(denoiser: Denoiser, rows: int) -> DecodingSession:
    try:
        return denoiser.session(rows)
    except NotImplementedError as error:
        raise ConfigError(f"sampler 'canvas' needs a model that decodes with a cache: {error}") from error


def _starts(options: CanvasSampler, denoiser: Denoiser, prompts: Sequence[Sequence[int]], width: int) -> list[int]:
    """Return where the first canvas of each row starts."""
    start = options.start or ("prompt" if denoiser.mask_token_id is None else "block")
    return [len(prompt) if start == "prompt" else len(prompt) // width * width for prompt in prompts]


def _tell(watch: Watch, board: CanvasBoard, prediction: Prediction, told: Tensor, forwards: int) -> None:
    columns = torch.stack([told.long(), board.places, board.canvas]).tolist()
    scores = (-prediction.entropy.double()).exp().tolist()
    for row, *values in zip(board.rows, *columns, scores, strict=True):
        kept = [value[1:] for value in zip(*values, strict=True) if value[0]]
        if kept:
            places, tokens, sure = zip(*kept, strict=True)
            watch(SamplingStep(row=row, positions=places, tokens=tokens, scores=sure, forwards=forwards))


def _retire(
    session: DecodingSession, board: CanvasBoard, done: Tensor, end_of_turn: int, results: list[list[int]]
) -> Tensor:
    """Take rows whose answer ends with this canvas off the board and out of the cache; return which are left [b]."""
    finished = done & board.ended(end_of_turn)
    left = (~finished).nonzero()[:, 0]
    if len(left) == len(finished):
        return left
    for place in finished.nonzero()[:, 0].tolist():
        results[board.rows[place]] = board.answer(place, end_of_turn)
    board.keep(left)
    if board.rows:
        session.keep(left)
    return left
