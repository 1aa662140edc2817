"""No [batch, length, vocabulary] tensor exists anywhere in a step, student or teacher.

Every tensor that an operation returns is looked at, in forward and backward alike. Shapes: B rows, L tokens, V columns.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tide_core.distillation import Distillation
from tide_core.draws import SampleDraws
from tide_core.method import Lesson, Method, terms_of
from tide_core.micro_batch import MicroBatch
from tide_core.settings import Timesteps
from tide_plugins.architectures.huggingface import HuggingFace
from tide_plugins.attention.sdpa import Sdpa
from tide_plugins.corruptions.absorbing import Absorbing
from tide_plugins.interpolations.constant import Constant
from tide_plugins.losses.chunk_losses import ReverseCalm
from tide_plugins.losses.cross_entropy import CrossEntropy
from tide_plugins.losses.divergences import ForwardKL
from tide_plugins.losses.tidal import Tidal
from tide_plugins.schedules.linear import Linear
from tide_plugins.teacher_views.complementary import Complementary
from tide_plugins.teacher_views.plain import Plain
from tide_specs import Batch, Loss, Runtime, SharedColumns, Side, TeacherView

ROWS, LENGTH, PROMPT = 2, 128, 16
STUDENT_COLUMNS, TEACHER_COLUMNS, HIDDEN = 50_000, 52_000, 32
SLICE = 1 << 18
SIZES = {"hidden_size": HIDDEN, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made, and which; views of the models' weights are not made."""

    def __init__(self, module: Distillation) -> None:
        super().__init__()
        self.elements = 0
        self.made_by = ""
        weights = [*module.parameters(), *module.teachers[0].module.parameters()]
        self._weights = {weight.untyped_storage().data_ptr() for weight in weights}

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in self._weights:
                self._see(func, leaf)
        return out

    def _see(self, func: Any, made: torch.Tensor) -> None:
        # An expanded view occupies its storage, not its shape.
        size = min(made.numel(), made.untyped_storage().nbytes() // made.element_size())
        if size > self.elements:
            self.elements, self.made_by = size, f"{func} -> {tuple(made.shape)}"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("step_tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    return str(folder)


def distillation(
    folder: str, losses: list[Loss], view: TeacherView, *, tied: bool, columns: SharedColumns | None
) -> Distillation:
    student = HuggingFace(
        config={"model_type": "qwen3", "vocab_size": STUDENT_COLUMNS, "tie_word_embeddings": tied, **SIZES}
        | {"num_key_value_heads": 2, "head_dim": 8},
        tokenizer_from=folder,
        form="block_diffusion",
        block_size=32,
    )
    teacher = HuggingFace(
        config={"model_type": "llama", "vocab_size": TEACHER_COLUMNS, **SIZES},
        tokenizer_from=folder,
        form="bidirectional",
    )
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, attention=Sdpa())
    lesson = Lesson(teacher=teacher.load("teacher", runtime), view=view, interpolation=Constant(), columns=columns)
    method = Method(
        terms=terms_of(losses),
        schedule=Linear(),
        corruption=Absorbing(),
        interpolation=Constant(),
        timesteps=Timesteps(),
        lessons=[lesson],
    )
    return Distillation(student.load("student", runtime), method, slice_elements=SLICE)


def work_of(module: Distillation) -> MicroBatch:
    """Both sides hold the same tokens; most of the response is masked."""
    place = torch.arange(LENGTH)
    numbers = torch.arange(ROWS)[:, None] * (LENGTH - PROMPT) + place - PROMPT
    side = Side(
        ids=torch.randint(0, STUDENT_COLUMNS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0)),
        maskable=(place >= PROMPT).expand(ROWS, -1),
        lengths=torch.full((ROWS,), LENGTH),
        chunk=torch.where(place >= PROMPT, numbers, -1),
    )
    chunks = ROWS * (LENGTH - PROMPT)
    batch = Batch(
        student=side,
        teacher=side,
        chunk_bytes=torch.ones(chunks, dtype=torch.int64),
        chunk_relation=torch.zeros(chunks, dtype=torch.int64),
        samples=torch.arange(ROWS),
        positions=torch.arange(ROWS),
        effective_size=ROWS,
    )
    return module.noise([batch], MostlyMasked(seed=0, epoch=0, samples=batch.samples), 0.0)[1]


class MostlyMasked(SampleDraws):
    """Late times, so that nearly every position needs the head."""

    def uniform(self, purpose: str, length: int) -> torch.Tensor:
        drawn = super().uniform(purpose, length)
        return torch.full_like(drawn, 0.9) if purpose == "time" else drawn


def step(module: Distillation, work: MicroBatch) -> None:
    module(work, module.counts(work), 0.5)[0].backward()


MIXES: dict[str, tuple[list[Loss], TeacherView, SharedColumns | None]] = {
    "cross": ([CrossEntropy(), ReverseCalm()], Plain(), None),
    "shared": ([CrossEntropy(), Tidal(), ForwardKL()], Complementary(), SharedColumns(size=STUDENT_COLUMNS)),
}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("mix", MIXES)
def test_the_largest_tensor_is_a_slice_or_the_heads_gradient(tokenizer_folder: str, mix: str, tied: bool) -> None:
    losses, view, columns = MIXES[mix]
    module = distillation(tokenizer_folder, losses, view, tied=tied, columns=columns)
    work = work_of(module)
    assert work.counts["masked_tokens"] > 150, "the batch must need many more positions than one slice holds"
    with Largest(module) as largest:
        step(module, work)
    bound = max(SLICE + 2 * TEACHER_COLUMNS, TEACHER_COLUMNS * HIDDEN)
    assert largest.elements <= bound, largest.made_by
    assert bound < work.counts["masked_tokens"] * STUDENT_COLUMNS / 4
    assert all(p.grad is not None for p in module.parameters())


def test_without_a_head_gradient_only_slices_remain(tokenizer_folder: str) -> None:
    losses, view, columns = MIXES["cross"]
    module = distillation(tokenizer_folder, losses, view, tied=False, columns=columns)
    module.student.head().weight.requires_grad_(False)
    module.student.module.get_input_embeddings().weight.requires_grad_(False)
    work = work_of(module)
    with Largest(module) as largest:
        step(module, work)
    assert largest.elements <= SLICE + 2 * TEACHER_COLUMNS, largest.made_by


MEASURED = """
import ctypes, gc, sys, torch
from pathlib import Path
import test_peak_memory as here

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))

torch.set_num_threads(1)
losses, view, columns = here.MIXES["cross"]
module = here.distillation(sys.argv[1], losses, view, tied=True, columns=columns)
work = here.work_of(module)
here.step(module, work)  # libraries take their own memory on the first call
for parameter in module.parameters():
    parameter.grad = None
gc.collect()
ctypes.CDLL("libc.so.6").malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
here.step(module, work)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's high-water mark is Linux's own")
def test_peak_memory_of_a_step_stays_below_the_logits_alone(tokenizer_folder: str) -> None:
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, tokenizer_folder], cwd=here, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    peak, logits = int(run.stdout), ROWS * 2 * LENGTH * STUDENT_COLUMNS * 4
    assert peak < logits / 2, f"{peak / 2**20:.0f} MiB in a step whose full logits are {logits / 2**20:.0f} MiB"
