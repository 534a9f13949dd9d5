"""A dataset folder into the database."""

from carmenta_lab.ingest.load import LoadReport, load

__all__ = ["LoadReport", "load"]
