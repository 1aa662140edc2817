"""Whether the components of a run can work together, found out before anything loads.

Each rule below yields ``Problem`` records: where, what does not fit, why, and what would fit instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tide_specs import Component, Mix

from .compatibility_cache import cache_problems
from .compatibility_models import model_problems
from .problems import Problem, RunFileError
from .registry import Registry
from .run_schema import COMPONENT_FIELDS, LESSON_FIELDS, LISTS, RunConfig
from .yaml_source import Place, Source, path_text

SPEAKS = {
    "tokens": "distributions token by token",
    "chunks": "the likelihoods of text spans",
    "projected": "distributions over text, where spans begin",
    "ranked": "distributions sorted by probability, where spans begin",
    "states": "the hidden states of text spans",
}
YIELDS = {
    frozenset({"chunks"}): "text spans\n(the teacher's and the student's vocabularies may differ)",
    frozenset({"tokens"}): "pairs of single tokens",
}
UNUSED_ALONE = frozenset({"alignment", "interpolation", "teacher_view", "weighting"})
"""Sections that a run without a teacher does not look at."""


@dataclass(frozen=True)
class Checker:
    """What every rule needs: the run, the registry, and where in the file things are.

    whole: the run with all its teachers; config: the same as teacher number ``lesson`` sees it (``RunConfig.lessons``).
    """

    config: RunConfig
    registry: Registry
    source: Source
    whole: RunConfig
    lesson: int = 0

    def problem(self, place: Place, message: str, *hints: str, warning: bool = False, code: str = "") -> Problem:
        """A finding at ``place`` of ``config``; with a ``code``, the run file can accept it."""
        return self.problem_in_file(self._in_file(place), message, *hints, warning=warning, code=code)

    def problem_in_file(
        self, place: Place, message: str, *hints: str, warning: bool = False, code: str = ""
    ) -> Problem:
        """A finding at ``place`` of ``whole``, which is that of the run file."""
        return Problem(
            where=self.source.where(place),
            field=path_text(place),
            message=message,
            hints=tuple(hint for hint in hints if hint),
            severity="warning" if warning else "error",
            code=code,
            line=self.source.line(place) or 0,
        )

    def _in_file(self, place: Place) -> Place:
        """Return where in the file a section of one of several teachers stands."""
        if not self.whole.teachers or place[0] not in LESSON_FIELDS:
            return place
        if place[0] == "losses" and len(place) > 1:
            shared = [number for number, loss in enumerate(self.whole.losses) if loss.compares == "student"]
            index = int(place[1])
            if index < len(shared):
                return ("losses", shared[index], *place[2:])
            place = ("losses", index - len(shared), *place[2:])
        return ("teachers", self.lesson, *place)

    def failed(self, place: Place, component: Component, doing: str, error: Exception) -> Problem:
        """A component that raised where it should have answered."""
        message = f"{component.kind} '{component.name}' raised {type(error).__name__} {doing}: {error}"
        return self.problem(place, message, f"it comes from {self.registry.origin(component)}")

    def components(self) -> Iterator[tuple[Place, Component]]:
        """Every component that the run uses, with its place."""
        for field in COMPONENT_FIELDS:
            value = getattr(self.config, field)
            if value is None or (self.config.teacher is None and field in UNUSED_ALONE):
                continue
            if field in LISTS:
                yield from (((field, index), item) for index, item in enumerate(value))
            else:
                yield (field,), value

    def named(self, kind: str, fits: Callable[[type[Component]], bool]) -> str:
        """Names of the components of a kind for which ``fits`` holds, for a hint."""
        return ", ".join(name for name, cls in self.registry.classes(kind).items() if fits(cls)) or "none is installed"


def mix_of(config: RunConfig) -> Mix:
    """Return the run's components in the form in which ``Component.conflicts`` sees them."""
    components: dict[str, list[Component]] = {}
    for field, kind in COMPONENT_FIELDS.items():
        value = getattr(config, field)
        found = list(value) if field in LISTS else [] if value is None else [value]
        components.setdefault(kind, []).extend(found)
    roles = {role: model for role in ("teacher", "student") if (model := getattr(config, role)) is not None}
    return Mix(components=components, roles=roles)


