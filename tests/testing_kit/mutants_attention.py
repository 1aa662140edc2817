"""Attention backends that are wrong on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from kit_mutation import Mutant

from tide_specs import BlockDiffusion
from tide_specs.testing.dense_attention import DenseAttention, dense_attention


class Masked(DenseAttention):
    """Base: a dense backend whose mask can be spoilt."""

    def mask(self, layout, options):
        return layout.dense(window=options.window)

    def attend(self, query, key, value, layout, options):
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = (query @ key.transpose(2, 3)).float() * options.scale
        scores = scores.masked_fill(~self.mask(layout, options), float("-inf"))
        return (scores.softmax(3).to(value.dtype) @ value).to(query.dtype)

    features: ClassVar[frozenset[str]] = frozenset({"window"})


class Transposed(Masked):
    """Transposed mask."""

    def mask(self, layout, options):
        mask = super().mask(layout, options)
        return mask.transpose(2, 3) if mask.shape[2] == mask.shape[3] else mask


class PaddingLeak(Masked):
    """Ignores the lengths."""

    def mask(self, layout, options):
        return replace(layout, lengths=None).dense(window=options.window)


class DocumentLeak(Masked):
    """Ignores packed documents."""

    def mask(self, layout, options):
        return replace(layout, documents=None).dense(window=options.window)


class EmptyRows(Masked):
    """Blind rows: NaN."""

    def mask(self, layout, options):
        mask = super().mask(layout, options).clone()
        mask[:, :, -1] = False
        return mask


class OffByOne(Masked):
    """The diagonal is hidden from causal layouts."""

    def mask(self, layout, options):
        mask = super().mask(layout, options)
        return mask.tril(-1) | (torch.arange(mask.shape[3]) == 0) if layout.kind == "causal" else mask


class WrongOrder(Masked):
    """Takes [x_0, x_t] for [x_t, x_0]."""

    def mask(self, layout, options):
        if isinstance(layout, BlockDiffusion) and layout.order == "clean_first":
            layout = replace(layout, order="noisy_first")
        return super().mask(layout, options)


class IgnoresWindow(Masked):
    """Claims windows and ignores them."""

    def mask(self, layout, options):
        return layout.dense()


class Unscaled(Masked):
    """Always divides by sqrt(D)... of one head too many."""

    def attend(self, query, key, value, layout, options):
        return super().attend(query, key, value, layout, replace(options, scale=options.scale * 1.01))


class WrongGroups(Masked):
    """Repeats key heads in the wrong order."""

    def attend(self, query, key, value, layout, options):
        groups = query.shape[1] // key.shape[1]
        return super().attend(query, key.repeat(1, groups, 1, 1), value.repeat(1, groups, 1, 1), layout, options)


class Detached(Masked):
    """Right forwards; no gradient for the keys."""

    def attend(self, query, key, value, layout, options):
        return super().attend(query, key.detach() + key * 0, value, layout, options)


class Dishonest(DenseAttention):
    """Available everywhere, it says."""

    def attend(self, query, key, value, layout, options):
        raise RuntimeError("no kernel for this device")


class AnswersFalse(DenseAttention):
    """A boolean instead of a reason."""

    def available(self, device, dtype):
        return False


class InventedLayout(DenseAttention):
    """Claims a layout that does not exist."""

    layouts: ClassVar[frozenset[str]] = frozenset({"full", "diagonal"})


class WrongDtype(DenseAttention):
    """Float32 whatever comes in."""

    def attend(self, query, key, value, layout, options):
        return super().attend(query, key, value, layout, options).float()


class LowPrecision(DenseAttention):
    """Scores in bfloat16."""

    def attend(self, query, key, value, layout, options):
        sides = [side.bfloat16() for side in (query * 8, key, value)]
        return (dense_attention(*sides, layout, replace(options, scale=options.scale / 8))).to(query.dtype)


class SpoilsCache(DenseAttention):
    """Scales the keys in place."""

    def attend(self, query, key, value, layout, options):
        key *= options.scale
        return super().attend(query, key, value, layout, replace(options, scale=1.0))


class DeadDropout(DenseAttention):
    """Claims dropout and does none."""

    def attend(self, query, key, value, layout, options):
        return super().attend(query, key, value, layout, replace(options, dropout=0.0))


MUTANTS = [
    Mutant(Transposed(), "check_equals_the_oracle", r"compare your mask with layout\.dense\(\)"),
    Mutant(PaddingLeak(), "check_equals_the_oracle", "with padding.*differs from the dense oracle"),
    Mutant(DocumentLeak(), "check_equals_the_oracle", "with packed documents.*differs from the dense oracle"),
    Mutant(EmptyRows(), "check_equals_the_oracle", "an empty row of the mask is NaN"),
    Mutant(OffByOne(), "check_equals_the_oracle", "layout 'causal'.*differs"),
    Mutant(WrongOrder(), "check_equals_the_oracle", "order=clean_first.*differs"),
    Mutant(IgnoresWindow(), "check_features", "feature 'window'.*differs"),
    Mutant(Unscaled(), "check_equals_the_oracle", "differs from the dense oracle"),
    Mutant(WrongGroups(), "check_equals_the_oracle", "4 query and 2 key heads"),
    Mutant(Detached(), "check_gradients_equal_the_oracle", "gradient of the key differs"),
    Mutant(Dishonest(), "check_available_is_honest", r"attend\(\) raises RuntimeError: no kernel"),
    Mutant(AnswersFalse(), "check_available_is_honest", r"returns False; return None"),
    Mutant(InventedLayout(), "check_claims", "'diagonal'.*does not exist"),
    Mutant(WrongDtype(), "check_available_is_honest", "in the query's dtype"),
    Mutant(LowPrecision(), "check_equals_the_oracle", "differs from the dense oracle"),
    Mutant(SpoilsCache(), "check_inputs_stay_unchanged", "in place"),
    Mutant(DeadDropout(), "check_dropout", "changes nothing"),
]
