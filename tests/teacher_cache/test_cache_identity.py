from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cache_standins import begin, finished, identity

from tide_core.teacher_cache import CacheWriter, TeacherCache, create
from tide_specs import ConfigError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TeacherCache:
    return finished(tmp_path_factory.mktemp("identity") / "cache")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tokenizer": "other"}, "teacher tokenizer tttttttt, this run has other"),
        ({"student_tokenizer": "other"}, "student tokenizer ssssssss, this run has other"),
        ({"alignment": {"name": "ranked"}}, "alignment.name byte_chunks, this run has ranked"),
        ({"teacher": {"name": "huggingface", "weights": "1"}}, "teacher.weights 00000000, this run has 1"),
        ({"view": {"name": "plain"}}, "view.name complementary, this run has plain"),
        ({"view": {"name": "complementary", "ratio": 0.3}}, "view.ratio 0.5, this run has 0.3"),
        ({"view": {"name": "complementary"}}, "view.ratio 0.5, this run has none"),
        ({"corruption": "c"}, 'corruption {"name": "absorbing"}, this run has c'),
        ({"schedule": {"name": "cosine"}}, "schedule.name linear, this run has cosine"),
        ({"seed": 3}, "seed 0, this run has 3"),
        ({"data": "other"}, "data hash dddddddd, this run has other"),
        ({"samples": 5}, "number of samples 11, this run has 5"),
        ({"draws": 4}, "draws 3, this run has 4"),
        ({"values": "top_k", "k": 8}, "values likelihoods, this run has top_k"),
    ],
)
def test_every_difference_is_refused_by_name(cache: TeacherCache, change: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        cache.require(identity(**change), run_file="my.yaml")
    said = str(error.value).splitlines()
    assert f"cache {cache.path}: was built with {line}" in said[-1]
    assert said[-1].endswith("; rebuild it with tide cache build my.yaml, or use the run file that it was built from")


def test_all_differences_are_listed_at_once(cache: TeacherCache) -> None:
    with pytest.raises(ConfigError) as error:
        cache.require(identity(seed=1, data="x", view={"name": "plain"}))
    assert [line.split("built with ")[1].split()[0] for line in str(error.value).splitlines()] == [
        "view.name",
        "seed",
        "data",
    ]


def test_a_cache_serves_runs_that_want_less(cache: TeacherCache, tmp_path: Path) -> None:
    cache.require(identity())
    cache.require(identity(draws=1))
    distributions = finished(tmp_path / "cache", k=2)
    distributions.require(identity())
    distributions.require(identity(values="top_k", k=2))
    with pytest.raises(ConfigError, match=r"built with k 2, this run has 3;"):
        distributions.require(identity(values="top_k", k=3))


def test_tuples_and_lists_are_the_same_json(tmp_path: Path) -> None:
    begin(tmp_path, identity(view={"blocks": (1, 2)}))
    begin(tmp_path, identity(view={"blocks": [1, 2]}))


def test_values_and_k_go_together() -> None:
    for change in ({"k": 3}, {"values": "top_k"}):
        with pytest.raises(ValueError, match="with k"):
            identity(**change)


def test_a_cache_is_begun_once_and_resumed_for_the_same_identity_only(tmp_path: Path) -> None:
    begin(tmp_path / "cache")
    before = (tmp_path / "cache" / "cache.json").read_bytes()
    begin(tmp_path / "cache")
    assert (tmp_path / "cache" / "cache.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"seed 0, this run has 1; rebuild .*, or name another directory"):
        begin(tmp_path / "cache", identity(seed=1))


def test_a_cache_says_what_it_was_built_from(cache: TeacherCache) -> None:
    assert cache.identity == identity()
    assert cache.config == {"teacher": "a"}
    assert (cache.tokenizer / "tokenizer.json").is_file()
    assert json.loads((cache.path / "cache.json").read_text())["identity"]["data"] == "dddddddd"


def test_other_peoples_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds other files \(thesis\.tex\); name a new or empty directory"):
        begin(tmp_path)
    with pytest.raises(ConfigError, match=r"thesis\.tex: is a file; name a new or empty directory"):
        begin(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


@pytest.mark.parametrize("opened", [TeacherCache, CacheWriter])
def test_what_is_no_cache_is_refused(tmp_path: Path, opened: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"not a teacher cache, it has no cache\.json; build one with tide cache build"
    ):
        opened(tmp_path)
    with pytest.raises(ConfigError, match=r"none: not a teacher cache, there is no such directory"):
        opened(tmp_path / "none")


def test_a_tokenizer_that_cannot_be_saved_leaves_no_cache(tmp_path: Path) -> None:
    def fails(path: str) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        create(tmp_path / "cache", identity(), config={}, save_tokenizer=fails)
    with pytest.raises(ConfigError, match="not a teacher cache"):
        TeacherCache(tmp_path / "cache")
    begin(tmp_path / "cache")
