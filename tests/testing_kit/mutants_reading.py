"""Datasets, observers and evaluators that are wrong on purpose."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from kit_mutation import Mutant

from tide_specs import Dataset, Estimate, Evaluation, Evaluator, Example, Message, Observer, hookimpl


class KitSums(Dataset):
    """Sums of small numbers; every tenth is held out."""

    name: Literal["kit_sums"] = "kit_sums"

    def examples(self, split):
        for number in range(100):
            if (number % 10 == 0) == (split == "evaluation"):
                yield self.example(number)

    def example(self, number):
        question = Message(role="user", content=f"{number} + {number}?")
        answer = Message(role="assistant", content=str(2 * number), trainable=True)
        return Example(key=str(number), messages=(question, answer))

    def fingerprint(self):
        return "sums 1"


class Shuffles(KitSums):
    """Another order on every reading."""

    def examples(self, split):
        made = list(super().examples(split))
        random.shuffle(made)
        return iter(made)


class OverlappingSplits(KitSums):
    """The evaluation split is part of the training split."""

    def examples(self, split):
        for number in range(0, 100, 1 if split == "train" else 10):
            yield self.example(number)


class SameTextOtherKey(KitSums):
    """The splits share content under other keys."""

    def examples(self, split):
        for number in range(20):
            yield replace(self.example(number), key=f"{split}/{number}")


class SameKeys(KitSums):
    """Every example is called the same."""

    def example(self, number):
        return replace(super().example(number), key="sum")


class NothingToLearn(KitSums):
    """No message is trainable."""

    def example(self, number):
        made = super().example(number)
        return replace(made, messages=tuple(replace(message, trainable=False) for message in made.messages))


class MixedRoles(KitSums):
    """Text and chat in one example."""

    def example(self, number):
        made = super().example(number)
        return replace(made, messages=(Message(role="text", content="Sums:"), *made.messages))


class ReturnsAList(KitSums):
    """Reads everything at once."""

    def examples(self, split):
        return list(super().examples(split))


class EmptySplit(KitSums):
    """Holds nothing out."""

    def examples(self, split):
        return super().examples(split) if split == "train" else iter(())


class Rows(KitSums):
    """Yields plain rows."""

    def example(self, number):
        return {"prompt": str(number)}


class HashFingerprint(KitSums):
    """hash() differs between processes."""

    def fingerprint(self):
        return str(hash("sums 1"))


class NoFingerprint(KitSums):
    """No hash at all."""

    def fingerprint(self):
        return ""


_SHARED_ROWS = {}


class SharedReader(KitSums):
    """Two readers share one position."""

    def examples(self, split):
        start = _SHARED_ROWS.setdefault(split, iter(range(10**6)))
        made = list(super().examples(split))
        for step in start:
            yield replace(made[step % len(made)], key=str(step))


class Lines:
    """One line for each interval."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @hookimpl
    def tide_metrics_logged(self, event):
        with self.path.open("a") as file:
            file.write(f"{event.step} {dict(event.metrics)}\n")

    @hookimpl
    def tide_run_finished(self, event):
        with self.path.open("a") as file:
            file.write(f"{event.status}\n")


class KitLines(Observer):
    """Writes lines."""

    name: Literal["kit_lines"] = "kit_lines"

    def open(self, directory):
        return Lines(Path(directory) / "lines.txt")


class WritesAnywhere(KitLines):
    """Writes into the current directory."""

    def open(self, directory):
        return Lines(Path("lines.txt"))


class Misspelt(KitLines):
    """tide_metric_logged."""

    class Listener:
        @hookimpl
        def tide_metric_logged(self, event):
            pass

    def open(self, directory):
        return self.Listener()


class Unmarked(KitLines):
    """@hookimpl forgotten."""

    class Listener:
        def tide_metrics_logged(self, event):
            pass

    def open(self, directory):
        return self.Listener()


class Silent(KitLines):
    """Listens to nothing."""

    def open(self, directory):
        return object()


class Greedy(KitLines):
    """Asks for more than the event."""

    class Listener:
        @hookimpl
        def tide_metrics_logged(self, event, model):
            pass

    def open(self, directory):
        return self.Listener()


class StateOnComponent(KitLines):
    """Keeps its file on the class."""

    opened: ClassVar[dict[str, str]] = {}

    def open(self, directory):
        self.opened[directory] = "open"
        return super().open(directory)


class OneListener(KitLines):
    """One listener for all runs."""

    def open(self, directory):
        return _SHARED


_SHARED = Lines(Path("/dev/null"))


class HatesNaN(KitLines):
    """Rounds every metric to an integer."""

    class Listener(Lines):
        @hookimpl
        def tide_metrics_logged(self, event):
            assert [int(value) for value in event.metrics.values()]

    def open(self, directory):
        return self.Listener(Path(directory) / "x")


class NeedsSteps(KitLines):
    """Divides by the number of steps seen."""

    class Listener:
        seen = 0

        @hookimpl
        def tide_step_finished(self, event):
            self.seen += 1

        @hookimpl
        def tide_run_finished(self, event):
            assert event.step / self.seen > 0

    def open(self, directory):
        return self.Listener()


