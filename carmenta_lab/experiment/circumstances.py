"""What a measurement was made under: without it a figure is an anecdote."""

import os
import platform
from importlib.metadata import version
from statistics import median
from typing import Any

from sqlalchemy import text

from carmenta_lab.experiment.questions import Questions
from carmenta_lab.postgres.connect import Database

SETTINGS = ("shared_buffers", "work_mem", "max_parallel_workers_per_gather", "jit", "fsync")


def server_circumstances(database: Database) -> dict[str, Any]:
    """Versions, settings and machine, as plain values."""
    with database.owner_session() as session:
        return {
            "indexes": list(
                session.scalars(
                    text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ann\\_%' ORDER BY indexname")
                )
            ),
            "postgres": str(session.scalar(text("SHOW server_version"))),
            "pgvector": str(session.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))),
            "settings": {name: session.scalar(text(f"SHOW {name}")) for name in SETTINGS},
            "carmenta_lab": version("carmenta-lab"),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
        }


def circumstances(database: Database, questions: Questions, strategies: dict[str, str]) -> dict[str, Any]:
    """What a comparison was made under: rows, strategies, server and machine."""
    counts = list(questions.passages.values())
    rows = {
        "users": len(questions.user_names),
        "passages": sum(counts),
        "passages_per_user": median(counts) if counts else 0,
        "strategies": strategies,
    }
    return rows | server_circumstances(database)
