"""Mixes of losses that cannot work."""

from __future__ import annotations

from collections.abc import Iterable

from tide_specs import Loss, Mix


def reverse_objectives(name: str, mix: Mix, own: Loss | None = None) -> Iterable[str]:
    """Yield an objection for each reverse objective that shares a run with the interpolated target of ``name``.

    ``own``: the loss of that name, where its direction is an option and may be reverse itself.

    A reverse objective weighs by the student. With a target that is itself part student it pushes the student towards its
    own extremes, and the factor 1 - lambda kills its gradient as lambda grows (TIDE Appendix C).
    """
    for loss in mix.of("loss"):
        if isinstance(loss, Loss) and loss.direction == "reverse":
            other = f"'{loss.name}' itself" if loss is own else f"'{loss.name}'"
            yield (
                f"'{name}' leans its target on the student while {other} is a reverse objective, weighted by the "
                "student: together they drive the student towards its own extremes and the gradient dies as lambda grows "
                f"(TIDE Appendix C). Drop one of them, replace '{loss.name}' by a forward objective (forward_kl for tokens, "
                "bernoulli_kl or projected_kl with direction forward for chunks), or restrict the moving target to the data: "
                "tidal_cross_entropy"
            )
