"""A component is one class: its fields are its options, its docstring its documentation, its methods its behaviour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The components that one run names, as far as they are known before anything loads.

    ``components`` maps a kind (``"loss"``, ``"alignment"``, ...) to the components of that kind, in the order of the
    run file. ``roles`` names the two architectures; a run without a teacher has no ``"teacher"`` key.
    """

    components: Mapping[str, Sequence[Component]] = field(default_factory=lambda: {})
    roles: Mapping[str, Component] = field(default_factory=lambda: {})

    def of(self, kind: str) -> Sequence[Component]:
        """Return the components of one kind; an empty sequence where the run names none."""
        return self.components.get(kind, ())


class Component(BaseModel):
    """Base of every interchangeable part. Subclass the base class of a kind (``TokenLoss``, ``NoiseSchedule``, ...).

    A component is frozen, cheap to build and free of state: weights, caches and open files belong to the objects that
    its methods return. It must be picklable, since worker processes receive it.

    A concrete class sets ``name: Literal["my_name"] = "my_name"``; the name is what a run file writes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    kind: ClassVar[str] = ""
    """The kind of the component; set by the base class of each kind."""
    version: ClassVar[int] = 1
    """Raised whenever the numbers that the component produces change; logged with every run."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names that must be importable, e.g. ``("xformers",)``."""
    deprecated: ClassVar[str | None] = None
    """The version of TIDE that removes the component, and what replaces it."""

    # Any, for type checkers only: every concrete class narrows it to a Literal, which a mutable ``str`` would forbid.
    if TYPE_CHECKING:
        name: Any
    else:
        name: str

    def conflicts(self, mix: Mix) -> Iterable[str]:
        """Yield one sentence for each reason why this component cannot work in ``mix``.

        Called before any model loads. The default objects to nothing; ports (what an alignment yields, what a loss
        compares) are compared by the core and need no code here.
        """
        return ()

    @classmethod
    def component_name(cls) -> str:
        """Return the name under which a run file refers to this class."""
        default: Any = cls.model_fields["name"].default
        return str(default)
