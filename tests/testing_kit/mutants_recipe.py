"""Recipes that are wrong on purpose."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Literal

from kit_mutation import Mutant

from tide_specs import Recipe, Stage

COUNTER = count()


class KitRecipe(Recipe):
    """Two stages, the second of which goes on with the first one's student."""

    name: Literal["kit_recipe"] = "kit_recipe"

    def compose(self):
        return [Stage(name="one", changes={"training.steps": 3}), Stage(name="two", student="one", teacher="one")]


class NoStage(KitRecipe):
    """Nothing to do."""

    def compose(self):
        return []


class OddName(KitRecipe):
    """A name that is no folder's."""

    def compose(self):
        return [Stage(name="../one")]


class OneName(KitRecipe):
    """Two runs in one folder."""

    def compose(self):
        return [Stage(name="one"), Stage(name="one")]


class FromTheFuture(KitRecipe):
    """Learns from what comes later."""

    def compose(self):
        return [Stage(name="one", teacher="two"), Stage(name="two")]


class Spaced(KitRecipe):
    """A path that is none."""

    def compose(self):
        return [Stage(name="one", changes={"training steps": 3})]


class Rich(KitRecipe):
    """An object where a run file has words."""

    def compose(self):
        return [Stage(name="one", changes={"data.path": Path("train.jsonl")})]


class Clocked(KitRecipe):
    """Other stages each time."""

    def compose(self):
        return [Stage(name=f"stage_{next(COUNTER)}")]


MUTANTS = [
    Mutant(NoStage(), "check_has_stages", "at least one"),
    Mutant(OddName(), "check_has_stages", "folder"),
    Mutant(OneName(), "check_has_stages", "share a folder"),
    Mutant(FromTheFuture(), "check_models_come_from_earlier_stages", "no stage before it"),
    Mutant(Spaced(), "check_changes_are_plain", "no path"),
    Mutant(Rich(), "check_changes_are_plain", "cannot hold"),
    Mutant(Clocked(), "check_repeatable", "asked again"),
]
CORRECT = [KitRecipe()]
