"""Components whose class is wrong, whatever their kind."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from heavy_component import HeavyAtImport
from kit_correct import KitLinear, KitRamp
from kit_mutation import Mutant
from pydantic import ConfigDict, Field, PrivateAttr, field_serializer, field_validator


class OpenName(KitLinear):
    """Any name will do."""

    name: str = "open_name"


class CamelName(KitLinear):
    """A name that no run file would write."""

    name: Literal["CamelName"] = "CamelName"


class OwnKind(KitLinear):
    """A kind of its own."""

    kind: ClassVar[str] = "noise"


class Undocumented(KitLinear):
    """An option without a description."""

    power: float = 1.0


class Nameless(KitLinear):
    pass


Nameless.__doc__ = None


class TextVersion(KitLinear):
    """A version that is no number."""

    version: ClassVar[str] = "1.0"


class LooseRequires(KitLinear):
    """One string instead of a tuple."""

    requires: ClassVar[str] = "xformers"


class LossyOption(KitLinear):
    """Writes an option in a form that it does not read."""

    power: float = Field(default=0.5, description="exponent")

    @field_serializer("power")
    def _percent(self, value: float) -> float:
        return value * 100


class AcceptsAnything(KitLinear):
    """Ignores misspelt options."""

    model_config = ConfigDict(extra="ignore")


class InfiniteDefault(KitLinear):
    """A default that JSON cannot hold."""

    limit: float = Field(default=float("inf"), description="largest weight")


class StricterSchema(KitLinear):
    """Takes words for numbers, which its schema does not tell."""

    power: float = Field(default=1.0, description="exponent", json_schema_extra={"type": "string"})


class Thawed(KitLinear):
    """Not frozen."""

    model_config = ConfigDict(frozen=False)


class PrivateState(KitLinear):
    """A private attribute."""

    _last: float = PrivateAttr(default=0.0)


class Caches(KitRamp):
    """Keeps the last progress on itself."""

    def weight(self, progress, t):
        self.__dict__["latest"] = progress
        return super().weight(progress, t)


class CachesOnClass(KitRamp):
    """Keeps a cache on the class."""

    seen: ClassVar[dict[float, int]] = {}

    def weight(self, progress, t):
        self.seen[progress] = self.seen.get(progress, 0) + 1
        return super().weight(progress, t)


class CachedProperty(KitRamp):
    """Remembers, once asked."""

    @cached_property
    def table(self):
        return [1.0]

    def weight(self, progress, t):
        return super().weight(progress, t) * self.table[0]


def local_class() -> type[KitLinear]:
    class Local(KitLinear):
        """Defined inside a function."""

    return Local


class UppercaseOption(KitLinear):
    """A validator that changes what it gets, again and again."""

    label: str = Field(default="a", description="a label")

    @field_validator("label")
    @classmethod
    def _longer(cls, value: str) -> str:
        return value + "!"


class OneSentence(KitLinear):
    """conflicts returns a string."""

    def conflicts(self, mix):
        return "cannot work with anything"


class CrashingConflicts(KitLinear):
    """conflicts assumes a loss."""

    def conflicts(self, mix):
        yield f"not with {mix.of('loss')[0].name}"


MUTANTS = [
    Mutant(OpenName(), "check_name", "is not one fixed name"),
    Mutant(CamelName(), "check_name", "not lower_snake_case"),
    Mutant(OwnKind(), "check_name", "which no hook collects"),
    Mutant(Undocumented(), "check_documented", r"option 'power' .* Field\(default, description"),
    Mutant(Nameless(), "check_documented", "has no docstring"),
    Mutant(TextVersion(), "check_class_facts", "version is '1.0'"),
    Mutant(LooseRequires(), "check_class_facts", "must be a tuple of import names"),
    Mutant(LossyOption(), "check_round_trip", "changes on its way through YAML"),
    Mutant(UppercaseOption(label="b"), "check_round_trip", "must accept its own output"),
    Mutant(AcceptsAnything(), "check_round_trip", "keep extra='forbid'"),
    Mutant(InfiniteDefault(), "check_json_schema", "finite defaults"),
    Mutant(StricterSchema(), "check_json_schema", "would mark valid options .* as wrong"),
    Mutant(HeavyAtImport(), "check_light_import", r"imports torch \(heavy_component\.py, line \d+\)"),
    Mutant(Thawed(), "check_frozen", "keep frozen=True"),
    Mutant(PrivateState(), "check_frozen", r"private attributes \['_last'\]"),
    Mutant(Caches(), "check_keeps_no_state", r"self\.latest"),
    Mutant(CachesOnClass(), "check_keeps_no_state", r"CachesOnClass\.seen"),
    Mutant(CachedProperty(), "check_keeps_no_state", r"self\.table"),
    Mutant(local_class()(), "check_picklable", "top level of a module"),
    Mutant(OneSentence(), "check_conflicts", "read letter by letter"),
    Mutant(CrashingConflicts(), "check_conflicts", r"raised IndexError \(mutants_class\.py:\d+ in conflicts\)"),
]
