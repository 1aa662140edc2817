"""Samplers that are wrong on purpose."""

from __future__ import annotations

from typing import Literal

from kit_mutation import Mutant

from tide_specs import ConfigError, Sampled, Sampler, SamplingStep


class KitGreedy(Sampler):
    """One token at a time, from left to right, each row alone."""

    name: Literal["kit_greedy"] = "kit_greedy"

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        import torch

        ids, forwards, positions = [], 0, 0
        with torch.no_grad():
            for number, prompt in enumerate(prompts):
                written, passes = self.row(denoiser, list(prompt), max_new_tokens, seed)
                ids.append(written)
                for place, token in enumerate(written if watch else []):
                    watch(self.step(number, len(prompt) + place, token, forwards + place + 1))
                forwards += passes
                positions += sum(self.length(denoiser, len(prompt) + place) for place in range(passes))
        streams = 2 if denoiser.form == "block_diffusion" else 1
        return self.finish(denoiser, prompts, Sampled(ids=ids, forwards=forwards, positions=streams * positions))

    def step(self, row, place, token, forwards):
        return SamplingStep(row=row, positions=[place], tokens=[token], scores=[0.5], forwards=forwards)

    def length(self, denoiser, written):
        block = denoiser.block_size or 1
        return -(-(written + 1) // block) * block

    def row(self, denoiser, prompt, count, seed):
        ids = list(prompt)
        for step in range(count):
            token = self.choose(denoiser, ids, seed)
            if token == denoiser.tokenizer.end_of_turn_token_id:
                return ids[len(prompt) :], step + 1
            ids.append(token)
        return ids[len(prompt) :], count

    def choose(self, denoiser, ids, seed):
        return int(self.logits(denoiser, ids).argmax())

    def logits(self, denoiser, ids):
        import torch

        hole = denoiser.tokenizer.pad_token_id if denoiser.mask_token_id is None else denoiser.mask_token_id
        length = self.length(denoiser, len(ids))
        row = torch.tensor([ids + [hole] * (length - len(ids))])
        hidden = denoiser.hidden(row, row, torch.tensor([length]))[:, len(ids)]
        logits = denoiser.head().logits(hidden)[0]
        logits[hole] = float("-inf")
        return logits

    def finish(self, denoiser, prompts, sampled):
        return sampled


class KeepsPrompt(KitGreedy):
    """Returns prompt and answer."""

    def row(self, denoiser, prompt, count, seed):
        written, passes = super().row(denoiser, prompt, max(0, count - len(prompt)), seed)
        return [*prompt, *written][:count], passes


class TooMany(KitGreedy):
    """One token too many."""

    def row(self, denoiser, prompt, count, seed):
        return super().row(denoiser, prompt, count + 1, seed)


class LeavesMasks(KitGreedy):
    """Stops before everything is committed."""

    def row(self, denoiser, prompt, count, seed):
        written, passes = super().row(denoiser, prompt, count, seed)
        return [*written[:-1], denoiser.tokenizer.mask_token_id][:count], passes


class KeepsEndOfTurn(KitGreedy):
    """Returns the end-of-turn token."""

    def row(self, denoiser, prompt, count, seed):
        written, passes = super().row(denoiser, prompt, count, seed)
        return [*written[: count - 1], denoiser.tokenizer.end_of_turn_token_id], passes


class WritesOn(KitGreedy):
    """Goes on behind the end of the turn."""

    def choose(self, denoiser, ids, seed):
        logits = self.logits(denoiser, ids)
        logits[denoiser.tokenizer.end_of_turn_token_id] = float("-inf")
        return int(logits.argmax())


class GivesUp(KitGreedy):
    """Stops half way."""

    def row(self, denoiser, prompt, count, seed):
        return super().row(denoiser, prompt, count // 2, seed)


class BatchDependent(KitGreedy):
    """Cuts every row to the shortest prompt."""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        shortest = min(map(len, prompts), default=0)
        cut = [list(prompt)[:shortest] for prompt in prompts]
        return super().sample(denoiser, cut, max_new_tokens=max_new_tokens, seed=seed, watch=watch)


class Unseeded2(KitGreedy):
    """Draws from the global generator."""

    def choose(self, denoiser, ids, seed):
        import torch

        logits = self.logits(denoiser, ids)
        logits[denoiser.tokenizer.end_of_turn_token_id] = float("-inf")
        return int(torch.multinomial(logits.softmax(0), 1))


class Uncounted(KitGreedy):
    """Counts no forwards."""

    def finish(self, denoiser, prompts, sampled):
        return Sampled(ids=sampled.ids, forwards=0)


class DropsRows(KitGreedy):
    """Leaves empty answers out."""

    def finish(self, denoiser, prompts, sampled):
        return Sampled(ids=[ids for ids in sampled.ids if len(ids) > 3][:2], forwards=sampled.forwards)


class Optimises(KitGreedy):
    """Changes the model while sampling."""

    def finish(self, denoiser, prompts, sampled):
        import torch

        with torch.no_grad():
            next(denoiser.module.parameters()).mul_(1.0 + 1e-6)
        return sampled


class NeedsPrompts(KitGreedy):
    """Assumes at least one prompt."""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        assert len(prompts[0]) >= 0
        return super().sample(denoiser, prompts, max_new_tokens=max_new_tokens, seed=seed, watch=watch)


class RefusesAll(KitGreedy):
    """Serves no form."""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        raise ConfigError(f"not {denoiser.form}")


class Unwatched(KitGreedy):
    """Tells nobody."""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        return super().sample(denoiser, prompts, max_new_tokens=max_new_tokens, seed=seed)


class WatchedOtherwise(KitGreedy):
    """Writes something else while it is watched."""

    def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
        count = max_new_tokens if watch is None else max_new_tokens - 1
        return super().sample(denoiser, prompts, max_new_tokens=count, seed=seed, watch=watch)


class OffByOne(KitGreedy):
    """Reports every token one place too far to the right."""

    def step(self, row, place, token, forwards):
        return super().step(row, place + 1, token, forwards)


class CountsFromAnswer(KitGreedy):
    """Counts positions from the beginning of the answer."""

    def step(self, row, place, token, forwards):
        return super().step(row, place - 4, token, forwards)


class EmptySteps(KitGreedy):
    """Reports steps that change nothing."""

    def step(self, row, place, token, forwards):
        return SamplingStep(row=row, positions=[], tokens=[], scores=[], forwards=forwards)


class ScorelessSteps(KitGreedy):
    """Reports no scores."""

    def step(self, row, place, token, forwards):
        return SamplingStep(row=row, positions=[place], tokens=[token], scores=[], forwards=forwards)


class LogitScores(KitGreedy):
    """Reports logits as scores."""

    def step(self, row, place, token, forwards):
        return SamplingStep(row=row, positions=[place], tokens=[token], scores=[-3.5], forwards=forwards)


class CountsBack(KitGreedy):
    """Reports the passes that are left."""

    def step(self, row, place, token, forwards):
        return super().step(row, place, token, 100 - forwards)


class CountsTokens(KitGreedy):
    """Counts the tokens written as positions."""

    def finish(self, denoiser, prompts, sampled):
        return Sampled(ids=sampled.ids, forwards=sampled.forwards, positions=sum(map(len, sampled.ids)))


CORRECT = [KitGreedy()]
MUTANTS = [
    Mutant(KeepsPrompt(), "check_results", "return only the new ids"),
    Mutant(TooMany(), "check_results", "cut the answer"),
    Mutant(LeavesMasks(), "check_results", "holds mask tokens"),
    Mutant(KeepsEndOfTurn(), "check_results", "holds the end-of-turn token"),
    Mutant(GivesUp(), "check_results", "although the model ended no turn"),
    Mutant(DropsRows(), "check_results", "return one list per prompt"),
    Mutant(WritesOn(), "check_stops_at_the_end_of_turn", "ends its turn at once, but tokens are returned"),
    Mutant(BatchDependent(), "check_rows_are_independent", "keep rows apart|a row changes with the rows beside it"),
    Mutant(Unseeded2(), "check_repeatable", "seed a generator of your own"),
    Mutant(Uncounted(), "check_forwards_are_counted", "0 forward passes"),
    Mutant(Optimises(), "check_repeatable", "changes the model's weights"),
    Mutant(Unwatched(), "check_steps_are_told", "watch is never called"),
    Mutant(WatchedOtherwise(), "check_steps_are_told", "watching must change nothing"),
    Mutant(OffByOne(), "check_steps_are_told", "replay to"),
    Mutant(CountsFromAnswer(), "check_steps_are_told", "inside a prompt"),
    Mutant(EmptySteps(), "check_steps_are_told", "a step without a position"),
    Mutant(ScorelessSteps(), "check_steps_are_told", "1 tokens and 0 scores"),
    Mutant(LogitScores(), "check_steps_are_told", "do not lie in"),
    Mutant(CountsBack(), "check_steps_are_told", "report the passes made so far"),
    Mutant(CountsTokens(), "check_positions_are_counted", "positions went through the model"),
    Mutant(NeedsPrompts(), "check_edges", "raised IndexError"),
    Mutant(RefusesAll(), "check_serves_a_form", "refuses every form"),
]
