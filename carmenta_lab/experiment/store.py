"""Runs, hits and scores into the lab, so that they can be compared, pooled and explained with SQL later."""

from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import insert, text

from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy, jsonb
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema.lab.measurements import LabRun

if TYPE_CHECKING:
    from carmenta_lab.experiment.comparison import Comparison

HIT_COLUMNS = (
    ("run_id", "int4"),
    ("query_id", "text"),
    ("rank", "int4"),
    ("source_id", "uuid"),
    ("source_kind", "text"),
    ("score", "float8"),
    ("parts", "jsonb"),
)
SCORE_COLUMNS = (("run_id", "int4"), ("query_id", "text"), ("measure", "text"), ("value", "float8"))


def store(database: Database, comparison: "Comparison", configs: dict[str, str]) -> dict[str, int]:
    """Keep a comparison; strategy -> the id of its run."""
    kept = {}
    with database.owner.begin() as connection:
        raw = driver(connection)
        for name, executed in comparison.runs.items():
            values = {
                "dataset_id": comparison.questions.dataset_id,
                "strategy": name,
                "config": configs[name],
                "circumstances": comparison.circumstances,
            }
            run = connection.scalar(insert(LabRun).values(values).returning(LabRun.id))
            assert run is not None
            kept[name] = run
            hits = (
                (run, query, h.rank, h.source_id, h.source_kind, h.score, jsonb(dict(h.parts)))
                for query, ranking in executed.run.rankings.items()
                for h in ranking.hits
            )
            copy(raw, psycopg.sql.Identifier("lab", "hits"), HIT_COLUMNS, hits)
            scores = comparison.scores[comparison.scores.strategy == name]
            columns = (scores.query_id.tolist(), scores.measure.tolist(), scores.value.tolist())
            rows = ((run, *row) for row in zip(*columns, strict=True))
            copy(raw, psycopg.sql.Identifier("lab", "scores"), SCORE_COLUMNS, rows)
        connection.execute(text("ANALYZE lab.hits"))
    return kept
