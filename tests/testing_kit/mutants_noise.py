"""Corruptions and teacher views that are wrong on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from kit_mutation import Mutant

from tide_specs import Batch, Corruption, Noise, NoisedSide, Side, TeacherPass, TeacherView

if TYPE_CHECKING:
    from torch import Tensor


class KitMasking(Corruption):
    """Hides chunks and tokens outside them, on both sides."""

    name: Literal["kit_masking"] = "kit_masking"

    def corrupt(self, batch, t, schedule, draws, student, teacher):
        alpha = self.alpha(schedule, t)
        drawn = self.numbers(draws, t).to(t.device)
        leader = first_of_chunk(batch.student.chunk)
        hidden = drawn.gather(1, leader) < 1 - alpha.gather(1, leader)
        ours = self.side(batch.student, hidden, schedule.weight(t), student.mask_token_id)
        theirs = None
        if batch.teacher is not None and teacher is not None:
            theirs = self.teacher_side(batch, ours, hidden, schedule, float(t.max()), teacher.mask_token_id)
        return self.finish(batch, Noise(t=t, student=ours, teacher=theirs))

    def alpha(self, schedule, t):
        return schedule.alpha(t)

    def numbers(self, draws, t):
        return draws.uniform("mask", t.shape[1])

    def side(self, side: Side, hidden: Tensor, weight: Tensor, mask: int | None) -> NoisedSide:
        masked = hidden & side.maskable
        noised = side.ids if mask is None else side.ids.masked_fill(masked, mask)
        return NoisedSide(noised=noised, masked=masked, weight=weight * masked)

    def teacher_side(self, batch, ours, hidden, schedule, t, mask):
        import torch

        assert batch.teacher is not None
        chosen = torch.zeros(batch.chunks + 1, dtype=torch.bool)
        inside = batch.student.chunk >= 0
        chosen[batch.student.chunk[inside]] = hidden[inside]
        weight = schedule.weight(torch.full(batch.teacher.ids.shape, t))
        return self.side(batch.teacher, chosen[batch.teacher.chunk], weight, mask)

    def finish(self, batch: Batch, noise: Noise) -> Noise:
        return noise


def first_of_chunk(chunk):
    import torch

    index = torch.arange(chunk.shape[1]).expand(chunk.shape)
    starts = torch.ones_like(chunk, dtype=torch.bool)
    starts[:, 1:] = (chunk[:, 1:] != chunk[:, :-1]) | (chunk[:, 1:] < 0)
    return torch.where(starts, index, 0).cummax(1).values


class MasksPrompt(KitMasking):
    """Hides prompt tokens as well."""

    def side(self, side, hidden, weight, mask):
        return super().side(replace(side, maskable=side.maskable | (side.chunk < 0)), hidden, weight, mask)


class SilentlyChanges(KitMasking):
    """Changes a token that nobody must predict."""

    def finish(self, batch, noise):
        noised = noise.student.noised.clone()
        noised[:, 0] = 5
        return replace(noise, student=replace(noise.student, noised=noised))


class SplitsChunks(KitMasking):
    """Draws for each token."""

    def corrupt(self, batch, t, schedule, draws, student, teacher):
        made = super().corrupt(batch, t, schedule, draws, student, teacher)
        hidden = self.numbers(draws, t) < 1 - schedule.alpha(t)
        ours = self.side(batch.student, hidden, schedule.weight(t), student.mask_token_id)
        return replace(made, student=ours)


class OneSided(KitMasking):
    """Hides other chunks from the teacher."""

    def teacher_side(self, batch, ours, hidden, schedule, t, mask):
        return super().teacher_side(batch, ours, ~hidden, schedule, t, mask)


class WeightsEverywhere(KitMasking):
    """Leaves weights outside the mask."""

    def side(self, side, hidden, weight, mask):
        return replace(super().side(side, hidden, weight, mask), weight=weight)


class IgnoresSchedule(KitMasking):
    """Takes t for the masking rate."""

    def alpha(self, schedule, t):
        return 1 - t


class HidesClean(KitMasking):
    """Confuses alpha with 1 - alpha."""

    def alpha(self, schedule, t):
        return 1 - schedule.alpha(t)


class GlobalNoise(KitMasking):
    """Draws from torch's global generator."""

    def numbers(self, draws, t):
        import torch

        return torch.rand(t.shape)


class BatchNoise(KitMasking):
    """Draws once per batch and shares it out by row number."""

    def numbers(self, draws, t):
        drawn = super().numbers(draws, t)
        return (drawn + drawn.shape[0] * 0.37) % 1


class FixedNoise(KitMasking):
    """The same noise for every sample and epoch."""

    def numbers(self, draws, t):
        import torch

        return torch.rand(t.shape, generator=torch.Generator().manual_seed(0))


class InPlaceBatch(KitMasking):
    """Overwrites the clean ids."""

    def side(self, side, hidden, weight, mask):
        masked = hidden & side.maskable
        side.ids[masked] = mask if mask is not None else 0
        return NoisedSide(noised=side.ids, masked=masked, weight=weight * masked)


class ForgetsTeacher(KitMasking):
    """No teacher side."""

    def finish(self, batch, noise):
        return replace(noise, teacher=None)


class IntegerMask(KitMasking):
    """Masks as numbers."""

    def side(self, side, hidden, weight, mask):
        made = super().side(side, hidden, weight, mask)
        return replace(made, masked=made.masked.long())


class NeedsNone(KitMasking):
    """Says that it needs no mask token, and uses it."""

    def needs_mask_token(self):
        return False

    def side(self, side, hidden, weight, mask):
        return super().side(side, hidden, weight, 10**6 if mask is None else mask)


