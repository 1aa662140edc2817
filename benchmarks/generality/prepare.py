"""What the cells of ``generality.yaml`` start from: a tokenizer, teachers and students, each made once in ``runs/generality``."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tide_plugins.datasets.python_stdlib import PythonStandardLibrary

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEMO = ROOT / "examples" / "demo"
WORK = ROOT / "runs" / "generality"

SPECIAL = ["<|endoftext|>", "<|mask|>", "<unk>"]
VOCABULARY = 2048
LENGTH = 144

TOKENIZERS = {
    "bpe": DEMO / "teacher-tokenizer",
    "unigram": DEMO / "student-tokenizer",
    "wordpiece": WORK / "wordpiece",
}
STUDENTS = ("qwen3", "modernbert", "dit")


def texts() -> Iterator[str]:
    """Yield the training split's functions, whole."""
    for example in PythonStandardLibrary().examples("train"):
        yield "".join(message.content for message in example.messages)


def wordpiece() -> None:
    """Train WordPiece over bytes: the longest piece first, within words, runs of white space and single marks."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[2], max_input_chars_per_word=10_000))
    tokenizer.model.continuing_subword_prefix = ""  # the bytes of a piece are then the same wherever it stands
    apart = pre_tokenizers.Split(Regex(r"\w+|\s+|[^\w\s]"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [apart, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        continuing_subword_prefix="",
    )
    tokenizer.train_from_iterator(texts(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[0],
        mask_token=SPECIAL[1],
        unk_token=SPECIAL[2],
    )
    fast.save_pretrained(TOKENIZERS["wordpiece"])


def experts() -> None:
    """Make a mixture of experts out of the demo's dense teacher (sparse upcycling, Komatsuzaki et al. 2022).

    Each of four experts gets half of the neurons of the dense layer, each neuron two experts. Two experts answer, and their
    weights sum to one, so that twice each expert's output stands for the whole layer at first.
    """
    dense = LlamaForCausalLM.from_pretrained(DEMO / "teacher", dtype=torch.float32)
    given = dense.config
    count, half = 4, given.intermediate_size // 2
    torch.manual_seed(0)
    mixture = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=given.vocab_size,
            hidden_size=given.hidden_size,
            intermediate_size=half,
            num_hidden_layers=given.num_hidden_layers,
            num_attention_heads=given.num_attention_heads,
            num_key_value_heads=given.num_key_value_heads,
            max_position_embeddings=given.max_position_embeddings,
            rms_norm_eps=given.rms_norm_eps,
            rope_parameters=given.rope_parameters,
            num_local_experts=count,
            num_experts_per_tok=2,
            sliding_window=None,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=given.eos_token_id,
        )
    )
    mixture.load_state_dict(dense.state_dict(), strict=False)
    with torch.no_grad():
        for old, new in zip(dense.model.layers, mixture.model.layers, strict=True):
            for expert in range(count):
                kept = (torch.arange(half) + expert * half // 2) % given.intermediate_size
                gate, up = old.mlp.gate_proj.weight[kept], old.mlp.up_proj.weight[kept]
                new.mlp.experts.gate_up_proj[expert] = torch.cat([gate, up])
                new.mlp.experts.down_proj[expert] = 2 * old.mlp.down_proj.weight[:, kept]
    _save(mixture, WORK / "experts")


def autoregressive_teacher(steps: int = 700, batch: int = 16) -> None:
    """Train a Qwen2 to predict the next token, through transformers alone; TIDE trains diffusion models only."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZERS["bpe"])
    rows = [
        torch.tensor([*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id][:LENGTH])
        for text in texts()
    ]
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    order = itertools.chain.from_iterable(torch.randperm(len(rows)).tolist() for _ in itertools.count())
    for step in range(steps):
        chosen = [rows[next(order)] for _ in range(batch)]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=tokenizer.pad_token_id)
        seen = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in chosen], batch_first=True)
        loss = model(input_ids=ids, attention_mask=seen, labels=ids.masked_fill(seen == 0, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        if step % 100 == 0:
            print(f"autoregressive teacher: step {step}, {loss.item():.3f} nats a token", flush=True)
    _save(model, WORK / "autoregressive_teacher" / "student")


def _save(model: torch.nn.Module, folder: Path) -> None:
    model.save_pretrained(folder)  # type: ignore[operator]
    PreTrainedTokenizerFast.from_pretrained(TOKENIZERS["bpe"]).save_pretrained(folder)


def tide(*arguments: str) -> None:
    """Run a command of ``tide`` on one core; raises ``CalledProcessError``, whose output is shown, when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "tide_core.cli.main", *arguments], env=environment, cwd=ROOT, check=True)


def trained(file: str, folder: str, *settings: str) -> None:
    """Train by a run file of this folder; a run that was stopped begins anew."""
    shutil.rmtree(WORK / folder, ignore_errors=True)
    given = [part for setting in (f"output={WORK / folder}", *settings) for part in ("--set", setting)]
    tide("run", str(HERE / file), *given)


def student(family: str, tokenizer: str) -> None:
    """Teach a student its tokenizer's language without a teacher."""
    reads = f"student.tokenizer_from={TOKENIZERS[tokenizer]}"
    trained(f"student_{family}.yaml", f"students/{family}-{tokenizer}", reads)


def jobs() -> Sequence[Sequence[tuple[Path, Callable[[], None]]]]:
    """What is made, in three turns: path that shows it is there, and how to make it. The jobs of a turn are independent."""
    done = "student"
    first = [(TOKENIZERS["wordpiece"], wordpiece), (WORK / "experts", experts)]
    second = [
        (WORK / "causal_teacher" / done, lambda: trained("causal_teacher.yaml", "causal_teacher")),
        (WORK / "block_moe_teacher" / done, lambda: trained("block_moe_teacher.yaml", "block_moe_teacher")),
        (WORK / "autoregressive_teacher" / done, autoregressive_teacher),
    ]
    third = [
        (WORK / "students" / f"{family}-{tokenizer}" / done, lambda f=family, t=tokenizer: student(f, t))
        for family in STUDENTS
        for tokenizer in TOKENIZERS
    ]
    return first, second, third


def prepare(parallel: int) -> None:
    """Make what is missing, so many things at once."""
    torch.set_num_threads(1)
    for turn in jobs():
        waiting = [job for job in turn if not job[0].exists()]
        with ThreadPoolExecutor(parallel) as pool:
            for path in pool.map(_make, waiting):
                print(path.relative_to(ROOT), flush=True)


def _make(job: tuple[Path, Callable[[], None]]) -> Path:
    path, make = job
    if not path.exists():  # another process may have made it meanwhile
        make()
    return path
