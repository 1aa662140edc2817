"""Everything that a run file alone gives away is said by ``tide validate`` and ``tide run``, without a heavy import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_files import run_record, student, teacher

SHARED = "alignment=shared_vocabulary"
TEXTS = {
    "empty file": ("", "bad.yaml: is empty; 'tide run --help' shows a run file"),
    "only comments": ("# nothing\n", "bad.yaml: is empty"),
    "syntax": ("student: x\nlosses: [a\ndata: y\n", "bad.yaml:3: is not valid YAML: expected ',' or ']'"),
    "tab": (
        "student:\n\tname: x\n",
        "bad.yaml:2: is not valid YAML: found character '\\t' that cannot start any token",
    ),
    "duplicate key": ("student: x\ndata: y\nstudent: z\n", "bad.yaml:3: 'student' is given twice; first on line 1"),
    "a list": ("- student\n", "bad.yaml:1: a run file is a mapping of sections, e.g.  student: ..."),
    "a number as key": ("1: x\n", "bad.yaml:1: the key '1' is not a word; quote it"),
    "not text": ("a: 1\n\x00", "bad.yaml:2: holds the character U+0000, which YAML forbids; is it a text file?"),
}
"""Text of a file -> its message."""
OVERRIDES = {
    "unknown component": (
        ["losses=[cross_entropi]"],
        "losses[0]: no loss is called 'cross_entropi'; did you mean 'cross_entropy'?",
    ),
    "misspelt option": (
        ["losses[1].temprature=2"],
        "losses[1].temprature: unknown option 'temprature'; did you mean 'temperature'?",
    ),
    "misspelt option of a section": (
        ["training.stepz=2"],
        "training.stepz: unknown option 'stepz'; did you mean 'steps'?",
    ),
    "unknown section": (["trainings.steps=2"], "trainings: unknown section 'trainings'; did you mean 'training'?"),
    "unknown field": (["colour=blue"], "--set colour=blue: colour: unknown section 'colour'"),
    "no value": (["training.steps"], "--set training.steps: write  --set PATH=VALUE"),
    "beyond the list": (["losses[7].weight=1"], "there is no [7]; the list has 2 items"),
    "wrong type": (["training.steps=many"], "training.steps: must be a valid integer"),
    "true for a number": (["training.steps=true"], "training.steps: must be a number; it is true"),
    "out of range": (["training.learning_rate=-1"], "training.learning_rate: must be greater than 0; it is -1"),
    "infinite": (["training.learning_rate=.inf"], "training.learning_rate: must be a finite number; it is inf"),
    "not a number": (["losses[1].weight=.nan"], "losses[1].weight: must be a finite number; it is nan"),
    "momentum of one": (["training.betas=[0.9, 1.0]"], "training.betas[1]: must be less than 1; it is 1.0"),
    "unknown device": (["training.device=gpu"], "training.device: must be auto, cpu, cuda or cuda:N; it is 'gpu'"),
    "unknown strategy": (
        ["training.strategy=zero"],
        "training.strategy: must be 'auto', 'ddp' or 'fsdp'; it is 'zero'",
    ),
    "token loss on spans": (
        ["losses=[forward_kl]"],
        "losses[0]: 'forward_kl' compares distributions token by token, but alignment 'byte_chunks' yields text spans",
    ),
    "no teacher": (
        ["teacher=null"],
        "losses[1]: 'reverse_calm' compares the student with a teacher, but this run has no teacher",
    ),
    "evaluator without a teacher": (
        ["teacher=null", "losses=[cross_entropy]", "evaluation=[teacher_divergence]"],
        "evaluation[0]: 'teacher_divergence' compares the student with a teacher, but this run has no teacher",
    ),
    "interpolated target under a reverse objective": (
        [SHARED, "losses=[tidal, reverse_kl]"],
        "losses[0]: 'tidal' leans its target on the student while 'reverse_kl' is a reverse objective",
    ),
    "autoregressive student": (
        ["student.form=autoregressive", "student.block_size=null"],
        "student: 'huggingface' cannot be the student: form 'autoregressive' reads only clean tokens",
    ),
    "attention of another device": (
        ["attention=xformers"],
        "attention: 'xformers' cannot be used here: xformers computes on cuda only, not on cpu; use sdpa"
        if find_spec("xformers")
        else "attention: attention 'xformers' needs xformers; pip install xformers",
    ),
    "attention that cannot train here": (["attention=flex"], "attention: 'flex' cannot be used here"),
    "half a block": (
        ["data.max_length=60"],
        "data.max_length: 60 is no multiple of the student's block of 8 tokens; use 56 or 64",
    ),
    "half a block of the teacher": (
        ["teacher.form=block_diffusion", "teacher.block_size=24"],
        "data.teacher_max_length: 128 is no multiple of the teacher's block of 24 tokens; use 120 or 144",
    ),
    "block form without blocks": (
        ["student.block_size=null"],
        "form 'block_diffusion' needs `block_size`, e.g. block_size: 32",
    ),
    "model and config": (["student.model=x"], "give exactly one of `model` (pretrained weights) and `config`"),
    "a folder that is not there": (
        ["student={name: huggingface, model: ./nowhere}"],
        "student: ./nowhere: no such directory; name one that holds a model or a tokenizer, or a hub name",
    ),
    "form not said": (
        ["student={name: huggingface, model: some/model}"],
        "`form` is missing, and some/model has no tide.json that records it",
    ),
    "held-out file is the training file": (
        ["data={name: jsonl, path: a.jsonl, evaluation_path: a.jsonl}"],
        "evaluation_path is path ('a.jsonl'): held-out lines must not be trained on",
    ),
    "no path": (["data={name: jsonl}"], "dataset 'jsonl' requires 'path'"),
}
"""Changes of a valid run -> its message."""

ASKS_TORCH = ("attention of another device", "attention that cannot train here")

SCRIPT = """
import contextlib, io, json, sys
from tide_core.cli.main import call

results = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call(arguments)
    heavy = [name for name in ("torch", "transformers", "accelerate", "datasets", "mlflow") if name in sys.modules]
    results.append([code, out.getvalue(), err.getvalue(), heavy])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Any]]:
    """(command, case) -> exit code, stdout, stderr, heavy modules imported by then; all in one fresh process."""
    folder = tmp_path_factory.mktemp("cases")
    (folder / "run.yaml").write_text(yaml.safe_dump(run_record(folder, student=student(), teacher=teacher())))
    calls: dict[tuple[str, str], list[str]] = {}
    for command in ("validate", "run"):
        for case, (text, _) in TEXTS.items():
            (folder / case).mkdir(exist_ok=True)
            (folder / case / "bad.yaml").write_text(text)
            calls[command, case] = [command, f"{case}/bad.yaml"]
        for case, (overrides, _) in OVERRIDES.items():
            calls[command, case] = [command, "run.yaml", *(a for text in overrides for a in ("--set", text))]
        calls[command, "no file"] = [command, "none.yaml"]
        calls[command, "a folder"] = [command, "."]
    for case in ASKS_TORCH:
        for command in ("validate", "run"):
            calls[command, case] = calls.pop((command, case))
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(list(calls.values())),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before  # refused runs leave nothing behind
    return dict(zip(calls, json.loads(done.stdout), strict=True))


MESSAGES = {
    **{case: message for case, (_, message) in (TEXTS | OVERRIDES).items()},
    "no file": "none.yaml: no such file",
    "a folder": ".: is a folder; name a run file (.yaml)",
}


@pytest.mark.parametrize("command", ["validate", "run"])
@pytest.mark.parametrize("case", MESSAGES)
def test_one_message_and_nothing_loaded(case: str, command: str, results: dict[tuple[str, str], list[Any]]) -> None:
    code, out, err, heavy = results[command, case]
    assert (code, out) == (2, ""), err
    assert MESSAGES[case] in err
    assert "Traceback" not in err
    # Whether an installed backend can work on the run's device is for torch to say; these cases come last.
    asks = case in ASKS_TORCH and (case != ASKS_TORCH[0] or find_spec("xformers") is not None)
    assert heavy == (["torch"] if asks else [])


@pytest.mark.parametrize("case", OVERRIDES)
def test_a_change_of_the_command_line_is_named_as_it_was_typed_or_the_file_with_its_line(
    case: str, results: dict[tuple[str, str], list[Any]]
) -> None:
    first = results["validate", case][2].splitlines()[0]
    assert first.startswith(("--set ", "run.yaml:"))


def test_everything_wrong_is_said_at_once(results: dict[tuple[str, str], list[Any]], tmp_path: Path, tide) -> None:
    code, _, err = tide(
        "validate", "--set", "training.stepz=1", "--set", "losses[1].weight=-1", "--set", "data.max_length=x"
    )
    assert code == 2
    assert len([line for line in err.splitlines() if line.startswith("--set")]) == 3
