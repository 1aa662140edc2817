"""The report of a matrix of runs: what each objective changed, how sure that is, and what is not known. No torch."""

from .options import ReportOptions
from .writing import ReportFiles, write_report

__all__ = ["ReportFiles", "ReportOptions", "write_report"]
