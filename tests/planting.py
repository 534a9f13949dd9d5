"""Rows for one user in every table of users, made from the metadata: a new table is tested by existing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Integer,
    LargeBinary,
    Table,
    Uuid,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import Session

from carmenta_lab.schema import metadata
from carmenta_lab.schema.base import PRODUCT, SEARCH
from carmenta_lab.schema.lab.measurements import datasets, hits, loaded, loaded_users, qrels, queries, runs, scores
from carmenta_lab.schema.product.identity import sign_ins
from carmenta_lab.schema.search.passages import embedding_table
from carmenta_lab.schema.vector import Ltree

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODYS = {"embedding_models", "sign_ins"}
"""Tables whose rows belong to no user; a sign-in is planted all the same, as an account needs one."""

DERIVED = tuple(
    table.name
    for table in metadata.sorted_tables
    if table.schema == SEARCH and table.name not in {"passages", "token_codes", *NOBODYS}
)
"""Tables that are filled from passages, or by notes of rows that were written."""

LAST = object()
"""Stands for the parent's last row."""

TARGETS = {"target_artifact_id", "target_artifact_created_at", "conversation_id", "message_id", "document_id"}

CHOSEN: dict[str, list[dict[str, Any]]] = {
    "users": [{"kind": "registered"}],
    "sessions": [{"expires_at": datetime(2999, 1, 1, tzinfo=UTC)}],
    "service_connections": [{"status": "active"}],
    "conversations": [{"status": "active", "visibility": "private"}],
    "messages": [{"role": "user", "parent_id": None}, {"role": "assistant", "position": 3}],
    "memories": [
        {"category": "personal", "review_status": "confirmed", "superseded_by": None},
        {"category": "decision", "review_status": "unreviewed"},
    ],
    "feedback_signals": [{"kind": "session_duration"}, {"kind": "copy", "duration_s": None}],
    "artifacts": [
        {"kind": "ag-ui"},
        {"kind": "text", "component_tree": None, "data_bindings": None, "ui_state": None},
    ],
    "artifact_references": [
        {"relation": "cites", **dict.fromkeys(sorted(TARGETS - set(one)))}
        for one in (
            ("target_artifact_id", "target_artifact_created_at"),
            *(("conversation_id",), ("message_id",), ("document_id",)),
        )
    ],
    "background_queries": [
        {"status": "completed", "worker": None, "lease_until": None},
        {"status": "running", "finished_at": None, "result": None, "attempts": 1},
    ],
    "documents": [{}, {"path": "another.document"}],
    "passages": [
        {"unit": unit, **dict.fromkeys({"message_id", "memory_id", "document_id"} - {one})}
        for unit, one in (("turn", "message_id"), ("memory", "memory_id"), ("section", "document_id"))
    ]
    + [{"unit": "turn", "memory_id": None, "document_id": None, "message_id": LAST}],
    "token_codes": [{"codes": [bytes(48)], "question_codes": []}],
}  # fmt: skip
"""Table -> what the constraints demand of each of its rows; the rest is made up."""

Planted = dict[str, list[dict[str, Any]]]


def user_tables(schemas: tuple[str, ...] = (PRODUCT, SEARCH)) -> list[Table]:
    """Every table of the product, and of what is searched, whose rows belong to a user, parents first."""
    found = [t for t in metadata.sorted_tables if t.schema in schemas and t.name not in NOBODYS]
    return sorted(found, key=lambda table: table.name == "events")  # which name conversations without a key


