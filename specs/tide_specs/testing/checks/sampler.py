"""Checks of samplers, on tiny models of every form.

Shapes: B rows, L tokens.
"""

# The checks look closer than annotations do, and torch's stubs are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnnecessaryIsInstance=false, reportUnnecessaryComparison=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from tide_specs.denoiser import Denoiser, Form
from tide_specs.errors import ConfigError, UnavailableError
from tide_specs.sampler import Sampled, Sampler, SamplingStep
from tide_specs.testing.outcome import CheckSkipped, expect
from tide_specs.testing.toys import FORMS, toy_denoiser

NEW = 12
PROMPTS: tuple[tuple[int, ...], ...] = ((257, 116, 104, 101), (257, 99), (257, 116, 104, 101, 32, 99, 97, 116, 32))


def forms(sampler: Sampler) -> list[Form]:
    """Return the forms that the sampler serves."""
    return [form for form in FORMS if _serves(sampler, form)]


def _serves(sampler: Sampler, form: Form) -> bool:
    try:
        sampler.sample(model(form), PROMPTS[:1], max_new_tokens=2)
    except (ConfigError, UnavailableError):
        return False
    return True


@functools.cache
def model(form: Form) -> Denoiser:
    """Return a tiny model of one form that never ends a turn by itself."""
    return _biased(form, -30.0)


def _biased(form: Form, end_of_turn: float) -> Denoiser:
    """A tiny model whose end-of-turn logit is moved."""
    made = toy_denoiser(form, seed=1)
    weight: Any = made.module.get_parameter("head.weight")
    head: Any = made.module.get_submodule("head")
    bias = torch.zeros(weight.shape[0])
    bias[made.tokenizer.end_of_turn_token_id] = end_of_turn
    head.bias = torch.nn.Parameter(bias)
    return made


def served(sampler: Sampler) -> list[tuple[Form, Denoiser]]:
    """Return a model of each form that the sampler serves."""
    found: list[tuple[Form, Denoiser]] = [(form, model(form)) for form in forms(sampler)]
    if not found:
        raise CheckSkipped("the sampler serves none of the kit's models")
    return found


def exercise(sampler: Sampler) -> None:
    """Write a few tokens with each form."""
    for _, made in served(sampler):
        sample(sampler, made)


def sample(sampler: Sampler, made: Denoiser, prompts: Sequence[Sequence[int]] = PROMPTS, **given: Any) -> Sampled:
    """Continue the kit's prompts."""
    return sampler.sample(made, prompts, max_new_tokens=given.pop("max_new_tokens", NEW), **given)


def check_serves_a_form(sampler: Sampler) -> None:
    """At least one form is served; the others are refused with ``ConfigError`` or ``UnavailableError``."""
    expect(
        forms(sampler),
        f"the sampler refuses every form ({', '.join(FORMS)}); serve at least one of them.",
    )


def check_results(sampler: Sampler) -> None:
    """One list of new ids for each prompt, none longer than asked, without mask or end-of-turn tokens."""
    for form, made in served(sampler):
        for prompts, count in ((PROMPTS, NEW), (PROMPTS[:1], 1), (PROMPTS, 5)):
            result = sample(sampler, made, prompts, max_new_tokens=count)
            expect(
                len(result.ids) == len(prompts),
                f"{form}: {len(result.ids)} results for {len(prompts)} prompts; return one list per prompt, in order.",
            )
            for prompt, ids in zip(prompts, result.ids, strict=True):
                _check_row(form, made, list(prompt), [int(token) for token in ids], count)


def _check_row(form: Form, made: Denoiser, prompt: list[int], ids: list[int], count: int) -> None:
    expect(len(ids) <= count, f"{form}: {len(ids)} new tokens where at most {count} were asked for; cut the answer.")
    expect(
        len(ids) < len(prompt) or ids[: len(prompt)] != prompt,
        f"{form}: the result starts with the prompt; return only the new ids.",
    )
    expect(
        made.mask_token_id not in ids, f"{form}: the result holds mask tokens; go on until every token is committed."
    )
    expect(
        made.tokenizer.end_of_turn_token_id not in ids,
        f"{form}: the result holds the end-of-turn token; leave it and what follows out.",
    )
    expect(len(ids) == count, f"{form}: {len(ids)} of {count} tokens, although the model ended no turn; write on.")


def check_stops_at_the_end_of_turn(sampler: Sampler) -> None:
    """A model that ends its turn at once writes nothing."""
    for form in forms(sampler):
        result = sample(sampler, _biased(form, 200.0))
        expect(
            all(len(ids) == 0 for ids in result.ids),
            f"{form}: the model ends its turn at once, but tokens are returned; leave out the end-of-turn token and what follows.",
        )


def check_rows_are_independent(sampler: Sampler) -> None:
    """A row's result does not depend on the other rows."""
    for form, made in served(sampler):
        together = sample(sampler, made, seed=3)
        for row, prompt in enumerate(PROMPTS):
            alone = sample(sampler, made, [prompt], seed=3) if row == 0 else None
            if alone is not None:
                same = list(alone.ids[0]) == list(together.ids[0])
                expect(
                    same, f"{form}: the first row changes when other rows join the batch; keep rows apart, padding too."
                )
        others = sample(sampler, made, [PROMPTS[0], PROMPTS[2]], seed=3)
        expect(
            list(others.ids[0]) == list(together.ids[0]),
            f"{form}: a row changes with the rows beside it; take no maximum, count or random number over the batch.",
        )


