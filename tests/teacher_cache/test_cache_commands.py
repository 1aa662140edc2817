"""``tide cache``: built, killed, resumed and shared out; what is refused, before anything loads, and how it is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cached_runs import OWN, build, load, student, teacher, with_cache, write

from tide_core.cli.main import call
from tide_core.recording import asking
from tide_core.recording.measuring import measure
from tide_core.recording.reading import CachedTeacher
from tide_core.registry import Registry
from tide_core.run import run
from tide_core.teacher_cache import TeacherCache
from tide_specs import ConfigError, DataError


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "live", losses=["cross_entropy", "bernoulli_kl"])


@pytest.fixture(scope="module")
def cache(live: Path, registry: Registry) -> Path:
    """A finished cache of ``live``; nobody changes it."""
    return build(live, live.parent.parent / "cache", registry).path


def answers(path: Path) -> dict[tuple[int, int], tuple[bytes, list[float]]]:
    cache, found = TeacherCache(path), {}
    for draw in range(cache.identity.draws):
        for sample in sorted({int(s) for s in cache._index[1]}):
            (record,) = cache.read(draw, [sample])
            found[draw, sample] = (record.mask, record.likelihood.tolist())
    return found


def changed(live: Path, cache: Path, name: str, **sections: Any) -> Path:
    """The run of ``live`` with the cache, and with other sections."""
    path = with_cache(live, cache, name)
    record = {**yaml.safe_load(path.read_text()), **sections}
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return path


def test_a_build_that_is_stopped_goes_on_where_it_was(
    live: Path, cache: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    answer = asking.answer

    def dying(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return answer(*given)

    monkeypatch.setattr(asking, "answer", dying)
    with pytest.raises(KeyboardInterrupt):
        build(live, tmp_path / "parts", registry)
    with pytest.raises(DataError, match="not finished, 4 of "):
        TeacherCache(tmp_path / "parts")
    built = build(live, tmp_path / "parts", registry)
    assert built.forwards == built.identity.records - 4
    assert answers(tmp_path / "parts") == answers(cache)
    assert build(live, tmp_path / "parts", registry).forwards == 0, "there is nothing left to ask"


def test_the_commands_say_what_a_cache_is(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(cache)
    assert found.finished
    assert found.records == found.expected
    assert found.tokens == sum(len(values) for _, values in answers(cache).values())
    assert call(["cache", "info", str(cache)]) == 0
    out = capsys.readouterr().out
    assert "alignment          byte_chunks (version: 1)" in out
    assert f"finished: {found.records} of {found.expected} records, {found.tokens:,} tokens" in out
    assert call(["cache", "info", str(cache), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes_per_token"] == pytest.approx(found.growing / found.tokens)
    assert call(["cache", "verify", str(cache)]) == 0
    assert f"{found.records} records, all whole" in capsys.readouterr().out


def test_verify_names_what_is_damaged(
    live: Path, tmp_path: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    build(live, tmp_path / "cache", registry, draws=1)
    shard = tmp_path / "cache" / "shard-0-0.bin"
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    assert call(["cache", "verify", str(tmp_path / "cache")]) == 2
    assert "shard-0-0.bin is damaged at byte" in capsys.readouterr().err


def test_build_shows_its_progress_and_sums_up(live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["cache", "build", str(live), "--draws", "1", "--path", str(tmp_path / "c")]) == 0
    out, err = capsys.readouterr()
    rows = measure(tmp_path / "c").records
    assert re.search(rf"{rows} of {rows} rows, [\d,]+ tokens/s", err)
    assert f"the teacher answered {rows} rows in {rows} forwards" in out
    assert "E / 1 times" in out
    assert f"teacher: {{cache: {tmp_path / 'c'}}}" in out


def test_a_plan_counts_no_teacher_that_is_on_disk(live: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_cache(live, cache, "planned")
    assert call(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert "on disk" in out
    assert "teacher: 0 passes a step, 0% of the arithmetic" in out
    assert "teacher weights" not in out


def test_paths_are_looked_up_beside_the_run_file(live: Path, cache: Path, registry: Registry) -> None:
    path = with_cache(live, Path("../cache"), "beside")
    assert load(path, registry).config.teacher.cache_path == str(cache)


KEPT = str(Path(__file__).parents[1] / "testing_kit" / "data" / "teacher-cache")
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"losses": ["hidden_state"]}, "losses[0]: 'hidden_state' compares hidden states, and a cache holds none"),
    (
        {"alignment": "vocabulary_projection", "losses": ["projected_kl"]},
        "losses[0]: 'projected_kl' reads the teacher's whole distribution, and a cache holds its most likely tokens",
    ),
    (
        {"alignment": "ranked", "losses": ["uld"]},
        "holds likelihoods alone, and the losses read the 64 most likely tokens",
    ),
    ({"teacher_view": "sampler_steps"}, "teacher_view: 'sampler_steps' shows the teacher what it wrote itself"),
    ({"timesteps": {"sampling": "stratified"}}, "with stratified times the noise of a sample depends on the batch"),
    ({"evaluation": ["teacher_divergence"]}, "evaluation[0]: 'teacher_divergence' runs the teacher on held-out text"),
    ({"training": {"noise_draws": 3}}, "3 noisings of each example, but cache"),
    ({"training": {"seed": 1}}, "was built with seed 0, this run has 1"),
    ({"schedule": "cosine"}, "was built with schedule.name linear, this run has cosine"),
    (
        {"corruption": {"name": "absorbing", "masking": "token"}},
        "was built with corruption.masking chunk, this run has",
    ),
    ({"teacher_view": "complementary"}, "was built with view.name plain, this run has complementary"),
    ({"teacher": {"cache": "nowhere"}}, "nowhere: not a teacher cache, there is no such directory"),
    ({"teacher": {"cache": "c", "form": "bidirectional"}}, "teacher.form: unknown option 'form'"),
    (
        {"student": {"cache": KEPT}},
        "'cached' cannot be the student: a cache holds what a teacher answered; there is no model to train",
    ),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_a_cache_cannot_give_is_refused_before_anything_loads(
    live: Path, cache: Path, registry: Registry, sections: dict[str, Any], message: str
) -> None:
    path = changed(live, cache, "refused", **sections)
    with pytest.raises(ConfigError) as caught:
        load(path, registry)
    assert message in str(caught.value)


def test_repeated_noise_needs_independent_times(live: Path, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"timesteps.sampling: training.noise_draws repeats the noise of each sample"):
        load(write(live.parent.parent / "lattice", timesteps={"sampling": "lattice"}), registry)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refused(*given: Any, **named: Any) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("tide_core.run.load_distillation", refused)
    return


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"name": "python_stdlib", "max_length": 48, "max_examples": 7}}, "was built with data hash"),
        ({"student": student(tokenizer_from=str(Path(OWN).parent / "teacher-tokenizer"))}, "student tokenizer"),
    ],
    ids=["data", "tokenizer"],
)
def test_a_cache_of_other_data_is_refused_before_a_model_loads(
    live: Path, cache: Path, registry: Registry, sections: dict[str, Any], message: str
) -> None:
    config = load(changed(live, cache, "other", **sections), registry).config
    with pytest.raises(ConfigError, match=message):
        run(config, registry)


@pytest.mark.parametrize(
    ("sections", "options", "message"),
    [
        (
            {"losses": ["forward_kl"], "alignment": "shared_vocabulary", "teacher": teacher(tokenizer_from=OWN)},
            {},
            "'forward_kl' reads",
        ),
        ({"losses": ["cross_entropy", "uld"], "alignment": "ranked"}, {"top_k": 8}, "--top-k 8 is too few"),
        ({"losses": ["cross_entropy"]}, {}, "no loss learns from this teacher"),
        ({"losses": ["bernoulli_kl"]}, {"teacher": 1}, "has one teacher, so there is no teacher 2 to ask"),
    ],
    ids=["whole", "few", "none", "absent"],
)
def test_what_cannot_be_built_is_refused(
    tmp_path: Path, registry: Registry, sections: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(write(tmp_path / "run", **sections), tmp_path / "cache", registry, **options)
    assert not (tmp_path / "cache").exists()


def test_another_teacher_does_not_go_on_with_a_cache(live: Path, cache: Path, registry: Registry) -> None:
    other = write(live.parent.parent / "other-seed", losses=["cross_entropy", "bernoulli_kl"], training={"seed": 3})
    with pytest.raises(ConfigError, match=r"was built with seed 0, this run has 3; .* name another directory"):
        build(other, cache, registry)


def test_answers_under_another_mask_are_refused(live: Path, cache: Path, registry: Registry, monkeypatch: Any) -> None:
    """Where the identity says nothing, the mask of every single record does."""
    answered = CachedTeacher.answers

    def shifted(self: CachedTeacher, batch: Any, epochs: Any, rows: Any) -> Any:
        return answered(self, batch, [1 - epoch for epoch in epochs], rows)

    monkeypatch.setattr(CachedTeacher, "answers", shifted)
    with pytest.raises(DataError, match="the teacher answered under another mask"):
        run(load(with_cache(live, cache, "shifted"), registry).config, registry)