def plant(
    session: Session,
    user: UUID,
    secret: str,
    vectors: str | None = None,
    dim: int = 3,
    schemas: tuple[str, ...] = (PRODUCT, SEARCH),
) -> Planted:
    """Rows of `user` in every table; `secret` in every text and jsonb that the constraints leave free.

    Children refer to their parent's first row, targets are its last, and a row of the same table is the one before.
    """
    made: Planted = {}
    for table in ([sign_ins] if PRODUCT in schemas else []) + user_tables(schemas):
        if table.name in DERIVED:
            continue
        for chosen in CHOSEN.get(table.name, [{}]):
            row = {
                column.name: chosen[column.name]
                if column.name in chosen and chosen[column.name] is not LAST
                else _value(column, user, secret, made, column.name in chosen)
                for column in table.columns
                if column.computed is None
            }
            session.execute(insert(table).values(row))
            made.setdefault(table.name, []).append(row)
    if SEARCH in schemas:
        for made_of in (
            "index_words(:user, ARRAY(SELECT id FROM search.passages WHERE user_id = :user))",
            "merge_words(:user)",
        ):
            session.execute(text(f"SELECT search.{made_of}"), {"user": user})
    for table in [t for t in user_tables(schemas) if t.name in DERIVED]:
        rows = session.execute(select(table).where(table.c.user_id == user))
        made[table.name] = [dict(row._mapping) for row in rows]
    if vectors is not None:
        passage = made["passages"][0]
        values = {"user_id": user, "passage_id": passage["id"], "source_id": passage["message_id"], "unit": "turn"}
        made[vectors] = [values | {"embedding": np.ones(dim, np.float32)}]
        session.execute(insert(embedding_table(vectors, dim)).values(made[vectors][0]))
    return made


def plant_lab(session: Session, user: UUID, word: str, dataset: UUID, source: UUID) -> None:
    """A loaded user with a judged question that a run answered; `word` in every text, `source` is what was found."""
    if session.scalar(select(datasets.c.id).where(datasets.c.id == dataset)) is None:
        session.execute(insert(datasets).values(id=dataset, name="planted", origin="/data/planted"))
    run = session.scalar(select(runs.c.id).where(runs.c.dataset_id == dataset))
    if run is None:
        kept = {"dataset_id": dataset, "strategy": "s", "config": "c", "circumstances": {}}
        run = session.scalar(insert(runs).values(kept).returning(runs.c.id))
    of_query = {"dataset_id": dataset, "query_id": f"about {word}"}
    of_run = {"run_id": run, "query_id": f"about {word}"}
    found = {"source_id": source, "source_kind": "message"}
    session.execute(insert(loaded_users).values(dataset_id=dataset, user_id=user, external_id=word))
    session.execute(insert(queries).values(**of_query, user_id=user, content=word, position=1, answers=[word]))
    session.execute(insert(qrels).values(**of_query, **found, relevance=1))
    held = {"dataset_id": dataset, "table_name": "votes", "user_id": user, "row_id": source, "other_id": source}
    session.execute(insert(loaded).values(held))
    session.execute(insert(hits).values(**of_run, **found, rank=1, score=1, parts={}))
    session.execute(insert(scores).values(**of_run, measure="recall@1", value=1))
    number = session.scalar(select(func.count()).select_from(queries))
    session.execute(
        text(
            "UPDATE lab.runs SET circumstances = circumstances "
            "|| jsonb_build_object(CAST(:key AS text), CAST(:index AS text))"
        ),
        {"key": f"index {number}", "index": f"WHERE user_id = '{user}'"},
    )


def _value(column: Column[Any], user: UUID, secret: str, made: Planted, last: bool = False) -> Any:
    assert isinstance(column.table, Table)
    table = column.table.name
    if (table, column.name) == ("users", "id") or column.name == "user_id":
        return user
    for key in column.foreign_keys:
        parents = made.get(key.column.table.name, [])
        if parents:
            last = last or key.column.table is column.table or column.name.startswith("target_")
            return parents[-1 if last else 0][key.column.name]
    kind = column.type
    if (table, column.name) == ("events", "conversation_id") and "conversations" in made:  # no key says so
        return made["conversations"][0]["id"]
    if isinstance(kind, Uuid):
        return uuid4()
    if isinstance(kind, Ltree):
        return f"{secret}.{table}"
    if isinstance(kind, JSONB):
        inner = {"note": f"{secret} {table}.{column.name}"}
        checks = [str(c.sqltext) for c in column.table.constraints if isinstance(c, CheckConstraint)]
        return [inner] if f"jsonb_typeof({column.name}) = 'array'" in checks else inner
    if isinstance(kind, TIMESTAMP):
        return None if column.name == "deleted_at" else NOW + timedelta(seconds=len(made))
    if isinstance(kind, ARRAY):
        return [2] if isinstance(kind.item_type, Integer) else [f"{secret} {table}.{column.name}"]
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, Integer):
        return 2
    if isinstance(kind, Float):
        return 0.5
    if isinstance(kind, LargeBinary):
        return uuid4().bytes * 2
    return f"{secret} {table}.{column.name} {secret}?"
