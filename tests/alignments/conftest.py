import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The real tokenizers and the hostile text are those of the tokenizer tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "tokenizers"))
