"""The machine and the folder: devices, processes, plugins, servers and disks that are not as the run wants them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_files import events

ALONE = {"teacher": None, "losses": ["cross_entropy"]}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_that_is_not_there(device: str, refused) -> None:
    assert refused("--set", f"training.device={device}") == (
        f"training.device: '{device}' was asked for, but torch sees no CUDA device here; use cpu, or install a torch with CUDA"
    )


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_strategy_for_several_processes_in_one(strategy: str, refused) -> None:
    assert refused("--set", f"training.strategy={strategy}") == (
        f"training.strategy: '{strategy}' needs several processes; start them with torchrun --nproc-per-node N "
        "-m tide_core.cli.main run FILE, or leave the strategy at auto"
    )


@pytest.mark.parametrize(("output", "reason"), [("taken", "File exists"), ("taken/below", "Not a directory")])
def test_an_output_folder_that_cannot_be(output: str, reason: str, refused, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file of the user's")
    assert refused("--set", f"output={output}") == (
        f"output: {output}: cannot be written ({reason}); choose another folder with output: or --set output=DIR"
    )


def test_a_full_or_read_only_disk_is_found_before_anything_loads(refused, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def full(**options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "out: cannot be written (Read-only file system); choose another folder" in refused()


def test_a_cache_that_cannot_be_written(refused, tmp_path: Path) -> None:
    (tmp_path / ".tide-cache").write_text("in the way")
    message = refused(**ALONE)
    assert "the cache of encoded examples cannot be written: " in message


PLUGINS = {
    "raises": ("1 / 0\n", "raises ZeroDivisionError when imported: division by zero ("),
    "does not parse": ("def\n", "SyntaxError"),
    "misspelt hook": (
        "from tide_specs import hookimpl\n\n@hookimpl\ndef tide_loses():\n    return []\n",
        "'tide_loses' is no hook; did you mean 'tide_losses'?",
    ),
    "ends the program": ("raise SystemExit(3)\n", "calls sys.exit(3) when imported"),
}


@pytest.mark.parametrize("case", PLUGINS)
def test_a_plugin_that_fails_is_skipped_and_named_again_where_it_is_missed(case: str, refused, tmp_path: Path) -> None:
    code, reason = PLUGINS[case]
    (tmp_path / "my_plugin.py").write_text(code)
    first, *rest = refused("--plugin", "my_plugin.py", "--set", "losses=[my_loss]").splitlines()
    assert first.startswith("warning: plugin 'my_plugin' (my_plugin.py) was skipped: ")
    assert reason in first
    assert rest[0] == "--set losses=[my_loss]: losses[0]: no loss is called 'my_loss'"
    assert any("skipped: plugin 'my_plugin'" in line and reason in line for line in rest)


def test_plugin_files_that_are_none(refused, tmp_path: Path) -> None:
    assert refused("--plugin", "none.py") == "--plugin none.py: no such file"
    (tmp_path / "my-plugin.py").write_text("")
    assert "the file's name must be a Python module's, e.g. my_loss.py" in refused("--plugin", "my-plugin.py")


COMPONENT = '''
from typing import Literal
from tide_specs import Dataset, hookimpl, SelfLoss


class Torn(Dataset):
    """Breaks in the middle."""

    name: Literal["torn"] = "torn"

    def examples(self, split):
        raise KeyError("a column")

    def fingerprint(self):
        return "x"


class Bad(SelfLoss):
    """Raises in the first step."""

    name: Literal["bad"] = "bad"

    def per_token(self, student, at):
        raise RuntimeError("no such thing")


@hookimpl
def tide_datasets():
    return [Torn]


@hookimpl
def tide_losses():
    return [Bad]
'''


def test_a_component_that_raises_is_named_with_its_plugin_and_its_line(refused, tide, tmp_path: Path) -> None:
    (tmp_path / "torn_plugin.py").write_text(COMPONENT)
    message = refused("--plugin", "torn_plugin.py", data={"name": "torn", "max_length": 64}, **ALONE)
    assert message.startswith("run.yaml:")
    assert (
        "data: dataset 'torn' of plugin 'torn_plugin' (torn_plugin.py) failed while its train examples were prepared: "
        in message
    )
    assert "KeyError: 'a column'" in message
    code, _, err = tide("run", "--plugin", "torn_plugin.py", teacher=None, losses=["cross_entropy", "bad"])
    assert code == 2
    assert "losses[1]: loss 'bad' of plugin 'torn_plugin' (torn_plugin.py) failed while it was evaluated: " in err
    assert "RuntimeError: no such thing" in err
    assert "Traceback" not in err


def test_a_tracking_server_that_does_not_answer(tide, tmp_path: Path) -> None:
    tracker = {"name": "mlflow", "tracking_uri": "http://127.0.0.1:9", "timeout": 2, "system_metrics": False}
    code, _, err = tide("run", observers=[tracker], training={"steps": 3}, **ALONE)
    assert code == 0
    warnings = [line for line in err.splitlines() if "mlflow" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: observer 'mlflow' of plugin 'tide_plugins.observers'")
    assert "is muted; the run goes on" in warnings[0]
    assert "the MLflow tracking server http://127.0.0.1:9 does not answer within 2 s" in warnings[0]
    assert "or leave that option out to write a local store" in warnings[0]
    assert [event["step"] for event in events(tmp_path, "metrics_logged")] == [1, 2, 3]
    assert events(tmp_path, "run_finished")[-1]["status"] == "finished"
    assert (tmp_path / "out" / "student" / "model.safetensors").is_file()
