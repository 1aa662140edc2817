"""The hooks that contribute components; those for parts of the method are in ``method_hooks``. A plugin implements those it needs with ``@hookimpl`` and returns classes.

Each docstring below holds a complete plugin, which the test suite extracts, runs and holds against the conformance kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .markers import hookspec
from .method_hooks import MethodHooks

if TYPE_CHECKING:
    from .architecture import Architecture
    from .attention import AttentionBackend
    from .dataset import Dataset
    from .evaluator import Evaluator
    from .launcher import Launcher
    from .observer import Observer
    from .sampler import Sampler


class ComponentHooks(MethodHooks):
    """Hooks that contribute components. Each returns a list of classes."""

    @hookspec
    def tide_architectures(self) -> Sequence[type[Architecture]]:
        r'''Contribute model families.

        ```python
        from typing import Literal

        from tide_specs import AttentionOptions, ModuleArchitecture, hookimpl


        class OneLayer(ModuleArchitecture):
            """A single attention layer over bytes."""

            name: Literal["one_layer"] = "one_layer"

            def build(self, vocabulary, runtime):
                from torch import nn

                class Network(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.tokens, self.positions = nn.Embedding(vocabulary, 32), nn.Embedding(1024, 32)
                        self.qkv, self.head = nn.Linear(32, 96), nn.Linear(32, vocabulary)

                    def forward(self, ids, positions, layout):
                        x = self.tokens(ids) + self.positions(positions)
                        q, k, v = self.qkv(x).unflatten(2, (3, 2, 16)).permute(2, 0, 3, 1, 4)
                        seen = runtime.attention.attend(q, k, v, layout, AttentionOptions(scale=0.25))
                        return x + seen.transpose(1, 2).flatten(2)

                return Network()


        @hookimpl
        def tide_architectures():
            return [OneLayer]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_attention_backends(self) -> Sequence[type[AttentionBackend]]:
        r'''Contribute attention backends.

        ```python
        from typing import Literal

        from tide_specs import AttentionBackend, hookimpl


        class Textbook(AttentionBackend):
            """A softmax over the dense mask."""

            name: Literal["textbook"] = "textbook"

            def attend(self, query, key, value, layout, options):
                groups = query.shape[1] // key.shape[1]
                key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
                scores = (query @ key.transpose(2, 3)).float() * options.scale
                scores = scores.masked_fill(~layout.dense(device=query.device), float("-inf"))
                return scores.softmax(3).to(value.dtype) @ value


        @hookimpl
        def tide_attention_backends():
            return [Textbook]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_samplers(self) -> Sequence[type[Sampler]]:
        r'''Contribute samplers.

        ```python
        from typing import Literal

        from tide_specs import ConfigError, Sampled, Sampler, SamplingStep, hookimpl


        class LeftToRight(Sampler):
            """Fills in one mask token at a time, from left to right; for bidirectional models."""

            name: Literal["left_to_right"] = "left_to_right"

            def sample(self, denoiser, prompts, *, max_new_tokens, seed=0, watch=None):
                if denoiser.form != "bidirectional":
                    raise ConfigError("sampler 'left_to_right' serves bidirectional models only")
                written, forwards, positions = [], 0, 0
                for row, prompt in enumerate(prompts):
                    ids = [*prompt, *[denoiser.mask_token_id] * max_new_tokens]
                    end = len(ids)
                    for place in range(len(prompt), len(ids)):
                        ids[place], score = self.likeliest(denoiser, ids, place)
                        forwards, positions = forwards + 1, positions + len(ids)
                        if watch is not None:
                            step = {"positions": [place], "tokens": [ids[place]], "scores": [score]}
                            watch(SamplingStep(row=row, forwards=forwards, **step))
                        if ids[place] == denoiser.tokenizer.end_of_turn_token_id:
                            end = place
                            break
                    written.append(ids[len(prompt) : end])
                return Sampled(ids=written, forwards=forwards, positions=positions)

            def likeliest(self, denoiser, ids, place):
                import torch

                row = torch.tensor([ids])
                with torch.no_grad():
                    logits = denoiser.head().logits(denoiser.hidden(row, row, torch.tensor([len(ids)]))[0, place])
                logits[denoiser.mask_token_id] = float("-inf")
                score, token = logits.softmax(0).max(0)
                return int(token), float(score)


        @hookimpl
        def tide_samplers():
            return [LeftToRight]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_datasets(self) -> Sequence[type[Dataset]]:
        r'''Contribute datasets.

        ```python
        from typing import Literal

        from tide_specs import Dataset, Example, Message, hookimpl


        class Squares(Dataset):
            """Squares of small numbers; every tenth is held out."""

            name: Literal["squares"] = "squares"

            def examples(self, split):
                for number in range(200):
                    if (number % 10 == 0) == (split == "evaluation"):
                        question = Message(role="user", content=f"What is the square of {number}?")
                        answer = Message(role="assistant", content=str(number**2), trainable=True)
                        yield Example(key=str(number), messages=(question, answer))

            def fingerprint(self):
                return "squares of 0 to 199"


        @hookimpl
        def tide_datasets():
            return [Squares]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_evaluators(self) -> Sequence[type[Evaluator]]:
        r'''Contribute evaluators.

        ```python
        from typing import Literal

        from tide_specs import Estimate, Evaluation, Evaluator, hookimpl


        class FirstGuess(Evaluator):
            """Share of response tokens that the student guesses from the prompt alone."""

            name: Literal["first_guess"] = "first_guess"

            def evaluate(self, student, teacher, context):
                right, count = 0, 0
                for batch in context.batches(self.batch_size, self.limit or None):
                    side = batch.student
                    noised = side.ids.masked_fill(side.maskable, student.mask_token_id)
                    hidden = student.hidden(noised, side.ids, side.lengths, side.documents)[side.maskable]
                    guesses = student.head().logits(hidden).argmax(1)
                    right += int((guesses == side.ids[side.maskable]).sum())
                    count += len(guesses)
                return Evaluation(metrics={"first_guess": Estimate(value=right / max(1, count))})


        @hookimpl
        def tide_evaluators():
            return [FirstGuess]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_observers(self) -> Sequence[type[Observer]]:
        r'''Contribute observers.

        ```python
        from pathlib import Path
        from typing import Literal

        from tide_specs import Observer, hookimpl


        class LossFile(Observer):
            """Writes the loss into a text file, one line for each interval."""

            name: Literal["loss_file"] = "loss_file"

            def open(self, directory):
                return Listener(Path(directory) / "loss.txt")


        class Listener:
            def __init__(self, path):
                self.path = path

            @hookimpl
            def tide_metrics_logged(self, event):
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{event.step} {event.metrics['loss']}\n")


        @hookimpl
        def tide_observers():
            return [LossFile]
        ```
        '''
        raise NotImplementedError

    @hookspec
    def tide_launchers(self) -> Sequence[type[Launcher]]:
        r'''Contribute launchers.

        ```python
        import os
        import subprocess
        from typing import Literal

        from tide_specs import Launcher, hookimpl


        class Polite(Launcher):
            """Processes of this machine that give way to everything else."""

            name: Literal["polite"] = "polite"

            def open(self, *, workers, directory):
                return Session()


        class Session:
            def __init__(self):
                self.processes = []

            def start(self, job):
                with open(job.log, "ab") as log:
                    environment = {**os.environ, **job.environment}
                    command = ["nice", *job.command]
                    options = {"cwd": job.directory, "env": environment, "start_new_session": True}
                    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
                self.processes.append(process)
                return process

            def close(self):
                for process in self.processes:
                    process.terminate()
                for process in self.processes:
                    process.wait()


        @hookimpl
        def tide_launchers():
            return [Polite]
        ```
        '''
        raise NotImplementedError
