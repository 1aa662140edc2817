"""Self-distillation through time: the teacher takes several steps of a sampler where the student shall take one.

Shapes: B rows, L tokens of the teacher's side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from tide_specs import Draws, NoiseSchedule, SequentialTeacherView, Side

if TYPE_CHECKING:
    from torch import Tensor

EARLIEST = 1e-3
"""eps: the time at which the sampler ends."""


class SamplerSteps(SequentialTeacherView):
    """The teacher takes ``sub_steps`` steps of the ancestral sampler from the student's x_t, which the student learns to take
    at once (SDTT: Deschenaux and Gulcehre 2024, arXiv 2410.21035).

    Sub-step j goes from t_j = t - j dt to t_j - dt and reveals each masked chunk with probability (alpha(t_j - dt) -
    alpha(t_j)) / (1 - alpha(t_j)), which is dt / t_j for the linear schedule. A revealed position keeps the answer of its
    sub-step, the others that of the last one. In round r of the recipe, dt = (1 - eps) * sub_steps^r / sampler_steps.

    ``grid: published`` repeats the times of the published code, t_j = t u_j + (1 - t) (t - m dt) with u_j from 1 to 0 in m
    points (m sub-steps): its weights t and 1 - t should be u_j and 1 - u_j, so that it asks for other steps than its sampler
    takes, most of all at small t.
    """

    name: Literal["sampler_steps"] = "sampler_steps"
    step: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="dt, the time that one sub-step covers; null: from round and sampler_steps",
    )
    round: NonNegativeInt = Field(default=0, description="r: how often the teacher was replaced by its student")
    sampler_steps: PositiveInt = Field(default=1024, description="N_0: steps of the first teacher's sampler")
    grid: Literal["even", "published"] = Field(
        default="even", description="times of the sub-steps: t - j dt, or those of the published code"
    )

    @property
    def dt(self) -> float:
        """The time that one sub-step covers."""
        if self.step is not None:
            return self.step
        return min(1.0, (1 - EARLIEST) * self.sub_steps**self.round / self.sampler_steps)

    def reveal(self, step: int, side: Side, masked: Tensor, t: Tensor, schedule: NoiseSchedule, draws: Draws) -> Tensor:
        """Masked positions and times [B, L] -> those that sub-step ``step`` reveals, whole chunks together."""
        from ..corruptions.units import leaders

        leader = leaders(side.chunk)
        drawn = draws.uniform(f"sampler step {step}", masked.shape[1]).to(masked.device).gather(1, leader)
        return masked & (drawn < self.share(step, t.gather(1, leader), schedule))

    def share(self, step: int, t: Tensor, schedule: NoiseSchedule) -> Tensor:
        """Times [B, L] float64 -> the probability with which sub-step ``step`` reveals what is masked."""
        here = self.times(step, t)
        stay = 1 - schedule.alpha(here)
        share = (schedule.alpha((here - self.dt).clamp(min=0.0)) - schedule.alpha(here)) / stay
        # A step that ends at or before 0 reveals all that is left.
        return share.where((here > self.dt) & (stay > 0), here.new_ones(()))

    def times(self, step: int, t: Tensor) -> Tensor:
        """Times [B, L] -> those at which sub-step ``step`` begins."""
        if self.grid == "even":
            return (t - step * self.dt).clamp(min=0.0)
        place = 1 - step / max(1, self.sub_steps - 1)
        return (t * place + (1 - t) * (t - self.sub_steps * self.dt)).clamp(min=EARLIEST)
