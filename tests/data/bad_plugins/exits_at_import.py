"""A plugin that ends the program when imported."""

from __future__ import annotations

import sys

sys.exit("good bye")
