"""Strategies x questions -> results, kept in the database with their circumstances."""

from carmenta_lab.experiment.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