def mix_seen_by(checker: Checker) -> Mix:
    """Return the mix of one teacher, with the weightings of all, which share the weight among them."""
    mix = mix_of(checker.config)
    weightings = [lesson.weighting for lesson in checker.whole.lessons()]
    return replace(mix, components={**mix.components, "weighting": weightings})


def check_mix(config: RunConfig, registry: Registry, source: Source) -> list[Problem]:
    """Return everything that speaks against the mix, errors and warnings, in the order of the file."""
    if config.recipe is not None:
        from .recipes.checking import check_stages

        return check_stages(config, registry, source)
    views = config.lessons() or (config,)
    checkers = [Checker(view, registry, source, config, number) for number, view in enumerate(views)]
    found = [problem for rule in RULES for checker in checkers for problem in rule(checker)]
    # What teachers share is looked at once for each of them.
    found = [_accepted(problem, config) for problem in dict.fromkeys(found)]
    found.extend(_idle_acceptances(checkers[0], found))
    return sorted(found, key=lambda problem: problem.line)


def require_mix(config: RunConfig, registry: Registry, source: Source) -> list[Problem]:
    """Return the warnings about a mix; raise ``RunFileError`` with every error if there is one."""
    problems = check_mix(config, registry, source)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise RunFileError(errors)
    return problems


def _accepted(problem: Problem, config: RunConfig) -> Problem:
    if not problem.code or problem.severity == "warning":
        return problem
    if problem.code in config.allow:
        return replace(problem, severity="warning")
    return replace(problem, hints=(*problem.hints, f"to run it all the same:  allow: [{problem.code}]"))


def _idle_acceptances(checker: Checker, found: Iterable[Problem]) -> Iterator[Problem]:
    codes = {problem.code for problem in found if problem.code}
    for index, code in enumerate(checker.config.allow):
        if code not in codes:
            yield checker.problem(("allow", index), f"nothing in this run needs '{code}' to be allowed", warning=True)


def usable(checker: Checker) -> Iterator[Problem]:
    """Every component's imports are there, and none is on its way out."""
    for place, component in checker.components():
        kind, cls = component.kind, type(component)
        reason = checker.registry.unavailable(cls)
        if reason:
            yield checker.problem(place, f"{kind} '{component.name}' {reason}")
        if cls.deprecated:
            message = f"{kind} '{component.name}' is deprecated and goes away in {cls.deprecated}"
            yield checker.problem(place, message, warning=True)


def teacher_wanted(checker: Checker) -> Iterator[Problem]:
    """Losses and evaluators that compare need a teacher."""
    if checker.config.teacher is not None:
        return
    for index, loss in enumerate(checker.config.losses):
        if loss.compares != "student":
            yield checker.problem(
                ("losses", index),
                f"'{loss.name}' compares the student with a teacher, but this run has no teacher",
                f"losses without a teacher: {checker.named('loss', lambda cls: _compares(cls) == 'student')}",
                "or name one:  teacher: {name: ..., ...}",
            )
    for index, evaluator in enumerate(checker.config.evaluation):
        if evaluator.needs_teacher:
            yield checker.problem(
                ("evaluation", index),
                f"'{evaluator.name}' compares the student with a teacher, but this run has no teacher",
                f"evaluators without a teacher: "
                f"{checker.named('evaluator', lambda cls: not getattr(cls, 'needs_teacher', False))}",
            )


def teacher_used(checker: Checker) -> Iterator[Problem]:
    """A teacher that no loss and no evaluator looks at is paid for in vain."""
    config = checker.config
    if config.teacher is None or any(loss.compares != "student" and loss.weight > 0 for loss in config.losses):
        return
    watched = any(evaluator.uses_teacher for evaluator in config.evaluation)
    use = "only evaluators look at it" if watched else "it is loaded and never asked"
    yield checker.problem(
        ("teacher",),
        f"there is a teacher, but no loss learns from it: {use}",
        f"losses that do: {checker.named('loss', lambda cls: _compares(cls) != 'student')}",
        warning=True,
    )


