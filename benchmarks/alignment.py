"""How fast two tokenizations are aligned, and how much of the text aligns one to one.

Run it with ``python benchmarks/alignment.py [--rounds N]``; it needs the extra ``examples`` for the real tokenizers.

The batch alignment and a straightforward walk over both token lists take turns within each round. Figures are tokens of
both sides per second, medians over the rounds with their range. Tokenisation is not counted. Both must find the same chunks.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tide_plugins.alignments.chunks import FlatAlignment, align_examples, split_examples
from tide_plugins.tokenizers.packaged import load_packaged
from tide_specs import AlignedPair, ChunkRelation, EncodedExample, Example, Message, UnavailableError

PAIRS = [("qwen", "deepseek"), ("qwen", "tekken"), ("qwen", "smollm2"), ("qwen", "mistral-sp"), ("qwen", "minilm")]
PROSE = """
the of and to a in that it was he for with his as on at by had not but from which she this they her were
all one we their there been has when who would more no if out so what up said about them into could only
other time new some very over after many before through people world because between light morning
question history language machine understanding international responsibility nevertheless
"""
CJK = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从にをはがでとのもしたれるない이다에서을를"


@dataclass(frozen=True)
class Timing:
    """Seconds of each round."""

    seconds: Sequence[float]

    def rate(self, tokens: int) -> str:
        """Million tokens per second: median and range."""
        rates = sorted(tokens / second / 1e6 for second in self.seconds)
        return f"{statistics.median(rates):6.2f} [{rates[0]:.2f}, {rates[-1]:.2f}]"


def documents(size: int) -> list[str]:
    """About ``size`` bytes: half source code of the standard library, the rest generated prose and CJK, in turns."""
    rng = random.Random(0)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    rng.shuffle(sources)
    found: list[str] = []
    total = 0
    for source in sources:
        code = source.read_text(errors="ignore")
        for start in range(0, min(len(code), 16_000), 2_000):
            for text in (code[start : start + 2_000], _prose(rng), _cjk(rng)):
                found.append(text)
                total += len(text.encode())
        if total >= size:
            break
    return found


def _prose(rng: random.Random) -> str:
    sentences = [" ".join(rng.choices(PROSE.split(), k=rng.randint(4, 18))).capitalize() + "." for _ in range(12)]
    return " ".join(sentences)


def _cjk(rng: random.Random) -> str:
    return "，".join("".join(rng.choices(CJK, k=rng.randint(4, 20))) for _ in range(18)) + "。"


def walk(student: EncodedExample, teacher: EncodedExample) -> AlignedPair:
    """The straightforward way for one text: two pointers over the tokens, a chunk at every common end."""
    ours = [(n, e) for n, (e, k) in enumerate(zip(student.end.tolist(), student.kind.tolist(), strict=True)) if k == 1]
    theirs = [
        (n, e) for n, (e, k) in enumerate(zip(teacher.end.tolist(), teacher.kind.tolist(), strict=True)) if k == 1
    ]
    own, other = [-1] * len(student.ids), [-1] * len(teacher.ids)
    sizes, relations = [], []
    i = j = first_i = first_j = before = 0
    while i < len(ours) and j < len(theirs):
        if ours[i][1] < 0 or ours[i][1] < theirs[j][1]:
            i += 1
        elif theirs[j][1] < 0 or theirs[j][1] < ours[i][1]:
            j += 1
        else:
            i, j = i + 1, j + 1
            for n, _ in ours[first_i:i]:
                own[n] = len(sizes)
            for n, _ in theirs[first_j:j]:
                other[n] = len(sizes)
            relations.append((i - first_i > 1) + 2 * (j - first_j > 1))
            sizes.append(ours[i - 1][1] - before)
            before, first_i, first_j = ours[i - 1][1], i, j
    own[-1] = other[-1] = len(sizes)  # the end-of-turn pair
    return AlignedPair(
        student=np.array(own, np.int32),
        teacher=np.array(other, np.int32),
        bytes=np.array([*sizes, 0], np.int32),
        relation=np.array([*relations, 0], np.int8),
    )


def same(one: AlignedPair, other: AlignedPair) -> bool:
    """Whether two alignments agree in everything."""
    fields = ("student", "teacher", "bytes", "relation")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reference_values(
    flat: FlatAlignment, students: Sequence[EncodedExample], teachers: Sequence[EncodedExample]
) -> tuple[float, float, float]:
    """Jaccard index of the boundaries; share of bytes in 1:1 chunks; 99th percentile of bytes per chunk."""
    bounds = [sum(int((e.end >= 0).sum()) for e in side) for side in (students, teachers)]
    spans = flat.bytes[flat.bytes > 0]
    jaccard = len(spans) / (sum(bounds) - len(spans))
    single = flat.bytes[flat.relation == ChunkRelation.ONE_TO_ONE].sum() / spans.sum()
    return jaccard, float(single), float(np.percentile(spans, 99))


def report(names: tuple[str, str], texts: Sequence[str], rounds: int) -> str:
    """One line of the table."""
    examples = [Example(key=str(n), messages=[Message(role="text", content=t)]) for n, t in enumerate(texts)]
    students, teachers = (load_packaged(name).encode(examples) for name in names)  # type: ignore[arg-type]
    tokens = sum(len(e.ids) for side in (students, teachers) for e in side)
    pairs = split_examples(align_examples(students, teachers))
    walked = [walk(s, t) for s, t in zip(students, teachers, strict=True)]
    if not all(same(pair, other) for pair, other in zip(pairs, walked, strict=True)):
        raise SystemExit(f"{'/'.join(names)}: the two ways do not find the same chunks")
    fast, slow = [], []
    for _ in range(rounds):
        fast.append(timed(lambda: split_examples(align_examples(students, teachers))))
        slow.append(timed(lambda: [walk(s, t) for s, t in zip(students, teachers, strict=True)]))
    ratios = sorted(s / f for s, f in zip(slow, fast, strict=True))
    jaccard, single, p99 = reference_values(align_examples(students, teachers), students, teachers)
    return (
        f"{'/'.join(names):<18}{tokens:>9,}  {Timing(fast).rate(tokens):<24}{Timing(slow).rate(tokens):<22}"
        f"{statistics.median(ratios):5.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}]   {jaccard:.3f}    {single:.3f}   {p99:.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds of each pair (default 15)")
    parser.add_argument("--bytes", type=int, default=1_000_000, help="size of the text (default 1 MB)")
    options = parser.parse_args()
    texts = documents(options.bytes)
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts)} documents, {size / 1e6:.2f} MB; M tokens/s: median [range] over {options.rounds} rounds\n")
    print(f"{'pair':<18}{'tokens':>9}  {'batched':<24}{'walk':<22}{'ratio':<19}Jaccard  1:1 bytes  p99 bytes")
    for names in PAIRS:
        try:
            print(report(names, texts, options.rounds), flush=True)
        except UnavailableError as error:
            print(f"{'/'.join(names):<18}skipped: {error}")


if __name__ == "__main__":
    main()
