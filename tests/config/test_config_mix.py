"""Whether components fit together is known before anything loads, and said with what would fit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from config_toys import RUN, Load

from tide_core.compatibility import check_mix, require_mix
from tide_core.problems import Problem, RunFileError
from tide_core.registry import Registry


@pytest.fixture
def findings(load: Load, toys: Registry) -> object:
    def finder(text: str = RUN, overrides: Sequence[str] = ()) -> list[Problem]:
        loaded = load(text, overrides)
        return check_mix(loaded.config, toys, loaded.source)

    return finder


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_a_mix_that_fits_is_silent(findings) -> None:
    assert findings() == []


def test_a_token_loss_with_an_alignment_of_spans(findings) -> None:
    text = RUN.replace("reverse_calm, temperature: 5", "forward_kl")
    assert str(only(findings(text))) == (
        "run.yaml:7: losses[1]: 'forward_kl' compares distributions token by token, but alignment 'byte_chunks' yields text spans\n"
        "    (the teacher's and the student's vocabularies may differ)\n"
        "    losses that work with 'byte_chunks': objector, reverse_calm\n"
        "    alignments that serve 'forward_kl': shared_vocabulary"
    )
    assert findings(text, ["alignment=shared_vocabulary"]) == []


def test_a_loss_that_compares_needs_a_teacher(findings) -> None:
    problem = only(findings(RUN, ["teacher=null"]))
    assert problem.where == "run.yaml:7"
    assert "'reverse_calm' compares the student with a teacher, but this run has no teacher" in problem.message
    assert problem.hints[0] == "losses without a teacher: cross_entropy"


def test_an_evaluator_that_compares_needs_a_teacher(findings) -> None:
    overrides = ["teacher=null", "losses=[cross_entropy]", "evaluation=[divergence]"]
    problem = only(findings(RUN, overrides))
    assert (problem.where, problem.field) == ("--set evaluation=[divergence]", "evaluation[0]")
    assert "evaluators without a teacher: none is installed" in problem.hints


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["losses=[cross_entropy]"], "it is loaded and never asked"),
        (["losses[1].weight=0"], "it is loaded and never asked"),
        (["losses=[cross_entropy]", "evaluation=[divergence]"], "only evaluators look at it"),
    ],
)
def test_a_teacher_that_teaches_nothing_is_a_warning(findings, overrides: list[str], reason: str) -> None:
    problem = only(findings(RUN, overrides))
    assert (problem.severity, problem.field) == ("warning", "teacher")
    assert reason in problem.message


def test_a_component_may_object_and_be_overruled(findings) -> None:
    problem = only(findings(RUN, ["losses[1]={name: reverse_calm}", "losses[0]=objector", "allow=[]"])[1:])
    assert problem.message == "I never work with byte_chunks"
    assert problem.hints == ("to run it all the same:  allow: [objector]",)
    overruled = findings(RUN, ["losses[0]=objector", "allow=[objector]"])
    assert [problem.severity for problem in overruled] == ["warning", "warning"]


def test_a_deprecated_component_warns_with_the_version_that_removes_it(findings) -> None:
    problem = findings(RUN, ["losses[0]=objector"])[0]
    assert problem.severity == "warning"
    assert problem.message == "loss 'objector' is deprecated and goes away in 2.0; use reverse_calm"


def test_allowing_what_nobody_asks_for_is_a_warning(findings) -> None:
    problem = only(findings(RUN, ["allow=[objector]"]))
    assert problem.message == "nothing in this run needs 'objector' to be allowed"


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_architecture_may_serve_in_one_role_only(findings, role: str) -> None:
    other = {"teacher": "student", "student": "teacher"}[role]
    problem = only(findings(RUN, [f"{role}.only={other}"]))
    assert problem.message == f"'toy_model' cannot be the {role}: it serves only as {other}"


def test_a_student_must_read_noise(findings) -> None:
    problem = only(findings(RUN, ["student.form=autoregressive"]))
    assert "'toy_model' is autoregressive here, and a student must read noised text" in problem.message
    assert findings(RUN, ["teacher.form=autoregressive"]) == []


def test_an_attention_backend_that_does_not_serve_or_is_not_there(findings) -> None:
    problems = findings(RUN, ["attention=full_only", "student.form=block_diffusion"])
    assert [problem.message for problem in problems] == [
        "attention 'full_only' needs no_such_module; pip install no_such_module",
        "'full_only' does not serve the attention that the student needs: block_diffusion",
    ]
    assert problems[1].hints == ("attention backends that serve the student: raises, sdpa",)


def test_a_backend_that_raises_is_named_with_its_plugin(findings) -> None:
    problem = only(findings(RUN, ["attention=raises", "training.device=cpu"]))
    assert problem.message == "attention 'raises' raised RuntimeError when asked whether it is available: no driver"
    assert problem.hints[0].startswith("it comes from plugin 'toy_components'")


@pytest.mark.parametrize(
    ("overrides", "field", "message"),
    [
        (
            ["data.max_length=500"],
            "data.max_length",
            "500 is no multiple of the student's block of 32 tokens; use 480 or 512",
        ),
        (["data.max_length=8"], "data.max_length", "8 is no multiple of the student's block of 32 tokens; use 32"),
        (
            ["teacher.block_size=24", "data.teacher_max_length=100"],
            "data.teacher_max_length",
            "100 is no multiple of the teacher's block of 24 tokens; use 96 or 120",
        ),
    ],
)
def test_rows_hold_whole_blocks(findings, overrides: list[str], field: str, message: str) -> None:
    problem = only(findings(RUN, ["student={name: toy_model, form: block_diffusion, block_size: 32}", *overrides]))
    assert (problem.field, problem.message) == (field, message)


def test_a_time_per_block_needs_blocks(findings) -> None:
    problem = only(findings(RUN, ["timesteps.per=block"]))
    assert "one time per block needs a student with blocks, but 'toy_model' is bidirectional here" in problem.message
    assert findings(RUN, ["timesteps.per=block", "student.form=block_diffusion"]) == []


def test_weights_that_add_up_to_nothing(findings) -> None:
    problems = findings(RUN, ["losses[0].weight=0", "losses[1].weight=0"])
    assert "every loss has weight 0, so there is nothing to learn" in [problem.message for problem in problems]


def test_a_warm_up_that_never_ends_is_a_warning(findings) -> None:
    problem = only(findings(RUN, ["training.warmup_steps=20"]))
    assert (problem.severity, problem.field) == ("warning", "training.warmup_steps")


def test_errors_are_raised_together_and_warnings_returned(load: Load, toys: Registry) -> None:
    loaded = load(RUN, ["losses[1]=forward_kl", "timesteps.per=block", "training.warmup_steps=20"])
    with pytest.raises(RunFileError) as caught:
        require_mix(loaded.config, toys, loaded.source)
    assert len(caught.value.problems) == 2
    loaded = load(RUN, ["training.warmup_steps=20"])
    assert len(require_mix(loaded.config, toys, loaded.source)) == 1


def test_a_component_that_raises_when_asked_is_named(findings, monkeypatch: pytest.MonkeyPatch, toys: Registry) -> None:
    monkeypatch.setattr(toys.classes("loss")["reverse_calm"], "conflicts", lambda self, mix: 1 / 0)
    monkeypatch.setattr(toys.classes("architecture")["toy_model"], "serves", lambda self, role: 1 / 0)
    problems = findings()
    assert len(problems) == 3
    assert all("raised ZeroDivisionError when asked about this" in problem.message for problem in problems)
