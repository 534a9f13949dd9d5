"""Strategies x questions -> results, kept in the database with their circumstances."""

from carmenta_lab.experiment.compare import compare
from carmenta_lab.experiment.comparison import Comparison

__all__ = ["Comparison", "compare"]
