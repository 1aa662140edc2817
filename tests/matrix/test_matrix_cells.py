"""What a matrix file says its cells are: axes, labels, filters, identities, and where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tide_core.matrix.definition import load_matrix
from tide_core.matrix.plan import plan_matrix
from tide_core.problems import RunFileError
from tide_specs import ConfigError

SEEDS = "base: run.yaml\naxes:\n  training.seed: [0, 1]\n"


def ids(loaded):
    return [cell.id for cell in loaded.matrix.cells]


def test_cells_are_all_combinations_and_the_last_axis_runs_fastest(load):
    loaded = load(SEEDS + "  training.steps: [10, 20, 30]\n")
    runs = [(cell.config.training.seed, cell.config.training.steps) for cell in loaded.matrix.cells]
    assert runs == [(0, 10), (0, 20), (0, 30), (1, 10), (1, 20), (1, 30)]
    assert ids(loaded) == ["0--10", "0--20", "0--30", "1--10", "1--20", "1--30"]
    assert loaded.matrix.axes == {"training.seed": ("0", "1"), "training.steps": ("10", "20", "30")}
    assert {cell.config.output for cell in loaded.matrix.cells} == {str(cell.directory) for cell in loaded.matrix.cells}
    assert loaded.matrix.cells[0].directory.parent == Path("runs/matrix/cells")


def test_the_base_may_stand_in_the_matrix_file(load):
    inline = "base: {student: toy_model, data: toy_data, teacher: null, observers: []}\n"
    cells = load(inline + SEEDS.removeprefix("base: run.yaml\n")).matrix.cells
    assert [cell.config.student.name for cell in cells] == ["toy_model"] * 2


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ("[[cross_entropy], [cross_entropy, reverse_calm]]", ["cross_entropy", "cross_entropy+reverse_calm"]),
        ("{alone: [cross_entropy], taught: [reverse_calm]}", ["alone", "taught"]),
        ("[{label: alone, value: [cross_entropy]}, [reverse_calm]]", ["alone", "reverse_calm"]),
        (
            "[[{name: reverse_calm, weight: 1}], [{name: reverse_calm, weight: 2}]]",
            ["reverse_calm(weight=1)", "reverse_calm(weight=2)"],
        ),
    ],
)
def test_labels_are_given_or_made_from_what_tells_values_apart(load, values, labels):
    loaded = load(f"base: run.yaml\naxes:\n  losses: {values}\n")
    assert list(loaded.matrix.axes["losses"]) == labels


def test_whole_components_nothing_and_parts_of_components_can_be_axes(load):
    cells = load(
        "base: run.yaml\naxes:\n  teacher: [null, {name: toy_model, parameters: 5}]\n"
        "  losses: {ce: [cross_entropy]}\n  student.block_size: [16, 32]\n"
    ).matrix.cells
    assert [cell.labels["teacher"] for cell in cells] == ["none", "none", "toy_model", "toy_model"]
    assert [cell.config.student.block_size for cell in cells] == [16, 32, 16, 32]
    assert cells[0].config.teacher is None and cells[2].config.teacher.parameters == 5


def test_a_value_may_set_several_fields(load):
    cells = load(
        "base: run.yaml\naxes:\n  size:\n"
        "    small: {set: {student.parameters: 10, training.learning_rate: 1e-3}}\n"
        "    large: {set: {student.parameters: 20, training.learning_rate: 1e-4}}\n"
    ).matrix.cells
    assert [(c.id, c.config.student.parameters, c.config.training.learning_rate) for c in cells] == [
        ("small", 10, 1e-3),
        ("large", 20, 1e-4),
    ]


def test_derived_fields_put_the_labels_of_several_axes_together(load, tmp_path):
    """What depends on a pair of labels, such as the checkpoint to start from, needs no value for each pair."""
    (tmp_path / "small-0").mkdir()
    cells = load(
        "base: run.yaml\naxes:\n"
        "  size: {small: {set: {student: {name: toy_model, form: block_diffusion}}}, large: {set: {student: toy_model}}}\n"
        "  training.seed: [0, 1]\n"
        'derived: {student.model: "{size}-{training.seed}"}\n'
    ).matrix.cells
    assert [cell.config.student.model for cell in cells] == [str(tmp_path / "small-0"), "small-1", "large-0", "large-1"]
    assert [cell.config.student.form for cell in cells] == ["block_diffusion"] * 2 + ["bidirectional"] * 2


@pytest.mark.parametrize(
    ("derived", "message"),
    [
        ('{student.model: "{sizes}"}', "there is no axis 'sizes'"),
        ("{student.model: small}", "names no axis"),
        ('{student: "{training.seed}"}', "replaces 'student.parameters', which axis 'student.parameters' sets"),
        ('{studnet.model: "{training.seed}"}', "'studnet.model' is no field of a run"),
        ('{output: "{training.seed}"}', "a folder of its own"),
        ("{student.model: [1]}", "derived"),
    ],
)
def test_derived_fields_that_cannot_be_are_refused_at_their_line(load, derived, message):
    with pytest.raises(RunFileError) as caught:
        load(SEEDS + f"  student.parameters: [1, 2]\nderived:\n  {derived[1:-1]}\n")
    assert message in str(caught.value) and "matrix.yaml:6" in str(caught.value)


def test_paths_are_looked_up_beside_the_file_that_names_them(load, tmp_path, toys):
    load(SEEDS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").touch()
    (tmp_path / "base.txt").touch()
    (tmp_path / "run.yaml").write_text(
        (tmp_path / "run.yaml").read_text().replace("toy_data", "{name: toy_data, path: base.txt}")
    )
    (elsewhere / "m.yaml").write_text(
        "base: ../run.yaml\naxes:\n  data: [{name: toy_data, path: mine.txt}]\n  training.seed: [0]\n"
    )
    (elsewhere / "n.yaml").write_text("base: ../run.yaml\naxes: {data.path: [mine.txt, base.txt]}\n")
    paths = [
        [c.config.data.path for c in load_matrix(elsewhere / name, registry=toys).matrix.cells]
        for name in ("m.yaml", "n.yaml")
    ]
    assert paths == [[str(elsewhere / "mine.txt")], [str(elsewhere / "mine.txt"), "base.txt"]]
    assert [c.config.data.path for c in load(SEEDS).matrix.cells] == [str(tmp_path / "base.txt")] * 2


def test_paths_inside_several_teachers_are_looked_up_too(load, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    inline = "base: {student: toy_model, data: toy_data, observers: []}\naxes:\n"
    pair = "{teacher: {name: toy_model, model: one}, losses: [reverse_calm]}"
    cells = load(f"{inline}  teachers: [[{pair}]]\n  teachers[0].teacher.model: [one, two]\n").matrix.cells
    assert [cell.config.teachers[0].teacher.model for cell in cells] == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_filters_keep_and_leave_out_by_label(load):
    axes = SEEDS + "  training.steps: [10, 20, 30]\n"
    assert ids(load(axes + "exclude: [{training.seed: 0, training.steps: [10, 30]}]\n")) == [
        "0--20",
        "1--10",
        "1--20",
        "1--30",
    ]
    assert ids(load(axes + "include: [{training.steps: 20}, {training.seed: 1, training.steps: 30}]\n")) == [
        "0--20",
        "1--20",
        "1--30",
    ]
    both = "include: [{training.seed: 1}]\nexclude: [{training.steps: 10}]\n"
    assert ids(load(axes + both)) == ["1--20", "1--30"]


def test_cells_that_cannot_work_are_kept_with_their_reason(load):
    loaded = load(
        "base: run.yaml\naxes:\n  losses: {kl: [forward_kl], calm: [reverse_calm]}\n  alignment: [byte_chunks, shared_vocabulary]\n"
    )
    assert [(cell.id, cell.possible) for cell in loaded.matrix.cells] == [
        ("kl--byte_chunks", False),
        ("kl--shared_vocabulary", True),
        ("calm--byte_chunks", True),
        ("calm--shared_vocabulary", True),
    ]
    (problem,) = loaded.matrix.cells[0].problems
    assert problem.where == "matrix.yaml:3"
    assert loaded.matrix.cells[0].reason.startswith("losses[0]: 'forward_kl' compares distributions token by token")


def test_the_same_run_twice_is_an_error_that_names_both(load):
    with pytest.raises(
        RunFileError, match=r"matrix.yaml:3: axes.losses: cells 'a' and 'b' are the same run: what axis 'losses' sets"
    ):
        load("base: run.yaml\naxes:\n  losses: {a: [cross_entropy], b: [{name: cross_entropy, weight: 1.0}]}\n")
    with pytest.raises(RunFileError, match="makes no difference"):
        load("base: run.yaml\naxes: {training.log_every: [1, 2]}\n")


def test_an_identity_follows_what_is_computed_and_nothing_else(load, tmp_path, toys):
    first = [cell.identity for cell in load(SEEDS).matrix.cells]
    assert len(set(first)) == 2
    run = tmp_path / "run.yaml"
    text = run.read_text()
    run.write_text(
        text.replace("observers: []", "observers: [progress]\noutput: elsewhere").replace(
            "steps: 100", "steps: 100, workers: 0"
        )
    )
    (tmp_path / "matrix.yaml").write_text(SEEDS + "workers: 3\noutput: elsewhere\n")
    assert [cell.identity for cell in load_matrix(tmp_path / "matrix.yaml", registry=toys).matrix.cells] == first
    run.write_text(text.replace("steps: 100", "steps: 101"))
    assert not set(first) & {
        cell.identity for cell in load_matrix(tmp_path / "matrix.yaml", registry=toys).matrix.cells
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: run.yaml\n", "matrix.yaml: axes: is required"),
        ("base: run.yaml\naxes: {}\n", "matrix.yaml:2: axes: needs at least 1 item, but has 0"),
        ("axes: {training.seed: [0]}\n", "matrix.yaml: base: is required"),
        ("base: walk.yaml\naxes: {training.seed: [0]}\n", "matrix.yaml:1: base: there is no run file 'walk.yaml'"),
        (
            SEEDS + "worker: 2\n",
            "matrix.yaml:4: worker: unknown section 'worker'; did you mean 'workers'?\n    sections of a matrix: base",
        ),
        (SEEDS + "workers: none\n", "matrix.yaml:4: workers: must be a valid integer"),
        (SEEDS + "launcher: locl\n", "matrix.yaml:4: launcher: no launcher is called 'locl'; did you mean 'local'?"),
        (
            "base: run.yaml\naxes:\n  trainng.seed: [0]\n",
            "matrix.yaml:3: axes.trainng.seed: 'trainng.seed' is no field of a run; did you mean 'training'?",
        ),
        (
            "base: run.yaml\naxes:\n  training.sed: [0]\n",
            "matrix.yaml:3: training.sed: unknown option 'sed'; did you mean 'seed'?",
        ),
        (
            "base: run.yaml\naxes:\n  training.seed:\n    - 0\n    - many\n",
            "matrix.yaml:5: training.seed: must be a valid integer",
        ),
        (
            "base: run.yaml\naxes:\n  student.form:\n    - bidirectional\n    - sideways\n",
            "matrix.yaml:5: student.form: must be 'bidirectional'",
        ),
        ("base: run.yaml\naxes:\n  losses[5].weight: [1]\n", "matrix.yaml:3: there is no [5]; the list has 2 items"),
        (
            "base: run.yaml\naxes:\n  student: {name: toy_model}\n",
            "matrix.yaml:3: axes.student: is one component; write a list of values",
        ),
        ("base: run.yaml\naxes:\n  student: []\n", "matrix.yaml:3: axes.student: has no values"),
        ("base: run.yaml\naxes:\n  output: [a, b]\n", "each cell has a folder of its own"),
        (
            "base: run.yaml\naxes:\n  training.seed: [{label: a, value: 0}, {label: a, value: 1}]\n",
            "two values are called 'a'",
        ),
        (
            "base: run.yaml\naxes:\n  losses[0].weight: [1, 2]\n  losses: {ce: [cross_entropy]}\n",
            "axes.losses.ce: replaces 'losses[0].weight', which axis 'losses[0].weight' sets; write axis 'losses' before",
        ),
        (
            SEEDS + "exclude: [{training.sed: 0}]\n",
            "matrix.yaml:4: exclude[0].training.sed: there is no axis 'training.sed'; did you mean 'training.seed'?",
        ),
        (
            SEEDS + "exclude:\n  - {training.seed: [0, 7]}\n",
            "matrix.yaml:5: exclude[0].training.seed: axis 'training.seed' has no value '7'\n    there are: 0, 1",
        ),
        (SEEDS + "exclude: [{training.seed: [0, 1]}]\n", "matrix.yaml:4: exclude: leaves none of the 2 cells"),
        (SEEDS + "include: [{}]\n", "matrix.yaml:4: include[0]: is empty"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(load, text, message):
    with pytest.raises(ConfigError) as raised:
        load(text)
    assert message in str(raised.value)


def test_an_error_of_the_base_is_named_once_and_where_it_stands(load, tmp_path, toys):
    load(SEEDS)
    run = tmp_path / "run.yaml"
    run.write_text(run.read_text().replace("accumulate: 3", "accumulate: 0"))
    with pytest.raises(RunFileError) as raised:
        load_matrix("matrix.yaml", registry=toys)
    assert str(raised.value).splitlines()[0].startswith("run.yaml:5: training.accumulate: must be greater than 0")
    assert len(raised.value.problems) == 1


def test_the_plan_counts_cells_and_passes_and_groups_what_is_impossible(tide, load):
    load(
        "base: run.yaml\naxes:\n  losses: {ce: [cross_entropy], kl: [forward_kl], calm: [reverse_calm]}\n  training.seed: [0, 1]\n"
        "workers: 2\nflops_per_second: 1e9\n"
    )
    code, out, _ = tide("matrix", "plan", "matrix.yaml")
    assert code == 0
    assert "6: 0 finished, 4 to run, 2 impossible" in out
    assert "impossible: kl--0, kl--1: losses[0]: 'forward_kl' compares distributions token by token" in out
    rows = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert rows["teacher forwards"].strip() == "600"  # 2 cells of 100 steps of 3 micro-batches, one pass each
    assert rows["student forwards"].strip() == "1,200"
    assert "on 2 workers (at flops_per_second: 1e+09)" in rows["hours"]
    assert not Path("runs").exists()


def test_each_model_is_asked_for_its_sizes_once(load, toys, monkeypatch):
    model, asked = toys.find("architecture", "toy_model"), []
    own = model.plan
    monkeypatch.setattr(model, "plan", lambda self: asked.append(self.parameters) or own(self))
    plan_matrix(load(SEEDS + "  student.parameters: [10, 20]\n"), toys)
    assert sorted(asked) == [10, 20, 4_000_000]


def test_without_a_speed_the_hours_are_unknown(tide, load):
    load(SEEDS)
    assert (
        "unknown on 1 worker (no cell is finished, and the file gives no flops_per_second)"
        in tide("matrix", "plan", "matrix.yaml")[1]
    )


def test_a_launcher_that_is_not_installed_is_one_line_that_names_its_extra(tide, load, monkeypatch):
    monkeypatch.setattr("tide_core.registry._importable", lambda name: name not in ("ray", "submitit"))
    for launcher, module in (("ray", "ray"), ("slurm", "submitit")):
        load(SEEDS + f"launcher: {launcher}\n")
        code, _, err = tide("matrix", "matrix.yaml")
        assert code == 2
        assert err == f"matrix.yaml: launcher '{launcher}' needs {module}; pip install 'tide-distill[{launcher}]'\n"


def test_a_matrix_of_impossible_cells_is_refused(tide, load):
    load("base: run.yaml\naxes:\n  losses: {kl: [forward_kl]}\n")
    code, out, err = tide("matrix", "matrix.yaml")
    assert (code, err) == (2, "matrix.yaml: every cell is impossible; the plan says why\n")
    assert "impossible: kl" in out
