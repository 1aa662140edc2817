"""The teacher of a report: which model it is, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tide_specs import Alignment, Architecture, AttentionBackend, ConfigError, Denoiser, Runtime, TideError

from ..assembly import describer, refuse_unavailable
from ..blame import blame
from ..devices import device_named
from ..inspection import model_architecture
from ..registry import Registry
from .figures import vocabularies
from .sides import Side, architecture_mapping
from .starts import UNDERSHOOT, StartFigures
from .tables import Progress, Tables
from .teacher_figures import FLOOR, VANISHING
from .teacher_pass import ChunkAnswers, ask, reading_of
from .texts import Texts

PROJECTION = "vocabulary_projection"
"""What is reported on where the alignment of the report projects nothing itself."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model that reads the texts, and how. masking: share of chunks hidden from one that denoises; seed: of the draw."""

    source: str
    architecture: Architecture
    attention: AttentionBackend
    device: str = "auto"
    masking: float = 0.5
    seed: int = 0
    trust_remote_code: bool = False

    def load(self, registry: Registry) -> Denoiser:
        """Load it in float32. Raises the errors of ``tide_specs.errors``."""
        device = device_named(self.device, "--device")
        refuse_unavailable(self.attention, device, torch.float32)
        describe = describer(registry)
        with blame(self.architecture, "while its files were checked", describe):
            self.architecture.check(trust_remote_code=self.trust_remote_code)
        runtime = Runtime(
            device=device,
            dtype=torch.float32,
            attention=self.attention,
            trust_remote_code=self.trust_remote_code,
            seed=self.seed,
        )
        with blame(self.architecture, "while the teacher was loaded", describe):
            denoiser = self.architecture.load("teacher", runtime)
        denoiser.module.requires_grad_(False).eval()
        return denoiser


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the teacher said, and how it was asked as plain data."""

    answers: ChunkAnswers
    how: dict[str, Any]


def named_teacher(source: str, registry: Registry) -> Architecture:
    """Return the architecture of the model that ``--teacher`` names: a checkpoint, or an architecture as YAML.

    Raises ``ConfigError`` where nothing says how it denoises, ``CheckpointError`` where there is nothing.
    """
    mapping = source.lstrip().startswith("{")
    try:
        if mapping:
            found: Architecture = registry.build("architecture", architecture_mapping(source))
        else:
            found = model_architecture(source, registry)
        form, reason = found.denoiser_form, found.serves("teacher")
    except TideError as error:
        unknown = "`form` is missing" in str(error) and not mapping
        remedy = f"; e.g. --teacher '{{name: huggingface, model: {source}, form: autoregressive}}'" if unknown else ""
        error.args = (f"--teacher {source}: {error}{remedy}",)
        raise
    if reason is not None:
        raise ConfigError(
            f"--teacher {source}: architecture '{found.name}' of form '{form}' cannot be a teacher: {reason}"
        )
    return found


def answer(
    teacher: Teacher,
    sides: tuple[Side, Side],
    chosen: Alignment,
    texts: Texts,
    tables: Tables,
    registry: Registry,
    progress: Progress | None = None,
) -> Answered:
    """Load the teacher and let it read the texts once. sides: student and teacher."""
    student, own = (side.tokenizer for side in sides)
    projection = chosen if "projected" in chosen.yields else registry.build("alignment", PROJECTION)
    _, vocabulary = vocabularies(student.token_bytes(), own.token_bytes())
    with blame(projection, "while vocabularies were compared", describer(registry)):
        figures = StartFigures.of(projection, student, own, torch.from_numpy(vocabulary.shared))
    denoiser = teacher.load(registry)
    reading = reading_of(denoiser, len(tables.chunks.bytes), teacher.masking, teacher.seed)
    answers = ask(denoiser, texts.documents, own, tables, reading, figures, progress)
    options = projection.model_dump(mode="json", exclude={UNDERSHOOT})
    how = {
        "model": teacher.source,
        "form": denoiser.form,
        "masking": None if reading.hidden is None else teacher.masking,
        "seed": None if reading.hidden is None else teacher.seed,
        "length": reading.length,
        "projection": options,
        "floor": FLOOR,
        "vanishing": VANISHING,
    }
    return Answered(answers=answers, how=how)
