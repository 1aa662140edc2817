import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for folder in ("docs", "run"):  # the browser, and the tiny runs
    sys.path.append(str(Path(__file__).parents[1] / folder))
