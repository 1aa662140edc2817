"""The kit's own machinery: running checks, parametrizing tests, fixtures, and staying light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from kit_correct import KitForwardKL, KitLinear
from mutants_curves import WrongDerivative

from tide_specs import COMPONENT_HOOKS
from tide_specs.testing import checks_for, parametrize_with_checks, run_checks
from tide_specs.testing.runner import label

SUITE = """
import sys
sys.path.insert(0, {here!r})
from kit_correct import KitLinear
from mutants_curves import WrongDerivative
from tide_specs.testing import parametrize_with_checks

@parametrize_with_checks([KitLinear(), WrongDerivative()], expected_failures={expected!r})
def test_conformance(component, check):
    check(component)
"""
FIXTURES = """
def test_denoiser(tide_denoiser):
    model = tide_denoiser("block_diffusion", block_size=8)
    assert (model.form, model.block_size, model.module.training) == ("block_diffusion", 8, False)

def test_batch(tide_batch):
    assert tide_batch.teacher is not None
    assert tide_batch.student.ids.shape[1] % 4 == 0

def test_tokenizers(tide_tokenizers):
    assert set(tide_tokenizers) == {"bytes", "words", "other", "padded"}

def test_real_tokenizers(tide_real_tokenizer):
    assert tide_real_tokenizer("minilm").mask_token_id is not None
"""


class Hopeless(KitLinear):
    """Needs a library that nobody has."""

    requires: ClassVar[tuple[str, ...]] = ("no_such_library",)


def run_pytest(directory: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_written.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *arguments, "test_written.py"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_results_say_what_happened_to_each_check() -> None:
    results = {result.check: result for result in run_checks(WrongDerivative())}
    assert set(results) == {check.name for check in checks_for("schedule")}
    assert results["check_derivative"].status == "failed"
    assert "correct the derivative" in results["check_derivative"].message
    assert results["check_name"].status == "passed"
    assert results["check_name"].message == ""


def test_a_missing_library_skips_what_would_need_it() -> None:
    results = {result.check: result for result in run_checks(Hopeless())}
    assert results["check_end_points"].status == "skipped"
    assert "no_such_library, which is not installed" in results["check_end_points"].message
    assert results["check_documented"].status == "passed"


def test_labels_name_the_options_that_were_given() -> None:
    assert label(KitForwardKL()) == "kit_forward_kl"
    assert label(KitForwardKL(temperature=3.0)) == "kit_forward_kl(temperature=3.0)"


def test_an_expected_failure_is_reported_as_such(tmp_path: Path) -> None:
    expected = {("kit_linear", "check_derivative"): "known", ("kit_linear", "check_weight"): "known"}
    done = run_pytest(tmp_path, SUITE.format(here=str(Path(__file__).parent), expected=expected))
    # The correct component passes what was expected to fail: the list is out of date, and says so.
    outdated = [line for line in done.stdout.splitlines() if line.startswith("[XPASS(strict)]")]
    assert len(outdated) == 2
    assert done.stdout.count("XFAIL test_written.py") == 2


def test_an_unexpected_failure_says_what_is_wrong(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SUITE.format(here=str(Path(__file__).parent), expected={}))
    assert "FAILED test_written.py::test_conformance[kit_linear-check_derivative1]" in done.stdout
    assert "correct the derivative" in done.stdout


def test_expected_failures_must_exist() -> None:
    with pytest.raises(ValueError, match="names \\('kit_linear', 'check_derivatives'\\)"):
        parametrize_with_checks([KitLinear()], expected_failures={("kit_linear", "check_derivatives"): "?"})


def test_fixtures(tmp_path: Path) -> None:
    plugin = () if plugin_is_registered() else ("-p", "tide_specs.testing.pytest_plugin")
    done = run_pytest(tmp_path, FIXTURES, *plugin)
    assert done.returncode == 0, done.stdout


def plugin_is_registered() -> bool:
    """Whether the installed distribution registers the fixtures with pytest."""
    from importlib.metadata import entry_points

    return any(point.value == "tide_specs.testing.pytest_plugin" for point in entry_points(group="pytest11"))


@pytest.mark.parametrize("kind", COMPONENT_HOOKS)
def test_every_check_explains_itself(kind: str) -> None:
    checks = checks_for(kind)
    assert len(checks) > 10
    assert all(check.summary and check.summary.endswith(".") for check in checks)
    assert len({check.name for check in checks}) == len(checks)


@pytest.mark.parametrize(
    "statement",
    [
        "import tide_specs.testing, tide_specs.testing.pytest_plugin, tide_specs.testing.toys",
        "from tide_specs.testing import checks_for; [checks_for(k) for k in ('loss', 'architecture')]",
    ],
)
def test_the_kit_imports_torch_only_when_a_check_runs(statement: str) -> None:
    program = f"import sys; {statement}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


SELF_CHECKING = """
from typing import Literal
from tide_specs import NoiseSchedule
from tide_specs.testing import run_checks

class SelfChecking(NoiseSchedule):
    '''alpha(t) = 1 - t.'''
    name: Literal["self_checking"] = "self_checking"
    def alpha(self, t):
        return 1 - t
    def alpha_prime(self, t):
        import torch
        return -torch.ones_like(t)

results = run_checks(SelfChecking())
print(len(results))
"""


def test_a_module_that_checks_itself_when_imported_does_not_probe_without_end(tmp_path: Path) -> None:
    file = tmp_path / "self_checking.py"
    file.write_text(SELF_CHECKING)
    finished = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout.splitlines()[-1]) > 3
