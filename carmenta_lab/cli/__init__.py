"""The command line: `carmenta-lab`, a file for each group of commands."""

from carmenta_lab.cli.main import app, main

__all__ = ["app", "main"]
