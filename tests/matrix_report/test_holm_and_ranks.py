from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matrix_results import AXES, METRIC, results

from tide_core.matrix_report.holm import holm
from tide_core.matrix_report.options import ReportOptions
from tide_core.matrix_report.ranking import average_ranks, concordance, tau
from tide_core.matrix_report.report import build_report


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 = 0.04, raised to what came before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_ranks_by_hand_with_ties() -> None:
    assert average_ranks(np.array([3.0, 1.0, 2.0])).tolist() == [3, 1, 2]
    assert average_ranks(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])).tolist() == [[2.5, 2.5, 1], [2, 2, 2]]


def test_concordance_by_hand() -> None:
    # Sums of ranks 4, 6, 8, 12: squares about 7.5 are 35; 12 x 35 / (9 x 60) = 7 / 9.
    ranks = np.array([[1.0, 2, 3, 4], [2, 1, 3, 4], [1, 3, 2, 4]])
    assert concordance(ranks) == pytest.approx(12 * 35 / (9 * 60))
    assert concordance(np.array([[1.0, 2, 3]] * 4)) == 1
    assert concordance(np.array([[1.0, 2, 3], [3, 2, 1]])) == 0
    # A tie in each: 12 x 6 / (4 x 24 - 2 x 6 - 2 x 6) = 1, for they agree.
    assert concordance(np.array([[1.5, 1.5, 3]] * 2)) == pytest.approx(1)


def test_tau_by_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, two = rng.integers(0, 4, 6).astype(float), rng.integers(0, 4, 6).astype(float)
        agree = untied_one = untied_two = 0
        for i, j in combinations(range(6), 2):
            agree += np.sign(one[i] - one[j]) * np.sign(two[i] - two[j])
            untied_one += one[i] != one[j]
            untied_two += two[i] != two[j]
        assert tau(one, two) == pytest.approx(agree / (untied_one * untied_two) ** 0.5)


def test_objectives_that_keep_their_order_agree_fully_and_surely() -> None:
    shifts = {"alone": 0.0, "kl": -1.0, "calm": -0.5}
    found = build_report(results(AXES, lambda place: shifts[place["objective"]]), ReportOptions()).metrics[0].ranking
    assert found.objectives == ("alone", "kl", "calm")
    assert found.ranks is not None and found.ranks.tolist() == [[3] * 4, [1] * 4, [2] * 4]
    assert found.w == 1
    assert {(one.tau, one.span) for one in found.agreements} == {(1.0, (1.0, 1.0))}
    assert [one.pairs for one in found.agreements] == [6, 2, 2]


def test_objectives_whose_order_turns_with_the_student_are_told_apart_from_those_of_the_teacher() -> None:
    def effect(place: dict[str, str]) -> float:
        turn = 1 if place["student"] == "qwen" else -1
        return turn * {"alone": 0.0, "kl": -1.0, "calm": -0.5}[place["objective"]]

    found = build_report(results(AXES, effect), ReportOptions()).metrics[0].ranking
    by_name = {one.name: one.tau for one in found.agreements}
    assert by_name["settings that differ in teacher only"] == 1
    assert by_name["settings that differ in student only"] == -1
    assert found.w == 0


def test_higher_is_better_turns_the_ranks_around() -> None:
    shifts = {"alone": 0.0, "kl": -1.0, "calm": -0.5}
    cells = results(AXES, lambda place: shifts[place["objective"]])
    found = build_report(cells, ReportOptions(better={METRIC: "higher"})).metrics[0].ranking
    assert found.ranks is not None and found.ranks[:, 0].tolist() == [1, 3, 2]


def test_a_setting_without_one_of_the_objectives_is_named_not_ranked() -> None:
    cells = [one for one in results(AXES) if not one.cell.startswith("dream--gemma--calm")]
    found = build_report(cells, ReportOptions()).metrics[0].ranking
    assert len(found.settings) == 3 and len(found.objectives) == 3
    assert found.left_out == {(("teacher", "dream"), ("student", "gemma")): "no number for calm"}


def test_an_objective_that_one_family_cannot_have_does_not_cost_that_family_its_ranks() -> None:
    cells = [one for one in results(AXES) if not ("calm" in one.cell and "gemma" in one.cell)]
    found = build_report(cells, ReportOptions()).metrics[0].ranking
    assert (found.objectives, len(found.settings)) == (("alone", "kl"), 4)
    assert found.dropped == {"calm": "no number in 2 of 4 settings"}
    assert found.left_out == {}


def test_without_baselines_nothing_is_ranked() -> None:
    cells = [one for one in results(AXES) if "calm" not in one.cell and "alone" not in one.cell]
    stranger = [replace(one, labels={**one.labels, "student": "other"}) for one in results(AXES) if "alone" in one.cell]
    found = build_report([*cells, *stranger[:5]], ReportOptions()).metrics[0].ranking
    assert found.ranks is None and "fewer than two objectives" in found.reason
