"""Two processes build the cache that one builds, and a run on two processes reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cached_runs import build, with_cache, write

sys.path.append(str(Path(__file__).parents[1] / "run"))

from run_files import tide
from test_cache_commands import answers
from test_processes import launcher

from tide_core.registry import Registry


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    live = write(tmp_path / "live", losses=["bernoulli_kl"])
    build(live, tmp_path / "one", Registry.discover())
    built = tide("cache", "build", str(live), "--draws", "2", "--path", str(tmp_path / "two"), launcher=launcher(2))
    assert built.returncode == 0, built.stderr[-3000:]
    assert built.stdout.count("learn from it with") == 1
    assert sorted(path.name for path in (tmp_path / "two").glob("*.bin")) == ["shard-0-0.bin", "shard-1-0.bin"]
    assert answers(tmp_path / "two") == answers(tmp_path / "one")
    run = with_cache(live, tmp_path / "two", batch_size=2, steps=2)
    trained = tide("run", str(run), launcher=launcher(2))
    assert trained.returncode == 0, trained.stderr[-3000:]
