"""Tokenizers: every fast tokenizer of transformers, and the real ones that come in packages.

Import ``HuggingFaceTokenizer`` from ``.huggingface`` and ``load_packaged`` from ``.packaged``.
"""
