"""Turn the teacher that ``teacher.yaml`` trained into the one that ships: bfloat16, beside this file, in ``teacher/``.

tide run examples/demo/teacher.yaml && python examples/demo/ship_teacher.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
LEFT_BEHIND = shutil.ignore_patterns("model.safetensors", "README.md", "generation_config.json")


def main(source: Path) -> None:
    """Copy the trained student of ``source``; only the weights change, from float32 to bfloat16."""
    target = HERE / "teacher"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=LEFT_BEHIND)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(str(source / "model.safetensors")).items()}
    save_file(weights, str(target / "model.safetensors"), metadata={"format": "pt"})
    size = (target / "model.safetensors").stat().st_size
    print(f"{target}: {sum(t.numel() for t in weights.values()):,} parameters, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/demo-teacher/student"))
