"""Architectures that load, save, seed or describe their models wrongly."""

from __future__ import annotations

from pathlib import Path

from kit_mutation import Mutant
from mutants_architecture import toy

from tide_specs import (
    ByteTokenizer,
)
from tide_specs.testing.toys import ToyArchitecture


class UnusedWeights(ToyArchitecture):
    """Trains weights that nothing uses."""

    def build(self, vocabulary, runtime):
        from torch import nn

        module = super().build(vocabulary, runtime)
        module.bridge = nn.Linear(4, 4)
        return module


class ForgetsCheckpointing(ToyArchitecture):
    """Checkpointing that changes the model."""

    def build(self, vocabulary, runtime):
        module = super().build(vocabulary, runtime)
        if runtime.gradient_checkpointing:
            module.layers = module.layers[:1]
        return module


class Unseeded(ToyArchitecture):
    """Another initialisation each time."""

    def build(self, vocabulary, runtime):
        import torch

        module = super().build(vocabulary, runtime)
        torch.nn.init.normal_(module.head.weight, generator=torch.Generator().manual_seed(id(module) % 1000003))
        return module


class SeedsGlobally(ToyArchitecture):
    """Seeds torch for everybody."""

    def load(self, role, runtime):
        import torch

        torch.manual_seed(runtime.seed)
        return super().load(role, runtime)


class AlwaysFloat32(ToyArchitecture):
    """Ignores runtime.dtype."""

    def denoiser(self, module, tokenizer):
        return super().denoiser(module.float(), tokenizer)


class SavesAPickle(ToyArchitecture):
    """torch.save."""

    def denoiser(self, module, tokenizer):
        import torch

        made = super().denoiser(module, tokenizer)
        right = made.save

        def save(path):
            right(path)
            torch.save({}, Path(path) / "optimizer.pt")

        made.save = save
        return made


class LosesWeights(ToyArchitecture):
    """Reads the tokenizer of a saved model, and not its weights."""

    def load(self, role, runtime):
        fresh = self.model_copy(update={"model": None})
        return ToyArchitecture.load(fresh, role, runtime)


class LosesMaskToken(ToyArchitecture):
    """The saved tokenizer has another mask token."""

    def tokenizer(self, role):
        made = super().tokenizer(role)
        if self.model is not None:
            made.mask_token_id = made.special["start"]
        return made


class LosesTokenizer(ToyArchitecture):
    """Comes back with other pieces."""

    def tokenizer(self, role):
        return ByteTokenizer(short_headers=True) if self.model else ByteTokenizer()


class MaskIsALetter(ToyArchitecture):
    """Masks with a token that the data holds."""

    def tokenizer(self, role):
        made = super().tokenizer(role)
        made.mask_token_id = 97
        return made


class SmallHead(ToyArchitecture):
    """Forgets to enlarge the vocabulary for the mask token."""

    def build(self, vocabulary, runtime):
        return super().build(vocabulary - 1, runtime)


class CountsCharacters(ToyArchitecture):
    """Token ends beyond the text."""

    def tokenizer(self, role):
        return DoubledEnds()


class DoubledEnds(ByteTokenizer):
    """Offsets twice as large as they should be."""

    def encode(self, examples):
        from dataclasses import replace

        return [replace(made, end=(made.end * 2).clip(-1)) for made in super().encode(examples)]


class Unpicklable(ToyArchitecture):
    """A tokenizer that changes on its way to a worker."""

    def tokenizer(self, role):
        return Forgetful()


class Forgetful(ByteTokenizer):
    """Loses its pieces when pickled."""

    def __init__(self):
        super().__init__([b"the"])

    def __reduce__(self):
        return (ByteTokenizer, ())


class OtherForm(ToyArchitecture):
    """Announces another form than it loads."""

    @property
    def denoiser_form(self):
        return "block_causal"


class WrongMultiple(ToyArchitecture):
    """Rows that do not fit blocks."""

    @property
    def length_multiple(self):
        return 3


class ServesNobody(ToyArchitecture):
    """Refuses both roles."""

    def serves(self, role):
        return "out of order"


class HidesNeeds(ToyArchitecture):
    """Names no layout."""

    def attention_needs(self):
        return frozenset()


class InventsNeeds(ToyArchitecture):
    """Names a layout that does not exist."""

    def attention_needs(self):
        return frozenset({"full", "sparse"})


class CountsTwice(ToyArchitecture):
    """Counts tied weights twice."""

    def plan(self):
        plan = super().plan()
        return {**plan, "parameters": plan["parameters"] * 2}


class KeepsTheModel(ToyArchitecture):
    """Caches the model on itself."""

    def load(self, role, runtime):
        made = super().load(role, runtime)
        self.__dict__["loaded"] = made
        return made


MUTANTS = [
    Mutant(toy(UnusedWeights), "check_gradients", r"no gradient reaches bridge\.weight"),
    Mutant(toy(ForgetsCheckpointing), "check_gradient_checkpointing", "."),
    Mutant(toy(Unseeded), "check_loading_is_reproducible", "two loads with the same"),
    Mutant(toy(SeedsGlobally), "check_loading_is_reproducible", r"torch\.random\.fork_rng\(\)"),
    Mutant(toy(AlwaysFloat32), "check_dtype", r"are not in runtime\.dtype"),
    Mutant(toy(SavesAPickle), "check_save_and_reload", r"writes optimizer\.pt"),
    Mutant(toy(LosesWeights), "check_save_and_reload", "comes back with other weights"),
    Mutant(toy(LosesMaskToken), "check_save_and_reload", r"mask token \d+ instead of"),
    Mutant(toy(LosesTokenizer), "check_save_and_reload", "comes back with another tokenizer"),
    Mutant(toy(MaskIsALetter), "check_mask_token", "an ordinary token of the tokenizer"),
    Mutant(toy(SmallHead), "check_mask_token", "enlarge the vocabulary"),
    Mutant(toy(CountsCharacters), "check_tokenizer", "raw UTF-8 bytes"),
    Mutant(toy(Unpicklable), "check_tokenizer", "changes when it is pickled"),
    Mutant(toy(OtherForm), "check_declarations", r"load\(\) returns a denoiser of form 'bidirectional'"),
    Mutant(toy(WrongMultiple, "block_causal"), "check_declarations", "return a multiple of the block size"),
    Mutant(toy(ServesNobody), "check_declarations", "serves neither role"),
    Mutant(toy(HidesNeeds), "check_attention_needs", r"layouts \['full'\]"),
    Mutant(toy(InventsNeeds), "check_declarations", r"\['sparse'\], which is no layout"),
    Mutant(toy(CountsTwice), "check_plan", "but .* are loaded"),
    Mutant(toy(KeepsTheModel), "check_keeps_no_state", r"self\.loaded"),
]
