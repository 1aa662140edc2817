"""A sandbox for code that a model wrote. Standard library only: its processes import nothing else."""
