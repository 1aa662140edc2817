"""A table of runs that differ in some options: ``tide matrix``. Imports no torch."""