class KitLength(Evaluator):
    """Mean number of messages; needs no model."""

    name: Literal["kit_length"] = "kit_length"

    def evaluate(self, student, teacher, context):
        counts = [float(len(example.messages)) for example in context.examples(self.limit or None)]
        return self.finish(student, teacher, context, counts)

    def finish(self, student, teacher, context, counts):
        mean = sum(counts) / max(1, len(counts))
        return Evaluation(metrics={"length": Estimate(value=mean)}, per_example={"length": counts})


class NoMetric(KitLength):
    """Measures nothing."""

    def finish(self, student, teacher, context, counts):
        return Evaluation(metrics={})


class InfiniteMetric(KitLength):
    """Perplexity of an impossible text."""

    def finish(self, student, teacher, context, counts):
        return Evaluation(metrics={"perplexity": Estimate(value=float("inf"))})


class InvertedInterval(KitLength):
    """low and high swapped."""

    def finish(self, student, teacher, context, counts):
        return Evaluation(metrics={"length": Estimate(value=1.0, low=2.0, high=0.5)})


class PerBatch(KitLength):
    """One number per batch and one per example."""

    def finish(self, student, teacher, context, counts):
        made = super().finish(student, teacher, context, counts)
        return replace(made, per_example={"length": counts, "loss": counts[:2]})


class IgnoresLimit(KitLength):
    """Always reads everything."""

    def evaluate(self, student, teacher, context):
        return self.finish(student, teacher, context, [float(len(e.messages)) for e in context.examples()])


class RandomMetric(KitLength):
    """Draws from the global generator."""

    def finish(self, student, teacher, context, counts):
        import torch

        return Evaluation(metrics={"luck": Estimate(value=float(torch.rand(())))})


class Trains(KitLength):
    """Takes a step on the evaluation data."""

    def finish(self, student, teacher, context, counts):
        next(student.module.parameters()).add_(0.1)
        return super().finish(student, teacher, context, counts)


class TrainingMode(KitLength):
    """Leaves dropout on."""

    def finish(self, student, teacher, context, counts):
        student.module.train()
        return super().finish(student, teacher, context, counts)


class NeedsTeacherSilently(KitLength):
    """Uses the teacher without saying so."""

    def finish(self, student, teacher, context, counts):
        counts = [*counts[:1], *(float(teacher.head().weight.shape[0]) for _ in counts[1:])]
        return super().finish(student, teacher, context, counts)


CORRECT = [KitSums(), KitLines(), KitLength()]
MUTANTS = [
    Mutant(Shuffles(), "check_order_is_fixed", "shuffling is the core's business"),
    Mutant(SharedReader(), "check_order_is_fixed", "other examples or another order"),
    Mutant(OverlappingSplits(), "check_splits_are_disjoint", "10 examples of the evaluation split.*same key"),
    Mutant(SameTextOtherKey(), "check_splits_are_disjoint", "same content"),
    Mutant(SameKeys(), "check_keys_are_unique", "key 'sum' occurs twice"),
    Mutant(NothingToLearn(), "check_examples", "no trainable message"),
    Mutant(MixedRoles(), "check_examples", "mixes role 'text' with"),
    Mutant(ReturnsAList(), "check_examples", "returns no iterator"),
    Mutant(EmptySplit(), "check_examples", "split 'evaluation' holds no example"),
    Mutant(Rows(), "check_examples", r"yields a dict; yield tide_specs\.Example"),
    Mutant(HashFingerprint(), "check_fingerprint", "use hashlib"),
    Mutant(NoFingerprint(), "check_fingerprint", "return a hash as a string"),
    Mutant(WritesAnywhere(), "check_writes_into_the_run_directory", r"lines\.txt into the current directory"),
    Mutant(Misspelt(), "check_hooks_exist", r"did you mean tide_metrics_logged\?"),
    Mutant(Unmarked(), "check_hooks_exist", "lacks @hookimpl"),
    Mutant(Silent(), "check_hooks_exist", "implements no hook"),
    Mutant(Greedy(), "check_hooks_exist", r"takes \['model'\]"),
    Mutant(StateOnComponent(), "check_keeps_no_state", r"StateOnComponent\.opened"),
    Mutant(OneListener(), "check_runs_are_separate", "same object for two runs"),
    Mutant(HatesNaN(), "check_observes_whole_runs", "metrics may be NaN"),
    Mutant(NeedsSteps(), "check_survives_an_early_end", "ends before its first step"),
    Mutant(NoMetric(), "check_metrics", "returns no metric"),
    Mutant(InfiniteMetric(), "check_metrics", "metric 'perplexity' is inf"),
    Mutant(InvertedInterval(), "check_metrics", r"the interval of 'length' is \[2\.0, 0\.5\]"),
    Mutant(PerBatch(), "check_numbers_per_example", "give each example one number"),
    Mutant(IgnoresLimit(), "check_limit", r"pass self\.limit or None"),
    Mutant(RandomMetric(), "check_repeatable", r"seed them with context\.seed"),
    Mutant(Trains(), "check_models_stay_unchanged", "changes the model's weights"),
    Mutant(TrainingMode(), "check_models_stay_unchanged", "training mode"),
    Mutant(NeedsTeacherSilently(), "check_teacher", "set needs_teacher = True"),
]
