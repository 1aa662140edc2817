"""Makes the runs that are compared, and copies of them whose logs say something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from run_files import run_record, teacher

from tide_core.config import load_run
from tide_core.registry import Registry
from tide_core.run import run

Event = dict[str, Any]
BITS = {"name": "bits_per_byte", "forwards": 2}
DIVERGENCE = {"name": "teacher_divergence", "ratios": [0.5]}
HELD_OUT = 6
JUDGE = (
    "{name: huggingface, form: autoregressive, tokenizer_from: TOKENIZER, config: {model_type: llama, hidden_size: 16, "
    "intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1}}"
).replace("TOKENIZER", teacher()["tokenizer_from"])


def make_runs(folder: Path, registry: Registry) -> None:
    for name, numbers in (("train", range(12)), ("held_out", range(100, 100 + HELD_OUT))):
        lines = [{"text": f"def f{n}(x):\n" + f"    x = x + {n}\n" * (5 + n % 3)} for n in numbers]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plain = {"teacher": None, "losses": ["cross_entropy"], "evaluation": [BITS]}
    _run(folder, "plain", registry, **plain, training={"steps": 4, "checkpoint_every": 2})
    _run(
        folder, "tide", registry, evaluation=[BITS, DIVERGENCE], training={"steps": 2, "accumulate": 2, "batch_size": 2}
    )
    _run(
        folder,
        "sdtt",
        registry,
        student=teacher(),
        alignment="shared_vocabulary",
        losses=[{"name": "reverse_kl", "temperature": 1.0}],
        teacher_view={"name": "sampler_steps", "sampler_steps": 8},
        recipe={"name": "rounds", "rounds": 2},
        evaluation=[BITS, DIVERGENCE],
        training={"steps": 2},
    )


def _run(folder: Path, name: str, registry: Registry, **sections: Any) -> None:
    data = {
        "name": "jsonl",
        "path": str(folder / "train.jsonl"),
        "evaluation_path": str(folder / "held_out.jsonl"),
        "max_length": 48,
        "chat": False,
    }
    record = run_record(folder, data=data, output=str(folder / name), **sections)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    loaded = load_run(folder / f"{name}.yaml", registry=registry)
    assert run(loaded.config, registry, source=loaded.source).status == "finished"


def events(run: Path) -> list[Event]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def copied(run: Path, to: Path, change: Callable[[list[Event]], list[Event]]) -> str:
    """Copy a run and change its log; returns the copy's path."""
    shutil.copytree(run, to)
    (to / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in change(events(run))))
    return str(to)


def per_example(run: Path, evaluator: str, metric: str) -> list[float]:
    """What the log says of each held-out document."""
    (found,) = [e for e in events(run) if e["event"] == "evaluation_finished" and e["evaluator"] == evaluator]
    return found["evaluation"]["per_example"][metric]


def cells(record: dict[str, Any], quantity: str) -> dict[str, Any]:
    """The cells of a line of ``--json``."""
    (line,) = [line for line in record["lines"] if line["quantity"] == quantity]
    return line["cells"]


def equalities(record: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    yield from ((one["what"], one["equal"]) for one in record["held_equal"])
