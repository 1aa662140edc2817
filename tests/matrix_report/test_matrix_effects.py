"""Effects: what is paired with what, what is said of it, and what is refused or named."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from matrix_results import AXES, METRIC, finished, results

from tide_core.matrix.results import CellResult
from tide_core.matrix_report.comparing import Effect
from tide_core.matrix_report.markdown import markdown
from tide_core.matrix_report.options import ReportOptions
from tide_core.matrix_report.report import Report, build_report
from tide_core.matrix_report.wording import settings_text
from tide_specs import ConfigError, Estimate

SMALL = ReportOptions(replicates=400)


def helps_qwen(place: Mapping[str, str]) -> float:
    """KL helps one student and hurts the other; CALM does nothing."""
    return 0.0 if place["objective"] != "kl" else -0.4 if place["student"] == "qwen" else 0.4


def effect_of(report: Report, objective: str, *labels: str) -> Effect:
    return next(
        one
        for one in report.metrics[0].effects
        if one.objective == objective and set(labels) <= {label for _, label in one.setting}
    )


def changed(cells: list[CellResult], cell: str, **fields: object) -> list[CellResult]:
    assert any(one.cell == cell for one in cells)
    return [replace(one, **fields) if one.cell == cell else one for one in cells]  # type: ignore[arg-type]


def test_effects_are_found_where_they_are_and_nowhere_else() -> None:
    report = build_report(results(AXES, helps_qwen), SMALL)
    outcomes = {(one.objective, dict(one.setting)["student"]): one.outcome for one in report.metrics[0].effects}
    assert outcomes[("kl", "qwen")] == "better" and outcomes[("kl", "gemma")] == "worse"
    assert outcomes[("calm", "qwen")] == outcomes[("calm", "gemma")] == "unclear"
    found = effect_of(report, "kl", "llada", "qwen")
    assert (found.seeds, found.documents) == (("0", "1", "2", "3", "4"), 60)
    assert found.interval is not None and found.interval.low < -0.4 < found.interval.high
    assert found.value - found.baseline == pytest.approx(found.interval.value)
    verdicts = {one.objective: one.headline for one in report.metrics[0].verdicts}
    assert verdicts["kl"].startswith("Does not generalise: it helps in some settings and hurts in others. Of 4")
    assert verdicts["calm"].startswith("Not enough evidence that it helps or hurts in any setting.")


@pytest.mark.parametrize(("seeds", "between"), [("01234", 0.02), ("012", 0.1)])
def test_no_effect_mostly_says_that_evidence_does_not_suffice(seeds: str, between: float) -> None:
    """Of 40 matrices with 8 comparisons each, one in 20 may have a false finding anywhere in it."""
    wrong = 0
    for seed in range(40):
        cells = results({**AXES, "seed": tuple(seeds)}, seed=seed, documents=30, between_seeds=between)
        wrong += any(one.outcome != "unclear" for one in build_report(cells, SMALL).metrics[0].effects)
    assert wrong <= 4


def test_the_order_of_cells_changes_nothing() -> None:
    cells = results(AXES, helps_qwen)
    first = build_report(cells, SMALL).metrics[0]
    random.Random(0).shuffle(cells)
    second = build_report(cells, SMALL).metrics[0]
    key = lambda one: (one.objective, sorted(one.setting))  # noqa: E731
    assert sorted(first.effects, key=key) == sorted(second.effects, key=key)
    assert first.ranking.w == second.ranking.w


def test_the_order_of_documents_and_of_seeds_changes_nothing_but_rounding() -> None:
    cells = results(AXES, helps_qwen)
    order = np.random.default_rng(0).permutation(60)
    moved = [
        replace(
            one,
            labels={**one.labels, "seed": str(4 - int(one.labels["seed"]))},
            per_example={METRIC: np.array(one.per_example[METRIC])[order].tolist()},
        )
        for one in cells
    ]
    for one, two in zip(build_report(cells, SMALL).metrics[0].effects, build_report(moved, SMALL).metrics[0].effects):  # noqa: B905
        assert one.interval is not None and two.interval is not None
        assert two.interval.value == pytest.approx(one.interval.value)
        assert two.interval.standard_error == pytest.approx(one.interval.standard_error, rel=0.15)
        assert two.outcome == one.outcome


def test_pairing_removes_what_documents_and_seeds_have_in_common() -> None:
    """Documents differ by 0.5; unpaired, a difference of 0.01 would drown in that."""
    report = build_report(
        results(AXES, lambda place: -0.01 * (place["objective"] == "kl"), between_seeds=0.0, noise=0.001), SMALL
    )
    assert {one.outcome for one in report.metrics[0].effects if one.objective == "kl"} == {"better"}


def test_a_cell_with_another_number_of_documents_is_refused_by_name() -> None:
    cells = results(AXES)
    short = next(one for one in cells if one.cell == "dream--qwen--kl--3").per_example[METRIC][:-1]
    with pytest.raises(ConfigError, match=r"'dream--qwen--kl--3' \(59\) .* than the 60 of .* run them again"):
        build_report(changed(cells, "dream--qwen--kl--3", per_example={METRIC: short}), SMALL)


def test_students_may_have_documents_of_their_own() -> None:
    cells = [
        replace(one, per_example={METRIC: one.per_example[METRIC][:40]}) if one.labels["student"] == "gemma" else one
        for one in results(AXES)
    ]
    report = build_report(cells, SMALL)
    assert {effect_of(report, "kl", student).documents for student in AXES["student"]} == {40, 60}


def test_cells_that_disagree_about_the_sizes_of_documents_are_refused() -> None:
    name, sizes = "score/bits_per_byte", [1.0, 2.0, 3.0]
    place = {"student": "s", "seed": "0"}
    cells = [
        finished({**place, "objective": objective}, [2.0, 2.5, 3.0], asks=objective != "alone", metric=name)
        for objective in ("alone", "kl")
    ]
    cells = [replace(one, per_example={**one.per_example, "score/bytes": sizes}) for one in cells]
    assert build_report(cells, SMALL).metrics[0].weights == "score/bytes"
    other = {**cells[1].per_example, "score/bytes": [1.0, 2.0, 4.0]}
    with pytest.raises(ConfigError, match=r"score/bytes: cells 's--0--alone' and 's--0--kl' disagree"):
        build_report([cells[0], replace(cells[1], per_example=other)], SMALL)


def test_bits_per_byte_is_weighed_by_bytes_so_that_effects_are_differences_of_the_metric() -> None:
    name = "score/bits_per_byte"
    sizes = np.array([10.0, 200.0, 50.0, 40.0])
    rng = np.random.default_rng(0)
    cells = []
    for objective in ("alone", "kl"):
        for seed in "012":
            bits = sizes * rng.normal(2, 0.3, 4)
            one = finished({"objective": objective, "seed": seed}, (bits / sizes).tolist(), asks=objective != "alone")
            cells.append(
                replace(
                    one,
                    metrics={name: Estimate(value=float(bits.sum() / sizes.sum()))},
                    per_example={name: (bits / sizes).tolist(), "score/bytes": sizes.tolist()},
                    better={},
                )
            )
    metric = build_report(cells, SMALL).metrics[0]
    (found,) = metric.effects
    assert metric.better == "lower" and metric.notes == ()
    assert found.interval is not None and found.interval.value == pytest.approx(found.value - found.baseline)
    plain = build_report([replace(one, per_example={name: one.per_example[name]}) for one in cells], SMALL)
    assert any("is not the mean over documents" in note for note in plain.metrics[0].notes)


def test_a_baseline_of_another_teacher_stands_in_and_is_named() -> None:
    cells = [one for one in results(AXES, helps_qwen) if not one.cell.startswith("dream--qwen--alone")]
    report = build_report(cells, SMALL)
    found = effect_of(report, "kl", "dream", "qwen")
    assert found.borrowed and found.outcome == "better"
    assert found.baselines == tuple(f"llada--qwen--alone--{seed}" for seed in range(5))
    assert not effect_of(report, "kl", "llada", "qwen").borrowed
    assert any("beside another teacher" in note for note in report.metrics[0].notes)


def test_another_student_never_stands_in() -> None:
    cells = [one for one in results(AXES) if "qwen--alone" not in one.cell]
    found = effect_of(build_report(cells, SMALL), "kl", "llada", "qwen")
    assert (found.outcome, found.seeds) == ("missing", ())
    assert {one.reason for one in found.lacking} == {"the matrix has no baseline (alone) of this setting and seed"}


def test_what_is_impossible_is_counted_apart_from_what_is_not_measured_yet() -> None:
    """An objective that helps wherever it can be had helps everywhere; one reason is given once, for all its settings."""
    cells = [
        replace(one, status="impossible", reason="losses[1]: no such port", metrics={}, per_example={}, curves={})
        if one.labels["objective"] == "kl" and one.labels["student"] == "gemma"
        else one
        for one in results(AXES, helps_qwen)
    ]
    report = build_report(cells, SMALL)
    found = next(one for one in report.metrics[0].verdicts if one.objective == "kl")
    assert found.headline == (
        "Helps in every setting in which it is possible. Of 4 settings: helps in 2, impossible in 2."
    )
    assert "- Impossible: student gemma (2 settings): losses\\[1]: no such port." in markdown(report)
    pending = changed(cells, "dream--qwen--kl--0", status="pending", metrics={}, per_example={}, curves={})
    assert effect_of(build_report(pending, SMALL), "kl", "dream", "qwen").outcome == "better"
    for seed in range(5):
        pending = changed(pending, f"dream--qwen--kl--{seed}", status="pending", metrics={}, per_example={}, curves={})
    report = build_report(pending, SMALL)
    assert "helps in 1, not measured in 1, impossible in 2." in markdown(report)


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ("ax ay bx by", "all settings (4 settings)"),
        ("ax ay", "teacher a (2 settings)"),
        ("ax by", "teacher a, student x; teacher b, student y"),
        ("bx", "teacher b, student x"),
    ],
)
def test_settings_are_said_in_few_words_where_these_say_it_exactly(chosen: str, text: str) -> None:
    places = {f"{a}{b}": (("teacher", a), ("student", b)) for a in "ab" for b in "xy"}
    assert settings_text([places[one] for one in chosen.split()], list(places.values())) == text


def test_two_seeds_give_an_interval_over_documents_only_and_no_finding() -> None:
    report = build_report(results({**AXES, "seed": ("0", "1")}, helps_qwen), SMALL)
    found = effect_of(report, "kl", "qwen")
    assert found.interval is not None and found.interval.over == "documents only"
    assert found.significant and found.outcome == "few seeds"
    assert any("fewer than 3 seeds" in note and "over documents only" in note for note in report.metrics[0].notes)
    assert not any("elps in every" in one.headline for one in report.metrics[0].verdicts)


def test_a_matrix_without_seeds_is_one_seed() -> None:
    axes = {axis: labels for axis, labels in AXES.items() if axis != "seed"}
    assert effect_of(build_report(results(axes), SMALL), "kl").outcome == "few seeds"


def test_metrics_without_numbers_per_document_are_compared_over_seeds() -> None:
    cells = [replace(one, per_example={}) for one in results(AXES, helps_qwen)]
    found = effect_of(build_report(cells, SMALL), "kl", "qwen")
    assert found.interval is not None and (found.interval.over, found.documents) == ("seeds only", 0)
    assert found.outcome == "better"


def test_missing_numbers_are_counted_and_named() -> None:
    cells = changed(results(AXES), "llada--qwen--kl--2", metrics={}, per_example={})
    cells = changed(cells, "llada--qwen--calm--1", metrics={METRIC: Estimate(value=float("nan"))})
    report = build_report(cells, SMALL)
    assert {one.cell: one.reason for one in report.metrics[0].missing} == {
        "llada--qwen--kl--2": f"finished, but its evaluators did not measure {METRIC}",
        "llada--qwen--calm--1": f"{METRIC} is nan",
    }
    found = effect_of(report, "kl", "llada", "qwen")
    assert found.seeds == ("0", "1", "3", "4")
    assert [(one.seed, one.cell) for one in found.lacking] == [("2", "llada--qwen--kl--2")]


def test_a_run_that_diverged_on_a_document_is_named_and_a_document_left_out_by_the_evaluator_is_counted() -> None:
    cells = results(AXES)
    listed = list(next(one for one in cells if one.cell == "llada--qwen--kl--2").per_example[METRIC])
    diverged = changed(cells, "llada--qwen--kl--2", per_example={METRIC: [float("inf"), *listed[1:]]})
    (missing,) = build_report(diverged, SMALL).metrics[0].missing
    assert missing.reason == f"{METRIC} is infinite for 1 of 60 documents"
    left_out = changed(cells, "llada--qwen--kl--2", per_example={METRIC: [float("nan"), *listed[1:]]})
    report = build_report(left_out, SMALL)
    found = effect_of(report, "kl", "llada", "qwen")
    assert (found.documents, found.left_out) == (59, 1)
    assert any("Up to 1 documents" in note for note in report.metrics[0].notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "alon"}, r"baseline 'alon': axis 'objective' has no such label.*did you mean 'alone'"),
        ({"objective_axis": "objektive"}, r"objective_axis 'objektive': the matrix has no such axis"),
        ({"metrics": ["score/bit"]}, r"metrics: no cell has the metric 'score/bit'.*score/bits"),
        ({"better": {METRIC: "smaller"}}, r"'score/bits' is 'smaller'; say lower or higher"),
    ],
)
def test_options_that_fit_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_report(results(AXES), ReportOptions(**options))  # type: ignore[arg-type]


def test_the_user_must_say_which_way_an_unknown_metric_is_better() -> None:
    cells = [replace(one, better={}) for one in results(AXES)]
    with pytest.raises(ConfigError, match=r"better: of no metric \(score/bits\) is known which way is better"):
        build_report(cells, SMALL)
    with pytest.raises(ConfigError, match=r"whether score/bits is better lower or higher is not known"):
        build_report(cells, replace(SMALL, metrics=[METRIC]))
    assert build_report(cells, replace(SMALL, better={METRIC: "lower"})).metrics[0].better == "lower"


def test_metrics_that_nobody_gave_a_direction_are_named() -> None:
    cells = [replace(one, metrics={**one.metrics, "score/examples": Estimate(value=60.0)}) for one in results(AXES)]
    assert build_report(cells, SMALL).undirected == ("score/examples",)


def test_a_baseline_that_cannot_be_told_must_be_said() -> None:
    cells = [replace(one, teacher_forwards=10) for one in results(AXES)]
    with pytest.raises(ConfigError, match=r"baseline: no objective is known to ask no teacher; say which label"):
        build_report(cells, SMALL)
    assert build_report(cells, replace(SMALL, baseline="alone")).baseline == "alone"


def test_a_matrix_without_a_finished_cell_is_one_clear_error() -> None:
    cells = [
        replace(one, status="failed", reason="its process was killed\nlog", metrics={}) for one in results(AXES)[:3]
    ]
    cells[0] = replace(cells[0], status="pending", reason="")
    with pytest.raises(ConfigError) as error:
        build_report(cells, SMALL)
    assert str(error.value) == (
        "no cell of the matrix is finished (2 failed, 1 pending); run it first; "
        "cell 'llada--qwen--alone--1': its process was killed"
    )
    with pytest.raises(ConfigError, match="the matrix has no cells"):
        build_report([], SMALL)
