"""What is kept of a comparison: runs, hits and scores in the lab, and the JSON that a later run is held against."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from sqlalchemy import insert, text

from carmenta_lab.errors import UsageError
from carmenta_lab.evaluation.bootstrap import TIE
from carmenta_lab.experiment.comparison import Comparison
from carmenta_lab.experiment.questions import Questions
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy, jsonb
from carmenta_lab.postgres.statement import driver
from carmenta_lab.schema.lab.measurements import LabRun

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


def store(database: Database, comparison: Comparison) -> dict[str, int]:
    """Store a comparison in the schema `lab`, for SQL to pool and compare.

    Returns the id of the run of each strategy.
    """
    kept = {}
    with database.owner.begin() as connection:
        raw = driver(connection)
        for name, executed in comparison.runs.items():
            values = {
                "dataset_id": comparison.questions.dataset_id,
                "strategy": name,
                "config": comparison.circumstances["strategies"][name],
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


@dataclass(frozen=True)
class EarlierRun:
    """A comparison made before, as its JSON file says."""

    path: Path
    dataset: str
    measures: tuple[str, ...]
    k: int
    fingerprint: str
    scores: pd.DataFrame  # strategy, query_id, measure, value

    def check(self, dataset: str, strategies: Sequence[str], measures: Sequence[str], k: int) -> None:
        """UsageError unless a comparison of these can be compared with the earlier one."""
        if dataset != self.dataset:
            raise UsageError(f"{self.path} is a run on the dataset {self.dataset}; this one is on {dataset}.")
        if lacking := [measure for measure in measures if measure not in self.measures]:
            raise UsageError(
                f"{self.path} has no {', '.join(lacking)}, only {', '.join(self.measures)}: "
                "compare with --measures that it has, or make it anew."
            )
        if k != self.k:
            raise UsageError(f"{self.path} is a run with k = {self.k}; this one has k = {k}: use the same.")
        known = self.scores.strategy.unique().tolist()
        if not set(known) & set(strategies):
            raise UsageError(f"{self.path} has none of {', '.join(strategies)}; it has {', '.join(known)}.")

    def check_questions(self, questions: Questions) -> None:
        """UsageError when the questions or their judgements have changed since the earlier comparison."""
        if questions.fingerprint() != self.fingerprint:
            raise UsageError(
                f"{self.path} was made with other questions or judgements than {questions.dataset} has now: "
                f"make it anew with `carmenta-lab compare --dataset {questions.dataset} --json {self.path}`."
            )


def read_earlier(path: Path) -> EarlierRun:
    """The earlier comparison in a JSON file; UsageError when the file is missing or holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the baseline {path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise UsageError(f"the baseline {path} is no JSON: {error}.") from None
    try:
        return _earlier(path, found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"the baseline {path} is no result of `carmenta-lab compare --json` with scores per question "
            f"({type(error).__name__}: {error}): make it anew."
        ) from None


def _earlier(path: Path, found: dict[str, Any]) -> EarlierRun:
    ids = found["questions"]["ids"]
    rows = [
        (strategy, query_id, measure, float(value))
        for strategy, entry in found["strategies"].items()
        for measure, values in entry["scores"].items()
        for query_id, value in zip(ids, values, strict=True)
        if value is not None
    ]
    scores = pd.DataFrame(rows, columns=["strategy", "query_id", "measure", "value"])
    measures, k = tuple(found["measures"]), int(found["circumstances"]["k"])
    return EarlierRun(path, found["dataset"], measures, k, found["questions"]["fingerprint"], scores)


def worse(comparison: Comparison, allowed: float) -> list[str]:
    """A sentence for every strategy and measure whose mean is lower than the baseline's by more than `allowed`.

    With a file as the baseline each strategy is held against itself in that run, else against the baseline
    strategy of the same run. UsageError when `allowed` is not 0 to 1.
    """
    if not 0 <= allowed <= 1:
        raise UsageError(f"what may be lost must be 0 to 1, not {allowed}.")
    earlier = comparison.circumstances["earlier"]
    table = comparison.differences if earlier is None else comparison.changes
    than = f"in {earlier}" if earlier is not None else f"that of {comparison.circumstances['baseline']}"
    return [
        f"{row['measure']} of {row['strategy']} is {-row['mean']:.3f} lower than {than} "
        f"(95 % interval of the difference {row['low']:+.3f} to {row['high']:+.3f}; {allowed:g} is allowed)."
        for row in table.to_dict(orient="records")
        if row["mean"] < -allowed - TIE
    ]
