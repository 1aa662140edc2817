"""``tide bench``: models side by side, each in its own process, and what it says before it starts one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tide_core.cli.main import call

AUTOREGRESSIVE = "{name: huggingface, form: autoregressive}"
PROMPTS = ("def f(x):", "class A:")
NEW = 12
SMALL = ("-b", "1", "-b", "2", "-n", str(NEW), "--repetitions", "2", "--device", "cpu")
GIVEN = tuple(word for prompt in PROMPTS for word in ("-p", prompt))


class Benched:
    """One real benchmark of both models: the JSON, the CSV and the MLflow store that it left."""

    def __init__(self, folder: Path, teacher: Path, student: Path) -> None:
        self.teacher, self.student = str(teacher), str(student)
        self.csv, self.store = folder / "costs.csv", f"sqlite:///{folder / 'mlflow.db'}"
        out = io.StringIO()
        given = ("--architecture", f"{teacher}={AUTOREGRESSIVE}", "--csv", self.csv, "--mlflow", self.store, "--json")
        arguments = ("bench", student, teacher, "--baseline", teacher, *SMALL, *GIVEN, "--set", "tokens_per_step=4")
        with contextlib.chdir(folder), contextlib.redirect_stdout(out):
            assert call([str(word) for word in (*arguments, *given)]) == 0
        self.folder = folder
        self.report: dict[str, Any] = json.loads(out.getvalue())

    def row(self, checkpoint: str, batch_size: int, cache: bool) -> dict[str, Any]:
        wanted = {"checkpoint": checkpoint, "batch_size": batch_size, "cache": cache}
        (found,) = [row for row in self.report["rows"] if wanted.items() <= row.items()]
        return found


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory, trained: Path, autoregressive: Path) -> Benched:
    return Benched(tmp_path_factory.mktemp("bench"), autoregressive, trained)


def test_each_model_writes_with_its_own_sampler_with_and_without_cache(benched: Benched) -> None:
    found = {(r["checkpoint"], r["sampler"], r["batch_size"], r["cache"]) for r in benched.report["rows"]}
    assert found == {
        (checkpoint, sampler, size, cache)
        for checkpoint, sampler in ((benched.teacher, "autoregressive"), (benched.student, "block"))
        for size in (1, 2)
        for cache in (True, False)
    }
    assert [c["sampler"].get("tokens_per_step") for c in benched.report["contenders"]] == [4, None]


def test_the_length_is_fixed_and_what_the_autoregressive_model_does_can_be_added_up(benched: Benched) -> None:
    for size in (1, 2):
        cached, uncached = (benched.row(benched.teacher, size, cache) for cache in (True, False))
        assert cached["tokens"] == uncached["tokens"] == size * NEW
        assert cached["forwards"] == uncached["forwards"] == NEW
        assert cached["tokens_per_forward"] == size
        assert cached["flops"] < uncached["flops"]
    # One row: the prompt once and every new token but the last, which nothing follows.
    one = benched.row(benched.teacher, 1, True)
    assert one["positions"] == one["prompt_tokens"] + NEW - 1
    student = benched.row(benched.student, 2, True)
    assert student["tokens"] == 2 * NEW
    assert student["forwards"] < one["forwards"]  # four tokens a step
    assert student["positions"] < benched.row(benched.student, 2, False)["positions"]


def test_memory_and_time_are_the_processs_own(benched: Benched) -> None:
    weights = {model["label"]: model["weights_bytes"] for model in benched.report["models"]}
    assert weights[benched.teacher] != weights[benched.student]
    for model in benched.report["models"]:
        # Float32; buffers such as rotary frequencies come on top.
        assert 0 <= model["weights_bytes"] - 4 * model["facts"]["parameters"] < 10_000
    for row in benched.report["rows"]:
        assert row["weights_bytes"] == weights[row["checkpoint"]]
        assert 0 < row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])


def test_ratios_are_against_the_baseline(benched: Benched) -> None:
    assert benched.report["reference"] == benched.teacher
    for row in benched.report["rows"]:
        reference = benched.row(benched.teacher, row["batch_size"], row["cache"])
        assert row["times_faster"] == pytest.approx(reference["seconds"] / row["seconds"])
        assert row["times_fewer_flops"] == pytest.approx(reference["flops"] / row["flops"])


def test_csv_has_the_same_rows(benched: Benched) -> None:
    lines = list(csv.DictReader(benched.csv.open(encoding="utf-8")))
    assert len(lines) == len(benched.report["rows"])
    for line, row in zip(lines, benched.report["rows"], strict=True):
        assert line["checkpoint"] == row["checkpoint"]
        assert line["cache"] == ("cached" if row["cache"] else "uncached")
        assert float(line["seconds"]) == row["seconds"]


def test_mlflow_has_every_row_and_the_table(benched: Benched) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=benched.store)
    (run,) = client.search_runs([client.get_experiment_by_name("tide-bench").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["protocol.new_tokens.0"] == str(NEW)
    row = benched.row(benched.student, 2, True)
    place = f"bench/{benched.student.strip('./')}/batch_2/tokens_{NEW}/cached"
    assert run.data.metrics[f"{place}/seconds"] == row["seconds"]
    assert run.data.metrics[f"{place}/seconds_high"] == row["seconds_high"]
    assert run.data.metrics[f"{place}/times_faster"] == row["times_faster"]
    assert {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "files")} == {
        "bench.csv",
        "bench.json",
    }


def test_the_table(tide: Callable[..., tuple[int, str, str]], trained: Path) -> None:
    code, out, err = tide(
        "bench", trained, "-b", 1, "-n", 8, "--cache", "on", "--repetitions", 1, "--device", "cpu", *GIVEN
    )
    assert code == 0, err
    header, line, *rest = out.splitlines()
    assert header.split()[:4] == ["checkpoint", "batch", "tokens", "cache"]
    assert line.split()[:4] == [str(trained), "1", "8", "cached"]
    assert line.split()[-2] == "1.00"
    assert "threads, torch" in rest[-1]


ERRORS = {
    "nothing there": (["nowhere"], "nowhere: no such folder; name a run folder, a checkpoint, or"),
    "no checkpoint": ([], "Missing argument 'CHECKPOINT...'"),
    "no rows": (["{run}", "-b", "0"], "Invalid value for '-b' / '--batch-size': 0 is not in the range x>=1"),
    "no tokens": (["{run}", "-n", "0"], "0 is not in the range x>=1"),
    "no repetitions": (["{run}", "--repetitions", "0"], "0 is not in the range x>=1"),
    "unknown device": (["{run}", "--device", "gpu"], "must be auto, cpu, cuda or cuda:N; it is 'gpu'"),
    "no device": (["{run}", "--device", "cuda"], "--device: 'cuda' was asked for, but torch sees no CUDA device"),
    "unknown precision": (["{run}", "--dtype", "float16"], "'float16' is not one of 'float32', 'bfloat16'"),
    "unknown attention": (["{run}", "--attention", "sdp"], "no attention is called 'sdp'; did you mean 'sdpa'?"),
    "unknown sampler": (["{run}", "--sampler", "blok"], "no sampler is called 'blok'; did you mean 'block'?"),
    "unknown option": (["{run}", "--set", "temprature=1"], "unknown option 'temprature'; did you mean 'temperature'?"),
    "cache twice": (
        ["{run}", "--set", "cache=false"],
        "--set cache: say it with --cache on, --cache off or --cache both",
    ),
    "too long": (
        ["{plain}", "--architecture", AUTOREGRESSIVE, "-n", "3000"],
        "--new-tokens 3000: {plain} knows 2048 positions",
    ),
    "form unknown": (["{plain}"], "`form` is missing, and {plain} has no tide.json that records it"),
    "second one missing": (["{run}", "nowhere"], "nowhere: no such folder"),
    "baseline missing": (["{run}", "--baseline", "nowhere"], "nowhere: no such folder"),
    "csv is a folder": (["{run}", "--csv", "{run}"], "--csv {run}: cannot be written: Is a directory"),
    "csv nowhere": (
        ["{run}", "--csv", "{run}/no/costs.csv"],
        "costs.csv: cannot be written: No such file or directory",
    ),
    "mlflow swallowed a checkpoint": (["{run}", "--mlflow", "{plain}"], "put --mlflow behind the checkpoints"),
    "no template": (["{run}", "--chat"], "has no chat template"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_come_before_anything_loads(
    case: str,
    tide: Callable[..., tuple[int, str, str]],
    trained: Path,
    autoregressive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    if case == "no device" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a measuring process was started")

    monkeypatch.setattr("subprocess.Popen", started)
    arguments, message = ERRORS[case]

    def put(text: str) -> str:
        return text.replace("{run}", str(trained)).replace("{plain}", str(autoregressive))

    code, out, err = tide("bench", *map(put, arguments))
    assert (code, out) == (2, "")
    assert put(message) in err
    assert "Traceback" not in err


def test_a_csv_that_could_be_written_is_not_left_behind_when_nothing_was_measured(
    tide: Callable[..., tuple[int, str, str]], autoregressive: Path, tmp_path: Path
) -> None:
    too_long = ("--architecture", AUTOREGRESSIVE, "-n", 3000)
    code, _, _ = tide("bench", autoregressive, *too_long, "--csv", tmp_path / "costs.csv")
    assert code == 2
    assert list(tmp_path.iterdir()) == []
