"""Losses on hidden states, on distributions and on lines that are wrong on purpose."""

from __future__ import annotations

from typing import ClassVar, Literal

from kit_mutation import Mutant

from tide_specs import ChunkLoss, DistributionLoss, FeatureLoss, Resolution


class KitStates(FeatureLoss):
    """Correct: squared distance of the projected state, scaled to the teacher's size."""

    name: Literal["kit_states"] = "kit_states"

    def build(self, student_size, teacher_size):
        from torch import nn

        return nn.Linear(student_size, teacher_size)

    def per_chunk(self, student, teacher, module, at):
        from torch.nn.functional import normalize

        return (normalize(module(student), dim=1) - normalize(teacher.detach(), dim=1)).square().sum(1)


class KitStarts(DistributionLoss):
    """Correct: cross-entropy under the teacher's probabilities."""

    name: Literal["kit_starts"] = "kit_starts"

    def per_start(self, student, teacher, at):
        return -(teacher.detach() * student).sum(1)


class KitLines(ChunkLoss):
    """Correct: the squared mean gap over a line."""

    name: Literal["kit_lines"] = "kit_lines"
    resolutions: ClassVar[tuple[Resolution, ...]] = ("line",)

    def per_chunk(self, student, teacher, at):
        same = (at.spans["line"][:, None] == at.spans["line"]).to(student.dtype)
        gap = (student - teacher.detach())[None] * same
        return (gap.sum(1) / same.sum(1)) ** 2


class BuiltAtRandom(KitStates):
    """Draws from a generator that no seed of torch reaches."""

    def build(self, student_size, teacher_size):
        import os

        import torch

        module = super().build(student_size, teacher_size)
        generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4), "little"))
        torch.nn.init.normal_(module.weight, generator=generator)
        return module


class BuildsAFunction(KitStates):
    """No module."""

    def build(self, student_size, teacher_size):
        return super().build(student_size, teacher_size).forward


class BuiltInBfloat16(KitStates):
    """Parameters too coarse to learn."""

    def build(self, student_size, teacher_size):
        return super().build(student_size, teacher_size).bfloat16()


class ProjectionDetached(KitStates):
    """A projection that never learns."""

    def per_chunk(self, student, teacher, module, at):
        loss = super().per_chunk(student, teacher, module, at)
        return loss.detach() + student.square().sum(1)


class BuildsTooMuch(KitStates):
    """Builds more than it uses."""

    def build(self, student_size, teacher_size):
        from torch import nn

        return nn.ModuleDict({"used": super().build(student_size, teacher_size), "spare": nn.Linear(2, 2, bias=False)})

    def per_chunk(self, student, teacher, module, at):
        return super().per_chunk(student, teacher, module["used"], at)


class ProjectionMultipliedByZero(KitStates):
    """A projection in the graph that moves nothing."""

    def per_chunk(self, student, teacher, module, at):
        return student.square().sum(1) + 0 * super().per_chunk(student, teacher, module, at)


class OnlyWiderTeachers(KitStates):
    """Pads the student up to the teacher's size."""

    def build(self, student_size, teacher_size):
        from torch import nn

        return nn.Linear(teacher_size, teacher_size)

    def per_chunk(self, student, teacher, module, at):
        from torch.nn.functional import pad

        padded = pad(student, (0, max(0, teacher.shape[1] - student.shape[1])))
        return super().per_chunk(padded, teacher, module, at)


class AcrossSequences(KitStates):
    """Tells each chunk from all others of the micro-batch."""

    def per_chunk(self, student, teacher, module, at):
        return -(module(student) @ teacher.detach().T).log_softmax(0).diagonal()


class StatesTeachTheTeacher(KitStates):
    """Lets the gradient reach the teacher."""

    def per_chunk(self, student, teacher, module, at):
        return (module(student) - teacher).square().mean(1)


class LeaksThroughTheBatch(KitStarts):
    """Subtracts what the other starts have on average."""

    def per_start(self, student, teacher, at):
        return super().per_start(student - student.mean(0), teacher, at)


class LogOfNothing(KitStarts):
    """log of the teacher's probability, which may be zero."""

    def per_start(self, student, teacher, at):
        return (teacher.detach() * (teacher.detach().log() - student)).sum(1)


class AcrossLines(KitLines):
    """The mean over the slice instead of over the line."""

    def per_chunk(self, student, teacher, at):
        return (student - teacher.detach()).mean() ** 2 * student.new_ones(len(student))


CORRECT = [KitStates(), KitStarts(), KitLines()]
MUTANTS = [
    Mutant(BuiltAtRandom(), "check_module_is_built_alike", "built under the same seed differ"),
    Mutant(BuildsAFunction(), "check_module_is_built_alike", r"return a torch\.nn\.Module"),
    Mutant(BuiltInBfloat16(), "check_module_is_built_alike", "leave them in float32"),
    Mutant(ProjectionDetached(), "check_module_learns", "loss of 12 chunks does not depend on the module"),
    Mutant(BuildsTooMuch(), "check_module_learns", r"spare\.weight take no part in the loss of 12 chunks"),
    Mutant(ProjectionMultipliedByZero(), "check_module_learns", "zero everywhere"),
    Mutant(OnlyWiderTeachers(), "check_any_hidden_sizes", "it must handle this input"),
    Mutant(AcrossSequences(), "check_items_are_independent", "of other sequences, lines or words"),
    Mutant(AcrossSequences(), "check_gradients_are_independent", "has a gradient at other positions"),
    Mutant(StatesTeachTheTeacher(), "check_no_gradient_to_teacher", r"use teacher\.detach\(\)"),
    Mutant(LeaksThroughTheBatch(), "check_items_are_independent", "compute each row alone"),
    Mutant(LogOfNothing(), "check_extreme_inputs", "not finite"),
    Mutant(AcrossLines(), "check_items_are_independent", "of other sequences, lines or words"),
]