def check_repeatable(sampler: Sampler) -> None:
    """The same seed writes the same text, whatever torch's global generator holds; the model stays as it was."""
    for form, made in served(sampler):
        weights = {name: p.clone() for name, p in made.module.named_parameters()}
        first = sample(sampler, made, seed=1)
        state = torch.random.get_rng_state()
        torch.rand(5)
        again = sample(sampler, made, seed=1)
        torch.random.set_rng_state(state)
        expect(
            [list(ids) for ids in first.ids] == [list(ids) for ids in again.ids],
            f"{form}: the same seed writes two texts; seed a generator of your own and draw only from it.",
        )
        changed = [name for name, p in made.module.named_parameters() if not torch.equal(weights[name], p)]
        expect(not changed, f"{form}: sampling changes the model's weights ({', '.join(changed[:2])}).")
        expect(
            all(p.grad is None for p in made.module.parameters()), f"{form}: sampling leaves gradients; use no_grad."
        )


def check_forwards_are_counted(sampler: Sampler) -> None:
    """``forwards`` counts passes of the model; a step commits at least one token."""
    for form, made in served(sampler):
        result = sample(sampler, made)
        expect(
            0 < result.forwards <= 3 * NEW + 8,
            f"{form}: {result.forwards} forward passes for {NEW} tokens; every step must commit at least one token, and forwards "
            "must count the passes made.",
        )


def check_edges(sampler: Sampler) -> None:
    """No prompts, and no new tokens, are served as well."""
    for form, made in served(sampler):
        nothing = sample(sampler, made, [])
        expect(len(nothing.ids) == 0, f"{form}: no prompts give {len(nothing.ids)} results.")
        empty = sample(sampler, made, max_new_tokens=0)
        expect(
            [len(ids) for ids in empty.ids] == [0] * len(PROMPTS),
            f"{form}: max_new_tokens=0 does not give empty results, one per prompt.",
        )


def check_steps_are_told(sampler: Sampler) -> None:
    """What ``watch`` is told replays to the ids returned: each step changes something, ``forwards`` never falls."""
    for form, made in served(sampler):
        steps: list[SamplingStep] = []
        result = sample(sampler, made, watch=steps.append)
        alone = sample(sampler, made)
        expect(
            [list(ids) for ids in result.ids] == [list(ids) for ids in alone.ids],
            f"{form}: the text is another one when somebody watches; watching must change nothing.",
        )
        expect(steps, f"{form}: watch is never called; call it after every step, once for each row that changed.")
        for step in steps:
            _check_step(form, step)
        forwards = [step.forwards for step in steps]
        expect(
            forwards == sorted(forwards) and 0 < forwards[-1] <= result.forwards,
            f"{form}: the steps' forwards fall, or exceed those of the result; report the passes made so far.",
        )
        for row, ids in enumerate(_replayed(made, steps)):
            expect(
                ids == [int(token) for token in result.ids[row]],
                f"{form}: the steps of row {row} replay to {ids}, but {list(result.ids[row])} is returned; report every token "
                "written, at its place in prompt and answer.",
            )


def _check_step(form: Form, step: SamplingStep) -> None:
    expect(step.positions, f"{form}: a step without a position is told; call watch for rows that changed.")
    expect(
        len(step.positions) == len(step.tokens) == len(step.scores),
        f"{form}: a step has {len(step.positions)} positions, {len(step.tokens)} tokens and {len(step.scores)} scores; give "
        "one of each.",
    )
    expect(
        0 <= step.row < len(PROMPTS) and min(step.positions) >= len(PROMPTS[step.row]),
        f"{form}: a step of row {step.row} writes at {min(step.positions)}, inside a prompt; count positions from the "
        "beginning of the prompt, and rows among the prompts.",
    )
    expect(
        all(0.0 <= score <= 1.0 for score in step.scores), f"{form}: scores {list(step.scores)} do not lie in [0, 1]."
    )


def _replayed(made: Denoiser, steps: Sequence[SamplingStep]) -> list[list[int]]:
    """Return the answers that the steps write."""
    texts: list[dict[int, int]] = [{} for _ in PROMPTS]
    for step in steps:
        texts[step.row].update(zip(step.positions, step.tokens, strict=True))
    ends = {made.tokenizer.end_of_turn_token_id, made.mask_token_id, None}
    answers: list[list[int]] = []
    for prompt, text in zip(PROMPTS, texts, strict=True):
        tokens = [text.get(len(prompt) + place) for place in range(NEW)]
        end = next((place for place, token in enumerate(tokens) if token in ends), NEW)
        answers.append([int(token) for token in tokens[:end] if token is not None])
    return answers


def check_positions_are_counted(sampler: Sampler) -> None:
    """``positions``, where it is counted, is what went through the model: padding included, what is cached excluded."""
    for form, made in served(sampler):
        result, seen = _seen(sampler, made)
        expect(
            result.positions in (0, seen),
            f"{form}: positions is {result.positions}, but {seen} positions went through the model; count rows times columns "
            "of every pass, for [x_t, x_0] twice, or leave it 0.",
        )


def _seen(sampler: Sampler, made: Denoiser) -> tuple[Sampled, int]:
    """Return what is sampled, and how many positions passed the model's last norm meanwhile."""
    counted: list[int] = []
    norm: Any = made.module.get_submodule("norm")
    handle = norm.register_forward_hook(lambda _module, _given, out: counted.append(out.shape[0] * out.shape[1]))
    try:
        return sample(sampler, made), sum(counted)
    finally:
        handle.remove()
