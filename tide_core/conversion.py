"""A pretrained model becomes a diffusion student: the same weights, a mask token, and a record of how it denoises.

The architecture does the work: it loads the checkpoint in the wanted form and saves it again. What is new is only beside the
weights: the recipe of the training that the student still needs, and its model card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from tide_specs import Architecture, CheckpointError, ConfigError, Denoiser, Form, Runtime

from .assembly import describer
from .blame import blame
from .inspection import Groups, inspect_model
from .registry import Registry
from .yaml_source import parse_value

RECIPE = "train.yaml"
LENGTH = 512
"""Tokens of a row in the recipe, rounded up to whole blocks."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is wanted: ``form`` and, for blocks, ``block_size``; the rest has defaults that depend on the checkpoint."""

    form: Form
    block_size: int | None = None
    shift: str | None = None
    mask_token: str | None = None
    dtype: str | None = None
    data: str | None = None

    def options(self, source: Architecture, found: Groups) -> dict[str, Any]:
        """Return the options that turn the component ``source`` of a checkpoint into the one of its student."""
        shift = self.shift or found.get("denoising", {}).get("shift")
        wanted = {"form": self.form, "block_size": self.block_size, "shift": shift, "mask_token": self.mask_token}
        missing = [n for n in ("form", "block_size") if wanted[n] is not None and n not in type(source).model_fields]
        if missing:
            raise ConfigError(
                f"architecture '{source.name}' has no option `{missing[0]}`, so it cannot make a {self.form} student"
            )
        return {
            name: value for name, value in wanted.items() if value is not None and name in type(source).model_fields
        }


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Where the student lies, how it came about, and what it is."""

    directory: Path
    recipe: Path
    dtype: str
    facts: Mapping[str, Any]
    mask_token: str | None


def convert(
    source: Architecture, wanted: Conversion, output: Path, registry: Registry, *, trust_remote_code: bool = False
) -> Converted:
    """Write the student's directory. Raises ``ConfigError`` for what cannot be wanted, ``CheckpointError`` for a broken source."""
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise ConfigError(f"{output}: exists and is not empty; choose another --output, or delete it")
    data = _data(wanted)
    # The source's own form is no student's; files are checked, and its shift is learnt, before weights load.
    found = inspect_model(source, trust_remote_code=trust_remote_code)
    given = {**source.model_dump(exclude_unset=True), "name": source.name}
    student: Architecture = registry.build("architecture", {**given, **wanted.options(source, found)})
    if reason := student.serves("student"):
        raise ConfigError(f"architecture '{student.name}' cannot be a student: {reason}")
    dtype = wanted.dtype or str(found.get("weights", {}).get("dtype") or "bfloat16")
    denoiser = _load(student, dtype, registry, trust_remote_code)
    denoiser.save(str(output))
    recipe = output / RECIPE
    recipe.write_text(recipe_text(student, data, wanted.block_size), encoding="utf-8")
    mask = denoiser.tokenizer.describe().get("mask")
    made = Converted(directory=output, recipe=recipe, dtype=dtype, facts=denoiser.facts(), mask_token=mask)
    (output / "README.md").write_text(_card(made, getattr(source, "model", None), wanted), encoding="utf-8")
    return made


def _load(student: Architecture, dtype: str, registry: Registry, trust_remote_code: bool) -> Denoiser:
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise CheckpointError(f"weights of dtype {dtype} cannot be converted; choose one with --dtype bfloat16")
    runtime = Runtime(
        device=torch.device("cpu"),
        dtype=kind,
        attention=registry.build("attention", "eager"),
        trust_remote_code=trust_remote_code,
    )
    # Loaded like a teacher, since a student's weights would become float32 masters.
    with blame(student, "while the model was loaded", describer(registry)):
        return student.load("teacher", runtime)


def _data(wanted: Conversion) -> dict[str, Any]:
    """Return the dataset of the recipe: a mapping as YAML, or the path of a JSON Lines file."""
    text = wanted.data or "train.jsonl"
    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--data {text}: is not valid YAML: {getattr(error, 'problem', error)}") from None
    data = dict(value) if isinstance(value, Mapping) else {"name": "jsonl", "path": text}
    block = wanted.block_size or 1
    return {**data, "max_length": data.get("max_length", -(-LENGTH // block) * block)}


def recipe_text(student: Architecture, data: Mapping[str, Any], block_size: int | None) -> str:
    """Return the run file of the training that follows a conversion: cross-entropy on masked tokens, without a teacher."""
    per = "block" if block_size is not None else "sequence"
    rows, steps = 32, 5000
    tokens = rows * steps * int(data["max_length"]) / 1e6
    return f"""\
# Continued training of this student: cross-entropy on masked tokens, without a teacher. The checkpoint that it was made from
# never filled in masked tokens; this run teaches it to.
#
#   tide validate {RECIPE}
#   tide plan {RECIPE}
#   tide run {RECIPE}
student:
  name: {student.name}
  model: .  # beside this file
data: {_flow(data)}
losses: [cross_entropy]
timesteps:
  sampling: stratified  # less noise in the gradient than independent times
  per: {per}
training:
  steps: {steps}  # {tokens:.0f} million tokens at most; fluent students have seen more: watch bits_per_byte
  batch_size: 4
  accumulate: {rows // 4}  # rows of an optimizer step: batch_size x accumulate x processes
  learning_rate: 5.0e-5  # of continued training: the weights are good already
  warmup_steps: 200
  decay: cosine
  weight_decay: 0.01
  precision: bf16  # float32 on a device without bfloat16
  gradient_checkpointing: true  # a third more arithmetic for much less memory
  checkpoint_every: 500
evaluation:
  - {{name: bits_per_byte, every: 500, limit: 64}}
observers: [progress]
"""


def _flow(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(data), default_flow_style=True, sort_keys=False, width=1000).strip()


def _card(made: Converted, source: str | None, wanted: Conversion) -> str:
    blocks = f", blocks of {wanted.block_size} tokens" if wanted.block_size else ""
    return f"""\
---
library_name: transformers
tags: [diffusion, tide]
---

# A diffusion language model to be trained

Made by `tide convert` from `{source}`: its weights ({made.dtype}) as a {wanted.form} denoiser{blocks}, mask token
`{made.mask_token}`, shift `{made.facts.get("shift", "none")}`. Parameters: {made.facts.get("parameters", 0):,}.

It has not been trained to denoise yet. `{RECIPE}` is a run that does so:

```bash
tide run {RECIPE}
```

In a run file: `{{name: huggingface, model: <this directory>}}`. The licence of `{source}` applies to the weights.
"""
