"""Evaluators that let a student write, named in a run file or by ``--set``: their judge and sampler, and what is misspelt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tide_core.config import config_record, load_run, run_from_record
from tide_core.registry import Registry

SHORT = "limit: 2, max_new_tokens: 6, prefix_bytes: 16"


def test_samples_are_judged_by_a_model_that_an_option_holds(tide, trained: Path, autoregressive: Path) -> None:
    judge = f"judge: {{name: huggingface, model: {autoregressive}, form: autoregressive}}"
    found = {}
    for name, sampler in (("usual", ""), ("hot", ", sampler: {name: block, temperature: 9.0}")):
        given = f"evaluation=[{{name: generation, {SHORT}, {judge}{sampler}}}]"
        code, out, err = tide("evaluate", trained, "--set", given, "--json")
        assert code == 0, err
        found[name] = json.loads(out)["generation"]
    metrics = found["usual"]["metrics"]
    assert {"judge_bits_per_byte", "token_entropy", "distinct_1", "reference_token_entropy", "ended"} <= set(metrics)
    assert len(found["usual"]["per_example"]["token_entropy"]) == 2
    assert found["usual"]["tables"] != found["hot"]["tables"]


def test_the_runs_sampler_writes_where_the_evaluator_names_none(tide, trained: Path) -> None:
    def texts(*sampler: str) -> object:
        chosen = [word for given in sampler for word in ("--set", given)]
        code, out, err = tide(
            "evaluate", trained, "--set", f"evaluation=[{{name: generation, {SHORT}}}]", *chosen, "--json"
        )
        assert code == 0, err
        return [row["text"] for row in json.loads(out)["generation"]["tables"]["samples"]]

    assert texts() == texts("sampler={name: block}")
    assert texts("sampler={name: block, temperature: 9.0}") != texts()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{name: generation, judge: {name: hugingface}}", "did you mean 'huggingface'?"),
        ("{name: generation, judge: {name: huggingface, form: sideways}}", "form"),
        ("{name: generation, sampler: blok}", "did you mean 'block'?"),
        ("{name: code, path: none.jsonl}", "none.jsonl: cannot be read: No such file or directory"),
        ("{name: lm_eval, tasks: [tide_gsm8k], path: nowhere}", "gsm8k/test.jsonl: no such file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_loads(tide, trained: Path, given: str, message: str) -> None:
    code, out, err = tide("evaluate", trained, "--set", f"evaluation=[{given}]")
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_held_component_survives_the_record_of_a_run(trained: Path, tmp_path: Path) -> None:
    registry = Registry.discover()
    record = yaml.safe_load((trained.parent / "run.yaml").read_text())
    judge = {"name": "huggingface", "model": "./judge", "form": "autoregressive"}
    record["evaluation"] = [{"name": "generation", "judge": judge, "sampler": {"name": "block", "temperature": 0.5}}]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(record))
    config = load_run(tmp_path / "run.yaml", registry=registry).config
    held = config.evaluation[0].judge
    assert (held.kind, held.model, held.form) == ("architecture", "./judge", "autoregressive")
    assert run_from_record(json.loads(json.dumps(config_record(config))), registry=registry) == config
