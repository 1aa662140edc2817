"""Recipes: a run file becomes several runs, checked together before the first begins."""

from __future__ import annotations
