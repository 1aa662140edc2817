"""Architectures that are wrong on purpose."""

from __future__ import annotations

from kit_mutation import Mutant

from tide_specs import (
    BlockCausal,
    Form,
    Full,
    ModuleDenoiser,
)
from tide_specs.testing.toys import FORMS, ToyArchitecture


def toy(cls, form: Form = "bidirectional", **options):
    """A toy of one form."""
    return cls(form=form, block_size=4 if form.startswith("block") else None, **options)


class Wrapped(ToyArchitecture):
    """Base: a toy whose denoiser is spoilt by ``spoil``."""

    def denoiser(self, module, tokenizer):
        made = super().denoiser(module, tokenizer)
        right = made.hidden
        made.hidden = lambda noised, clean, lengths, documents=None: self.spoil(
            made, right, noised, clean, lengths, documents
        )
        return made

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised, clean, lengths, documents)


class Unshifted(Wrapped):
    """An autoregressive model's states as they are: token i is predicted from token i."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        import torch

        hidden = right(
            torch.cat([noised, noised[:, :1]], 1), torch.cat([clean, clean[:, :1]], 1), lengths + 1, documents
        )
        return hidden[:, 1:]


class ShiftedTwice(Wrapped):
    """Shifts states that are shifted already."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised, clean, lengths, documents).roll(1, 1)


class ReadsClean(Wrapped):
    """Reads the answer."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(clean, clean, lengths, documents)


class Blind(Wrapped):
    """Ignores its input."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised * 0 + 5, clean * 0 + 5, lengths, documents)


class PaddingLeak(Wrapped):
    """Ignores lengths."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised, clean, lengths * 0 + noised.shape[1], documents)


class DocumentLeak(Wrapped):
    """Ignores documents."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised, clean, lengths, None)


class RefusesDocuments(Wrapped):
    """Cannot pack."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        assert documents is None, "no packing"
        return right(noised, clean, lengths, None)


class MixesRows(Wrapped):
    """Normalises over the batch."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        hidden = right(noised, clean, lengths, documents)
        return hidden - hidden.mean(0)


class BothStreams(Wrapped):
    """Returns the clean stream as well."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        import torch

        hidden = right(noised, clean, lengths, documents)
        return torch.cat([hidden, hidden], 1)


class NotANumber(Wrapped):
    """Divides by the number of padding tokens."""

    def spoil(self, made, right, noised, clean, lengths, documents):
        return right(noised, clean, lengths, documents) / (noised.shape[1] - lengths)[:, None, None]


class WrongLayout(ToyArchitecture):
    """A block form that lets every token see every other."""

    def denoiser(self, module, tokenizer):
        made = super().denoiser(module, tokenizer)
        made.layout = lambda length: Everything(length=length * (2 if self.form == "block_diffusion" else 1))
        return made


class Everything(Full):
    """Sees padding too."""

    def with_rows(self, lengths, documents=None):
        return self


class NoisyPast(ToyArchitecture):
    """Block diffusion that never reads the clean tokens."""

    def denoiser(self, module, tokenizer):
        made = super().denoiser(module, tokenizer)

        def hidden(noised, clean, lengths, documents=None):
            import torch

            layout = BlockCausal(length=noised.shape[1], block=4, lengths=lengths, documents=documents)
            return module(noised, torch.arange(noised.shape[1])[None], layout)

        made.hidden = hidden
        return made


class SwapsViews(ToyArchitecture):
    """Returns the views in the wrong order."""

    def denoiser(self, module, tokenizer):
        made = super().denoiser(module, tokenizer)
        right = made.hidden_views
        made.hidden_views = lambda noised, clean, lengths, documents=None: right(
            noised, clean, lengths, documents
        ).flip(0)
        return made


class SpoiltSession(ToyArchitecture):
    """Base: a toy whose session is spoilt."""

    def denoiser(self, module, tokenizer):
        made = super().denoiser(module, tokenizer)
        right = made.session
        made.session = lambda rows: self.spoil(right(rows))
        return made


class Forgets(SpoiltSession):
    """Keeps only the newest tokens."""

    def spoil(self, session):
        right = session.extend

        def extend(clean, lengths=None):
            session.past, before = None, session.lengths
            session.lengths = before * 0
            out = right(clean, lengths)
            session.lengths = session.lengths + before
            return out

        session.extend = extend
        return session


class Commits(SpoiltSession):
    """hidden() appends what it is asked about."""

    def spoil(self, session):
        right = session.hidden

        def hidden(noised):
            out = right(noised)
            session.extend(noised)
            return out

        session.hidden = hidden
        return session


class KeepsTheWrongRow(SpoiltSession):
    """keep() always keeps the first rows."""

    def spoil(self, session):
        right = session.keep
        session.keep = lambda rows: right(rows * 0)
        return session


class Miscounts(SpoiltSession):
    """Counts padded tokens."""

    def spoil(self, session):
        right = session.extend

        def extend(clean, lengths=None):
            out = right(clean, lengths)
            session.lengths = session.lengths * 0 + session.lengths.max()
            return out

        session.extend = extend
        return session


class Memory(ToyArchitecture):
    """Knows the kit's text by heart, by position."""

    def denoiser(self, module, tokenizer):
        import torch

        from tide_specs import Head
        from tide_specs.testing.shift import TEXT
        from tide_specs.testing.texts import text

        (encoded,) = tokenizer.encode([text(TEXT)])
        size = len(encoded.ids)
        weight = torch.zeros(tokenizer.vocabulary_size, size)
        weight[torch.from_numpy(encoded.ids).long(), torch.arange(size)] = 8.0
        made = ModuleDenoiser(module, tokenizer)
        made.head = lambda: Head(weight=weight)
        made.hidden = lambda noised, clean, lengths, documents=None: self.states(noised, size)
        return made

    def states(self, noised, size):
        import torch

        return torch.eye(size)[: noised.shape[1]][None].expand(len(noised), -1, -1)


