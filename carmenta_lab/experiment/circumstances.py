"""What a measurement was made under: without it a figure is an anecdote."""

import os
import platform
from importlib.metadata import version
from statistics import median
from typing import Any

from sqlalchemy import text

from carmenta_lab.experiment.questions import Questions
from carmenta_lab.postgres.connect import Database


def circumstances(database: Database, questions: Questions, strategies: dict[str, str]) -> dict[str, Any]:
    """Rows, indexes, versions, settings and machine, as plain values."""
    with database.owner_session() as session:
        server = session.scalar(text("SHOW server_version"))
        pgvector = session.scalar(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'"))
        indexes = session.scalars(
            text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ann\\_%' ORDER BY indexname")
        ).all()
        settings = {
            name: session.scalar(text(f"SHOW {name}"))
            for name in ("shared_buffers", "work_mem", "max_parallel_workers_per_gather", "jit")
        }
    counts = list(questions.passages.values())
    return {
        "users": len(questions.user_names),
        "passages": sum(counts),
        "passages_per_user": median(counts) if counts else 0,
        "indexes": list(indexes),
        "strategies": strategies,
        "postgres": str(server),
        "pgvector": str(pgvector),
        "carmenta_lab": version("carmenta-lab"),
        "python": platform.python_version(),
        "settings": settings,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