def several_teachers(checker: Checker) -> Iterator[Problem]:
    """What belongs to one of several teachers stands there, not beside them."""
    whole = checker.whole
    if not whole.teachers:
        return
    at_home = f"write it into each entry of teachers, which has its own {', '.join(LESSON_FIELDS[1:])}"
    for field in ("teacher", "alignment", "teacher_view", "weighting"):
        given = whole.teacher is not None if field == "teacher" else checker.source.line((field,)) is not None
        if given:
            message = f"'{field}' stands beside 'teachers' and would be of no use"
            yield checker.problem_in_file((field,), message, at_home)
    for index, loss in enumerate(whole.losses):
        if loss.compares != "student":
            message = f"'{loss.name}' compares the student with a teacher, but this run has several"
            hint = "write it into the losses of those that it is meant for"
            yield checker.problem_in_file(("losses", index), message, hint)
    for index, loss in enumerate(whole.teachers[checker.lesson].losses):
        if loss.compares == "student":
            place = ("teachers", checker.lesson, "losses", index)
            message = f"'{loss.name}' looks at the student alone, so it belongs to no teacher"
            yield checker.problem_in_file(place, message, "write it into the losses of the run")


def ports(checker: Checker) -> Iterator[Problem]:
    """What a loss compares is what the alignment yields."""
    config = checker.config
    if config.teacher is None:
        return
    alignment = config.alignment
    for index, loss in enumerate(config.losses):
        port = _port(loss.compares)
        if port == "student" or port in alignment.yields:
            continue
        yield checker.problem(
            ("losses", index),
            f"'{loss.name}' compares {SPEAKS[loss.compares]}, but alignment '{alignment.name}' yields "
            f"{YIELDS.get(alignment.yields, ' and '.join(sorted(alignment.yields)) or 'nothing')}",
            f"losses that work with '{alignment.name}': "
            f"{checker.named('loss', lambda cls: _port(_compares(cls)) in alignment.yields)}",
            f"alignments that serve '{loss.name}': {_alignments_that_yield(checker, port)}",
        )


def _port(compares: str) -> str:
    """What an alignment must yield for a loss; states are compared wherever there are spans."""
    return "chunks" if compares == "states" else compares


def _alignments_that_yield(checker: Checker, port: str) -> str:
    return checker.named("alignment", lambda cls: port in getattr(cls, "yields", ()))


def objections(checker: Checker) -> Iterator[Problem]:
    """What the components themselves say against the mix."""
    mix = mix_seen_by(checker)
    for place, component in checker.components():
        try:
            sentences = list(component.conflicts(mix))
        except Exception as error:
            yield checker.failed(place, component, "when asked about this mix", error)
            continue
        for sentence in sentences:
            yield checker.problem(place, sentence, code=component.name)


def terms(checker: Checker) -> Iterator[Problem]:
    """The terms of the loss add up to something."""
    if all(loss.weight == 0 for loss in checker.config.losses):
        yield checker.problem(("losses",), "every loss has weight 0, so there is nothing to learn")


def warm_up(checker: Checker) -> Iterator[Problem]:
    """The learning rate reaches its peak."""
    training = checker.config.training
    if training.warmup_steps >= training.steps:
        yield checker.problem(
            ("training", "warmup_steps"),
            f"the warm-up of {training.warmup_steps} steps is not over after {training.steps} steps",
            warning=True,
        )


def _compares(cls: type[Component]) -> str:
    return getattr(cls, "compares", "")


RULES: tuple[Callable[[Checker], Iterator[Problem]], ...] = (
    usable,
    teacher_wanted,
    teacher_used,
    several_teachers,
    ports,
    objections,
    terms,
    warm_up,
    model_problems,
    cache_problems,
)