class MemoryShifted(Memory):
    """Predicts the token behind."""

    def states(self, noised, size):
        return super().states(noised, size).roll(-1, 1)


TOYS = [toy(ToyArchitecture, form, words=form == "block_causal") for form in FORMS]
MUTANTS = [
    Mutant(toy(Unshifted, "autoregressive"), "check_no_peeking", r"the answer leaks; hidden\(\)\[:, i\] must predict"),
    Mutant(toy(ReadsClean), "check_no_peeking", "changes with that token's own identity"),
    Mutant(toy(ShiftedTwice, "autoregressive"), "check_sees_the_context", "ignores its visible neighbour"),
    Mutant(toy(Blind), "check_sees_the_context", "ignores its visible neighbour"),
    Mutant(toy(PaddingLeak), "check_padding", "padding changes the hidden states"),
    Mutant(toy(MixesRows), "check_padding", "other rows of its batch"),
    Mutant(toy(DocumentLeak), "check_packing", "give the layout the documents"),
    Mutant(toy(RefusesDocuments), "check_packing", "packed documents raise AssertionError: no packing"),
    Mutant(toy(BothStreams), "check_shapes", "the noisy stream only"),
    Mutant(toy(NotANumber), "check_shapes", "not finite"),
    Mutant(toy(WrongLayout, "block_causal"), "check_blocks", "later blocks, which decoding has not written yet"),
    Mutant(toy(WrongLayout, "block_diffusion"), "check_no_peeking", "the answer leaks"),
    Mutant(toy(NoisyPast, "block_diffusion"), "check_blocks", "reads earlier blocks noised"),
    Mutant(toy(SwapsViews), "check_views", "keep their streams apart"),
    Mutant(toy(Forgets, "block_causal"), "check_session", "differs from the full forward"),
    Mutant(toy(Commits, "block_causal"), "check_session", r"hidden\(\) must leave the cache as it was"),
    Mutant(toy(KeepsTheWrongRow, "block_diffusion"), "check_session", r"after keep\(\) a row is answered differently"),
    Mutant(toy(Miscounts, "block_causal"), "check_session", "count each row's own tokens"),
    Mutant(toy(MemoryShifted), "check_shift", r"predicts token i\+1 better than token i"),
]
