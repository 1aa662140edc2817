"""The hooks that contribute parts of the method. A plugin implements those it needs with ``@hookimpl`` and returns classes.

Each docstring below holds a complete plugin, which the test suite extracts, runs and holds against the conformance kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .markers import hookspec

if TYPE_CHECKING:
    from .alignment import Alignment
    from .corruption import Corruption
    from .interpolation import Interpolation
    from .loss import Loss
    from .recipe import Recipe
    from .schedule import NoiseSchedule
    from .teacher_view import TeacherView
    from .weighting import TeacherWeighting


class MethodHooks:
    """Hooks for what makes up a distillation method. Each returns a list of classes."""

    @hookspec
    def tide_alignments(self) -> Sequence[type[Alignment]]:
        r'''Contribute tokenizer alignments.

        ```python
        from typing import Literal

        from tide_specs import Alignment, common_boundaries, cut_at, hookimpl


        class Plain(Alignment):
            """Cuts at every byte where both tokenizers have a boundary."""

            name: Literal["plain"] = "plain"

            def align(self, student, teacher):
                return cut_at(student, teacher, common_boundaries(student, teacher))


        @hookimpl
        def tide_alignments():
            return [Plain]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_noise_schedules(self) -> Sequence[type[NoiseSchedule]]:
        r'''Contribute noise schedules.

        ```python
        from typing import Literal

        from tide_specs import NoiseSchedule, hookimpl


        class Cubic(NoiseSchedule):
            """alpha = 1 - t^3."""

            name: Literal["cubic"] = "cubic"

            def alpha(self, t):
                return 1 - t**3

            def alpha_prime(self, t):
                return -3 * t**2

            def weight(self, t):
                return 3 / t


        @hookimpl
        def tide_noise_schedules():
            return [Cubic]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_corruptions(self) -> Sequence[type[Corruption]]:
        r'''Contribute corruptions.

        ```python
        from typing import Literal

        from tide_specs import Corruption, Noise, NoisedSide, hookimpl


        class WholeRows(Corruption):
            """Masks every response as a whole, or not at all."""

            name: Literal["whole_rows"] = "whole_rows"

            def corrupt(self, batch, t, schedule, draws, student, teacher):
                first = t[:, :1]
                hidden = draws.uniform("row", 1).to(t.device) < 1 - schedule.alpha(first)

                def side(clean, tokenizer):
                    masked = hidden & (clean.maskable if clean is batch.student else clean.chunk >= 0)
                    mask = None if tokenizer is None else tokenizer.mask_token_id
                    noised = clean.ids if mask is None else clean.ids.masked_fill(masked, mask)
                    return NoisedSide(noised=noised, masked=masked, weight=(schedule.weight(first) * masked).float())

                taught = None if batch.teacher is None else side(batch.teacher, teacher)
                return Noise(t=first.expand(t.shape), student=side(batch.student, student), teacher=taught)


        @hookimpl
        def tide_corruptions():
            return [WholeRows]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_losses(self) -> Sequence[type[Loss]]:
        r'''Contribute losses.

        ```python
        from typing import ClassVar, Literal

        from tide_specs import TokenLoss, hookimpl


        class Jeffreys(TokenLoss):
            """Forward plus reverse KL: the sum of (p - q) (log p - log q) over the vocabulary."""

            name: Literal["jeffreys"] = "jeffreys"
            is_divergence: ClassVar[bool] = True

            def per_token(self, student, teacher, at):
                log_p, log_q = teacher.detach().log_softmax(1), student.log_softmax(1)
                return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)


        @hookimpl
        def tide_losses():
            return [Jeffreys]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_interpolations(self) -> Sequence[type[Interpolation]]:
        r'''Contribute interpolations.

        ```python
        from typing import Literal

        from tide_specs import Interpolation, hookimpl


        class Late(Interpolation):
            """Trusts the student in the first half of training and the teacher in the second."""

            name: Literal["late"] = "late"

            def weight(self, progress, t):
                return t * 0 + (0.9 if progress > 0.5 else 0.1)


        @hookimpl
        def tide_interpolations():
            return [Late]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_teacher_views(self) -> Sequence[type[TeacherView]]:
        r'''Contribute teacher views.

        ```python
        from typing import Literal

        from tide_specs import TeacherPass, TeacherView, hookimpl


        class TwoTurns(TeacherView):
            """Rows take turns: a row is answered in the first pass or in the second, as its sample decides."""

            name: Literal["two_turns"] = "two_turns"

            def passes(self, side, masked, draws):
                first = draws.uniform("turn", 1).to(masked.device) < 0.5
                return [TeacherPass(masked=part, counts=part) for part in (masked & first, masked & ~first)]


        @hookimpl
        def tide_teacher_views():
            return [TwoTurns]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_teacher_weightings(self) -> Sequence[type[TeacherWeighting]]:
        r'''Contribute weightings of teachers.

        ```python
        from typing import Literal

        from tide_specs import TeacherWeighting, hookimpl


        class WhenNoisy(TeacherWeighting):
            """Listens to a teacher the more, the more of the text is hidden."""

            name: Literal["when_noisy"] = "when_noisy"

            def factor(self, at):
                return at.t


        @hookimpl
        def tide_teacher_weightings():
            return [WhenNoisy]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_recipes(self) -> Sequence[type[Recipe]]:
        r'''Contribute recipes.

        ```python
        from typing import Literal

        from pydantic import Field, PositiveInt

        from tide_specs import Recipe, Stage, hookimpl


        class WarmUp(Recipe):
            """Follows the data alone for a while, then learns as the run file says."""

            name: Literal["warm_up"] = "warm_up"
            steps: PositiveInt = Field(default=100, description="optimizer steps of the first stage")

            def compose(self):
                alone = {"teacher": None, "losses": ["cross_entropy"], "training.steps": self.steps}
                return [Stage(name="alone", changes=alone), Stage(name="taught", student="alone")]


        @hookimpl
        def tide_recipes():
            return [WarmUp]
        ```
        '''
        raise NotImplementedError
