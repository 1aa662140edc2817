"""Tiny but real runs: real tokenizers, real model classes, real data, seconds on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).parents[2] / "examples" / "demo"

SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}


def student(**options: Any) -> dict[str, Any]:
    config = {"model_type": "qwen3", "hidden_size": 32, "intermediate_size": 48, "head_dim": 16, **SIZES}
    base = {"name": "huggingface", "config": config, "tokenizer_from": str(DEMO / "student-tokenizer")}
    return {**base, "form": "block_diffusion", "block_size": 8, **options}


def teacher(**options: Any) -> dict[str, Any]:
    config = {"model_type": "llama", "hidden_size": 48, "intermediate_size": 64, **SIZES}
    base = {"name": "huggingface", "config": config, "tokenizer_from": str(DEMO / "teacher-tokenizer")}
    return {**base, "form": "bidirectional", **options}


def run_record(directory: Path, **sections: Any) -> dict[str, Any]:
    """A complete run file as plain data; ``sections`` replace its parts, ``training`` is merged."""
    training = {"steps": 6, "batch_size": 4, "learning_rate": 1e-2, "log_every": 1, "workers": 0, "device": "cpu"}
    record = {
        "student": student(),
        "teacher": teacher(),
        "losses": ["cross_entropy", {"name": "reverse_calm", "weight": 0.5}],
        "data": {"name": "python_stdlib", "max_length": 64, "max_examples": 24},
        "observers": [],
        "output": str(directory / "out"),
    }
    record.update({key: value for key, value in sections.items() if key != "training"})
    record["training"] = {**training, **sections.get("training", {})}
    return record


def write_run(directory: Path, **sections: Any) -> Path:
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(run_record(directory, **sections), sort_keys=False))
    return path


def tide(*arguments: str, launcher: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; ``launcher`` goes before it, for several processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *launcher, "-m", "tide_core.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, **options)


def events(directory: Path, kind: str) -> list[dict[str, Any]]:
    lines = (directory / "out" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def losses(directory: Path) -> dict[int, dict[str, float]]:
    """Step -> loss terms, the newest where a step was logged twice."""
    logged: dict[int, dict[str, float]] = {}
    for event in events(directory, "metrics_logged"):
        logged[event["step"]] = {k: v for k, v in event["metrics"].items() if k.startswith(("loss", "gradient_norm"))}
    return logged
