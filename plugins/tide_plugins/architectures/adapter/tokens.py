"""The tokenizer of a model, and room for its mask token in the model's vocabulary.

Shapes: C rows of the vocabulary, H hidden size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer, fast_tokenizer, resolve_mask_token
from tide_specs import CheckpointError, DataError, TextTokenizer

from ..families import Family, recognise
from ..huggingface import PACKAGED, HuggingFace, read_settings


def read_tokenizer(component: HuggingFace, *, trust_remote_code: bool = False) -> tuple[TextTokenizer, int]:
    """Return the component's tokenizer, and how many ids it had before a mask token was added.

    The tokenizer of a recognised family is read by the library's own fast classes, completed by what the family says of it,
    and held against ``config.json``. Raises ``DataError`` and ``CheckpointError``.
    """
    source = component.tokenizer_from or str(component.model)
    settings = {} if source.startswith(PACKAGED) else read_settings(source)
    if (there := recognise(settings, component.families)) is not None:
        known: Any = fast_tokenizer(source, str(there.native_config(settings)["model_type"]))
        completed = _completed(component, known, component.family or there)
        return completed, completed.vocabulary_size
    tokenizer = _load(source, trust_remote_code=trust_remote_code)
    known = tokenizer.tokenizer
    native = tokenizer.vocabulary_size
    if component.family is not None:
        return _completed(component, known, component.family), native
    named = component.named_mask_token
    if component.denoiser_form == "autoregressive" or (named is None and tokenizer.mask_token_id is not None):
        return tokenizer, native
    _forget_other(known, named)
    return HuggingFaceTokenizer(known, mask_token_id=resolve_mask_token(known, named, add=True)), native


def _load(source: str, *, trust_remote_code: bool) -> HuggingFaceTokenizer:
    if source.startswith(PACKAGED):
        from tide_plugins.tokenizers.packaged import PackagedName, load_packaged

        return load_packaged(cast(PackagedName, source.removeprefix(PACKAGED)))
    return HuggingFaceTokenizer.from_path(source, trust_remote_code=trust_remote_code)


def _forget_other(known: Any, named: str | None) -> None:
    if named is not None and known.mask_token != named:
        known.mask_token = None


def _completed(component: HuggingFace, known: Any, family: Family) -> HuggingFaceTokenizer:
    """Add the family's chat template where there is none, its end of turn and its mask token, which must exist."""
    if known.chat_template is None:
        known.chat_template = family.chat_template
    mask = None if component.denoiser_form == "autoregressive" else _mask_of_family(component, known, family)
    tokenizer = HuggingFaceTokenizer(known, mask_token_id=mask, end_of_turn=family.end_of_turn)
    if component.family is not None:
        _refuse_larger(component, family, tokenizer.vocabulary_size)
    return tokenizer


def _mask_of_family(component: HuggingFace, known: Any, family: Family) -> int:
    announced = None if component.family is None else family.mask_token_id(component.settings)
    named = component.mask_token or component.named_mask_token or family.mask_token
    if named is None:
        named = known.mask_token if announced is None else known.convert_ids_to_tokens(announced)
    if named is None or named not in known.get_vocab():
        wanted = f"token with the id {announced}" if named is None else f"token {named!r}"
        raise DataError(
            f"{_place(component)}: the tokenizer has no {wanted}, the mask token of {family.title}; copy the tokenizer "
            "files of that checkpoint again, or name an existing token with `mask_token`"
        )
    _forget_other(known, named)
    found = resolve_mask_token(known, named, add=False)
    assert found is not None
    # A mask token that was chosen by hand may differ from the one that the model was published with.
    if announced not in (None, found) and named == (family.mask_token or named) and component.mask_token is None:
        raise CheckpointError(
            f"{component.model}: config.json says mask_token_id {announced}, but the tokenizer's mask token {named!r} has "
            f"id {found}; model and tokenizer belong to different checkpoints: copy both from one, or name the right token "
            "with `mask_token`"
        )
    return found


def _refuse_larger(component: HuggingFace, family: Family, ids: int) -> None:
    rows = family.native_config(component.settings).get("vocab_size")
    if isinstance(rows, int) and ids > rows:
        raise CheckpointError(
            f"{component.model}: the tokenizer of {_place(component)} has {ids} ids, but the model's vocabulary has {rows} "
            "rows (config.json); they belong to different checkpoints: give the model's own tokenizer"
        )


def _place(component: HuggingFace) -> str:
    return component.tokenizer_from or str(component.model)


def fit_vocabulary(model: Any, tokenizer: TextTokenizer, native: int) -> None:
    """Make room for every id of the tokenizer, and give ids from ``native`` up the mean of the rows before them.

    Rows that already exist as padding (Qwen's 151,936 for 151,669 ids) are used without resizing.
    """
    wanted = tokenizer.vocabulary_size
    if wanted > int(model.get_input_embeddings().weight.shape[0]):
        model.resize_token_embeddings(wanted, mean_resizing=False)
    if wanted > native:
        for weight in vocabulary_weights(model):
            _mean_rows(weight, native, wanted)


def vocabulary_weights(model: Any) -> list[Tensor]:
    """Return the parameters that have one row per id: embedding, head and the head's bias, tied ones once."""
    output: Any = model.get_output_embeddings()
    candidates: list[Any] = [model.get_input_embeddings().weight, output.weight, getattr(output, "bias", None)]
    return list({id(weight): weight for weight in candidates if weight is not None}.values())


@torch.no_grad()
def _mean_rows(weight: Tensor, start: int, stop: int) -> None:
    weight[start:stop] = weight[:start].float().mean(dim=0).to(weight.dtype)
