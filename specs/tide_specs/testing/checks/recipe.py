"""Checks of recipes. Needs no torch."""

from __future__ import annotations

import json
import re

from tide_specs.recipe import Recipe
from tide_specs.testing.outcome import expect

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\[\d+\]|\.[A-Za-z_][A-Za-z0-9_-]*)*")


def exercise(recipe: Recipe) -> None:
    """Ask for the stages."""
    recipe.compose()


def check_has_stages(recipe: Recipe) -> None:
    """There is at least one stage, and each has a name of its own that can be a folder's."""
    names = [stage.name for stage in recipe.compose()]
    expect(len(names) > 0, "compose() returns no stage, so that nothing would run; return at least one.")
    for name in names:
        expect(
            NAME.fullmatch(name) is not None,
            f"a stage is called {name!r}; its run's folder has that name: use lower-case letters, digits and underscores.",
        )
    expect(len(set(names)) == len(names), f"two stages have one name ({', '.join(names)}), and would share a folder.")


def check_models_come_from_earlier_stages(recipe: Recipe) -> None:
    """A stage takes models from stages before it."""
    known: list[str] = []
    for stage in recipe.compose():
        for role, source in (("student", stage.student), ("teacher", stage.teacher)):
            expect(
                source is None or source in known,
                f"stage '{stage.name}' takes its {role} from '{source}', which is no stage before it; None means the run "
                "file's own model.",
            )
        known.append(stage.name)


def check_changes_are_plain(recipe: Recipe) -> None:
    """Changes are paths as in ``--set`` with values that a run file could hold."""
    for stage in recipe.compose():
        for path, value in stage.changes.items():
            expect(
                PATH.fullmatch(path) is not None,
                f"stage '{stage.name}' changes {path!r}, which is no path; write it like losses[0].temperature.",
            )
            try:
                plain = json.loads(json.dumps(value)) == (list(value) if isinstance(value, tuple) else value)
            except (TypeError, ValueError):
                plain = False
            expect(
                plain,
                f"stage '{stage.name}' sets {path} to {value!r}, which a run file cannot hold; use numbers, words, lists "
                "and mappings.",
            )


def check_repeatable(recipe: Recipe) -> None:
    """The stages are the same whenever one asks: a recipe that resumes asks again."""
    expect(
        list(recipe.compose()) == list(recipe.compose()),
        "compose() returns other stages when it is asked again, so that a resumed recipe would not know its own runs; use "
        "no clock, no randomness and no files.",
    )
