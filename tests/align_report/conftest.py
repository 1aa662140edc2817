import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The real tokenizers are those of the tokenizer tests, the browser that of the documentation's.
for folder in ("tokenizers", "docs", "run"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