class KitHalves(TeacherView):
    """Two complementary passes, by whole chunks."""

    name: Literal["kit_halves"] = "kit_halves"

    def passes(self, side, masked, draws):
        first = draws.uniform("halves", masked.shape[1]).gather(1, first_of_chunk(side.chunk)) < 0.5
        return [TeacherPass(masked=part, counts=part) for part in (masked & first, masked & ~first)]


class OverlappingAnswers(KitHalves):
    """Both passes answer everything."""

    def passes(self, side, masked, draws):
        return [replace(each, counts=masked) for each in super().passes(side, masked, draws)]


class MissingAnswers(KitHalves):
    """Forgets the second half."""

    def passes(self, side, masked, draws):
        return super().passes(side, masked, draws)[:1]


class AnswersUnmasked(KitHalves):
    """Counts positions that nobody asks for."""

    def passes(self, side, masked, draws):
        one, two = super().passes(side, masked, draws)
        extra = ~masked & side.maskable
        return [one, TeacherPass(masked=two.masked | extra, counts=two.counts | extra)]


class GivesAnswersAway(KitHalves):
    """Answers what it reads: masks and counts swapped."""

    def passes(self, side, masked, draws):
        one, two = super().passes(side, masked, draws)
        return [TeacherPass(masked=one.masked, counts=two.counts), TeacherPass(masked=two.masked, counts=one.counts)]


class HidesMore(KitHalves):
    """Hides the prompt from the teacher."""

    def passes(self, side, masked, draws):
        return [replace(each, masked=each.masked | ~side.maskable) for each in super().passes(side, masked, draws)]


class SplitsAChunk(KitHalves):
    """Splits by tokens."""

    def passes(self, side, masked, draws):
        first = draws.uniform("halves", masked.shape[1]) < 0.5
        return [TeacherPass(masked=part, counts=part) for part in (masked & first, masked & ~first)]


class SplitsByBatch(KitHalves):
    """Splits by the row's place in the batch."""

    def passes(self, side, masked, draws):
        import torch

        first = (torch.arange(len(masked)) % 2 == 0)[:, None].expand(masked.shape)
        return [TeacherPass(masked=part, counts=part) for part in (masked & first, masked & ~first)]


class RandomSplit(KitHalves):
    """Splits by torch's global generator."""

    def passes(self, side, masked, draws):
        import torch

        first = torch.rand(masked.shape).gather(1, first_of_chunk(side.chunk)) < 0.5
        return [TeacherPass(masked=part, counts=part) for part in (masked & first, masked & ~first)]


class NoPass(KitHalves):
    """Returns nothing."""

    def passes(self, side, masked, draws):
        return []


class CountsNothingMasked(KitHalves):
    """Counts the first token whatever is asked."""

    def passes(self, side, masked, draws):
        return [TeacherPass(masked=side.maskable, counts=side.maskable)]


CORRECT = [KitMasking(), KitHalves()]
MUTANTS = [
    Mutant(MasksPrompt(), "check_only_maskable_tokens_change", r"not maskable .*use masked & maskable"),
    Mutant(SilentlyChanges(), "check_only_maskable_tokens_change", "tokens change where masked is false"),
    Mutant(SplitsChunks(), "check_chunks_are_hidden_whole", "hidden in part"),
    Mutant(OneSided(), "check_chunks_are_hidden_whole", "hidden on one side and visible on the other"),
    Mutant(WeightsEverywhere(), "check_weights", "multiply it by masked"),
    Mutant(IgnoresSchedule(), "check_rate", "ask the schedule, not t"),
    Mutant(HidesClean(), "check_rate", "at t = 0 a share of"),
    Mutant(GlobalNoise(), "check_noise_belongs_to_the_sample", r"take every random number from draws\.uniform"),
    Mutant(FixedNoise(), "check_noise_belongs_to_the_sample", "another seed gives the same noise"),
    Mutant(BatchNoise(), "check_noise_belongs_to_the_sample", "changes with the rest of its batch"),
    Mutant(InPlaceBatch(), "check_batch_stays_unchanged", "in place, and targets would be lost"),
    Mutant(ForgetsTeacher(), "check_shapes", "the noise has none; corrupt both sides"),
    Mutant(IntegerMask(), "check_shapes", "must be int64, bool and float32"),
    Mutant(NeedsNone(), "check_mask_token", "noised holds ids that the student's vocabulary does not have"),
    Mutant(OverlappingAnswers(), "check_each_answer_counts_once", "make counts disjoint"),
    Mutant(MissingAnswers(), "check_each_answer_counts_once", "the teacher never answers it"),
    Mutant(AnswersUnmasked(), "check_each_answer_counts_once", "a position that is not masked counts"),
    Mutant(GivesAnswersAway(), "check_no_answer_is_given_away", "reads the true token at positions that it answers"),
    Mutant(HidesMore(), "check_no_answer_is_given_away", "hides positions that are not masked"),
    Mutant(SplitsAChunk(), "check_chunks_stay_whole", "a chunk in part.*decide once per chunk"),
    Mutant(SplitsByBatch(), "check_split_belongs_to_the_sample", "change with the rest of its batch"),
    Mutant(RandomSplit(), "check_split_belongs_to_the_sample", r"take every random number from draws\.uniform"),
    Mutant(NoPass(), "check_shapes", "the teacher would never answer"),
    Mutant(CountsNothingMasked(), "check_nothing_masked", "with nothing masked something counts"),
]
