"""The files of a report: what they say, that nothing in them is lost or taken for markup, and ``tide matrix report``."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from matrix_results import AXES, METRIC, results

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import run_record

from tide_core.cli.main import call
from tide_core.matrix.definition import load_matrix
from tide_core.matrix.results import RESULT, CellResult, write_record
from tide_core.matrix_report import ReportFiles, ReportOptions, write_report
from tide_core.matrix_report.drilldown import Lines, cell_details, log_tail, thinned
from tide_core.registry import Registry
from tide_specs import ConfigError


def effect(place: Mapping[str, str]) -> float:
    return -0.4 * (place["objective"] == "kl")


def cells() -> list[CellResult]:
    found = results(AXES, effect)
    nothing: dict[str, object] = {"metrics": {}, "per_example": {}, "curves": {}}
    for index, one in enumerate(found):
        if one.cell.startswith("dream--gemma--calm"):
            found[index] = replace(one, status="impossible", reason="alignment: <b>no</b> | tokens", **nothing)
        if one.cell == "llada--qwen--kl--4":
            found[index] = replace(one, status="failed", reason="it was killed\nlast line", **nothing)
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return write_report(cells(), ReportOptions(replicates=400), tmp_path_factory.mktemp("matrix") / "deep" / "report")


def test_the_summary_says_what_was_found_and_what_was_not(written: ReportFiles) -> None:
    text = written.markdown.read_text()
    assert "- Cells: 54 finished, 1 failed, 5 impossible." in text
    assert f"## {METRIC} (lower is better)" in text
    assert "corrected for the number of comparisons of this metric (Holm; 7)" in text
    assert "**kl.** Helps in every setting. Of 4 settings: helps in 4." in text
    assert "**calm.** Not enough evidence" in text and "impossible in 1" in text
    assert "- Impossible: teacher dream, student gemma: alignment: \\<b\\>no\\</b\\> \\|" in text
    assert "| failed | it was killed last line | llada--qwen--kl--4 |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| kl | teacher llada, student qwen |")]
    assert row.endswith("| better | 4 | 60 |")


def test_every_table_of_the_summary_is_rectangular(written: ReportFiles) -> None:
    width = 0
    for line in written.markdown.read_text().splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        bars = line.replace("\\|", "").count("|")
        assert bars == (width or bars)
        width = bars


def test_the_table_of_effects_has_every_comparison(written: ReportFiles) -> None:
    with written.effects.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    missing = next(row for row in rows if row["outcome"] == "impossible")
    assert (missing["axis.teacher"], missing["difference"], missing["seeds"]) == ("dream", "", "")
    first = rows[0]
    assert (first["objective"], first["outcome"], first["over"]) == ("kl", "better", "seeds and documents")
    assert float(first["low"]) < float(first["difference"]) < float(first["high"]) < 0
    assert first["lacking"] == "failed: it was killed (seed 4)"
    assert first["cells"].split()[0] == "llada--qwen--kl--0"


def test_the_page_holds_the_report_and_asks_for_nothing(written: ReportFiles) -> None:
    text = written.page.read_text()
    data = json.loads(text.split('id="report">')[1].split("</script>")[0])
    assert len(data["cells"]) == 60 and len(data["metrics"][0]["effects"]) == 8
    assert "<b>no" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("Content-Security-Policy", "").replace(
        "http-equiv", ""
    )


def test_a_report_of_nothing_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no cell of the matrix is finished"):
        write_report([replace(one, status="pending") for one in cells()], ReportOptions(), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("")
    with pytest.raises(ConfigError, match=r"report .*report: cannot be made"):
        write_report(cells(), ReportOptions(replicates=400), tmp_path / "report")


def test_logs_are_shown_as_a_terminal_would(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"early\n" * 9000 + b"  1 %\r 50 %\r100 %\r\n\x1b[31mred\x1b[0m \xff\n\nlast")
    tail = log_tail(log)
    assert len(tail) == 30 and tail[-3:] == ["100 %", "red \ufffd", "last"]
    assert log_tail(tmp_path / "none") == [] == log_tail(None)


def test_a_cell_without_files_is_shown_all_the_same() -> None:
    details = cell_details(results(AXES)[0], Lines())
    assert (details["config"], details["log"]) == ([], [])
    assert dict(details["numbers"])["parameters"] == "1,000"


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = thinned([(step, float("nan") if step == 0 else step / 3) for step in range(10_001)])
    assert len(points) <= 102 and points[0] == (0, None) and points[-1] == (10_000, 3333.3)


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A matrix file whose cells of one student hold results, as if they had run."""
    base = run_record(tmp_path, losses=["cross_entropy"])
    base.pop("output")
    axes = {
        "objective": {"alone": {"set": {"losses": ["cross_entropy"]}}, "kl": {"set": {"losses": ["reverse_calm"]}}},
        "seed": {seed: {"set": {"training.seed": int(seed)}} for seed in "012"},
    }
    file = tmp_path / "matrix.yaml"
    file.write_text(yaml.safe_dump({"base": base, "axes": axes, "output": str(tmp_path / "out")}))
    loaded = load_matrix(file, registry=Registry.discover())
    for cell, one in zip(
        loaded.matrix.cells, results({"objective": ["alone", "kl"], "seed": "012"}, effect), strict=True
    ):
        cell.directory.mkdir(parents=True)
        record = {
            "identity": cell.identity,
            "metrics": {METRIC: {"value": one.metrics[METRIC].value, "low": None, "high": None}},
            "per_example": one.per_example,
            "better": one.better,
            "curves": one.curves,
            "seconds": 1.0,
            "teacher_forwards": one.teacher_forwards,
            "student_forwards": 10,
            "parameters": 1000,
        }
        write_record(cell.directory / RESULT, record)
    return file


def test_the_command_reports_a_matrix(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["matrix", "report", str(matrix)]) == 0
    out = capsys.readouterr().out
    assert "6 finished" in out
    assert f"{METRIC} (lower is better), against alone:" in out
    assert "kl: Helps in every setting. Of 1 setting: helps in 1." in out
    assert (matrix.parent / "out" / "report" / "report.html").exists()


def test_the_command_takes_directions_and_says_what_is_wrong_with_them(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["matrix", "report", str(matrix), "-o", str(matrix.parent / "other")]
    assert call([*arguments, "--better", f"{METRIC}=higher"]) == 0
    assert "kl: Hurts in every setting" in capsys.readouterr().out
    assert (matrix.parent / "other" / "report.md").exists()
    assert call([*arguments, "--better", METRIC]) == 2
    assert f"--better {METRIC}: is not of the form NAME=VALUE" in capsys.readouterr().err
    assert call([*arguments, "--baseline", "none"]) == 2
    assert "baseline 'none': axis 'objective' has no such label" in capsys.readouterr().err


def test_the_command_of_a_matrix_that_never_ran_is_one_error(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (matrix.parent / "out").rglob(RESULT):
        record.unlink()
    assert call(["matrix", "report", str(matrix)]) == 2
    assert "no cell of the matrix is finished (6 pending); run it first" in capsys.readouterr().err
