"""What the tests of loading share: a small folder, a database emptied after each test, and what its rows say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factory import at, document, memory, message, query, rows, write
from sqlalchemy import text

from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.ingest import LoadReport, load
from carmenta_lab.postgres import Database
from carmenta_lab.schema import home

VECTORS = f"search.{table_name(DEFAULT_MODEL)}"

TABLES = (
    *("users", "conversations", "messages", "attachments", "documents", "memories", "profiles"),
    *("search.passages", "lab.datasets", "lab.users", "lab.queries", "lab.qrels", VECTORS),
)


def marks(database: Database, table: str, key: str = "id") -> dict[Any, tuple[str, str]]:
    """Of each row, the transaction that wrote it and its place: they change with every write."""
    return {k: (x, c) for k, x, c in rows(database, f"SELECT {key}, xmin::text, ctid::text FROM {table}")}


def all_marks(database: Database) -> dict[str, list[Any]]:
    """The marks of every row of every table a load writes to."""
    names = (table if "." in table else f"{home(table)}.{table}" for table in TABLES)
    there = [name for name in names if rows(database, "SELECT to_regclass(:name) IS NOT NULL", name=name)[0]]
    return {name: rows(database, f"SELECT xmin::text, ctid::text FROM {name} ORDER BY 2") for name in there}


def content(database: Database, dataset: str = "tiny") -> dict[str, list[Any]]:
    """What a dataset's rows say, keyed by the given ids: equal for equal folders, whatever their names."""
    of_dataset = "lab.users l JOIN lab.datasets d ON d.id = l.dataset_id"
    users = f"SELECT l.user_id FROM {of_dataset} WHERE d.name = :d"
    said = {
        "users": f"SELECT l.external_id, u.name FROM carmenta.users u JOIN {of_dataset} "
        "ON l.user_id = u.id WHERE d.name = :d",
        "conversations": "SELECT external_id, title, status, visibility, started_at, last_message_at "
        f"FROM carmenta.conversations WHERE user_id IN ({users})",
        "messages": "SELECT m.external_id, c.external_id, p.external_id, m.position, m.role, m.author, m.parts, "
        "m.content, m.content_for_llm, m.language, m.created_at FROM carmenta.messages m "
        "JOIN carmenta.conversations c ON c.id = m.conversation_id LEFT JOIN carmenta.messages p "
        f"ON p.id = m.parent_id WHERE m.user_id IN ({users})",
        "attachments": f"SELECT name, media_type, key, size_bytes, sha256 FROM carmenta.attachments "
        f"WHERE user_id IN ({users})",
        "documents": f"SELECT external_id, path::text, name, content, tags FROM carmenta.documents "
        f"WHERE user_id IN ({users})",
        "memories": "SELECT k.external_id, k.content, k.confidence, m.external_id, n.external_id "
        "FROM carmenta.memories k LEFT JOIN carmenta.messages m ON m.id = k.source_message_id "
        f"LEFT JOIN carmenta.memories n ON n.id = k.superseded_by WHERE k.user_id IN ({users})",
        "profiles": f"SELECT content FROM carmenta.profiles WHERE user_id IN ({users})",
        "passages": "SELECT unit, ordinal, content, author, language, created_at, text_search::text "
        f"FROM search.passages WHERE user_id IN ({users})",
        "queries": "SELECT query_id, content, category, asked_at, answers, language FROM lab.queries q "
        "JOIN lab.datasets d ON d.id = q.dataset_id WHERE d.name = :d",
        "qrels": "SELECT query_id, source_kind, relevance FROM lab.qrels q "
        "JOIN lab.datasets d ON d.id = q.dataset_id WHERE d.name = :d",
    }
    return {table: sorted(rows(database, statement, d=dataset), key=repr) for table, statement in said.items()}


def reasons(report: LoadReport) -> list[str]:
    """The rejects as a reader sees them."""
    return [str(reject) for reject in report.rejects]


def load_rows(database: Database, folder: Path, **options: Any) -> LoadReport:
    """A load without vectors."""
    return load(database, folder, models=(), **options)


ADVISORY_LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
)


def positions(database: Database) -> dict[str, int]:
    return dict(rows(database, "SELECT external_id, position FROM carmenta.messages"))


@pytest.fixture
def database(shared: Database) -> Iterator[Database]:
    """The database of this file, emptied after each test."""
    yield shared
    with shared.owner.begin() as connection:
        for table in ("carmenta.users", "lab.datasets"):
            connection.execute(text(f"DELETE FROM {table}"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A little of everything, of two users."""
    sha = "ab" * 32
    file = {"name": "plan.pdf", "media_type": "application/pdf", "bucket": "b", "key": "k/1", "size": 7, "sha256": sha}
    tool = {"type": "tool-search", "input": {"q": "lisbon"}, "output": "found"}
    return write(
        tmp_path / "tiny",
        conversations=[{"conversation_id": "c1", "user_id": "u1", "title": "Moving", "status": "archived"}],
        messages=[
            message("m1", "I moved to Lisbon", attachments=[file]),
            message("m2", parts=[tool, {"type": "text", "text": "Noted."}], role="assistant", author=None),
            message("m3", "and sold the car", parent_id="m2", content_for_llm="sold car"),
            message("m4", "the boiler broke", conversation="c2"),
            message("m5", "bonjour", conversation="c3", user="u2"),
        ],
        memories=[
            memory("k1", "lives in Porto", superseded_by="k2", confidence=0.5),
            memory("k2", "lives in Lisbon", source_message_id="m1", created_at=at(2)),
        ],
        documents=[document("d1", "home.boiler", "bleed it twice", tags=["heat", "home"])],
        profiles=[{"user_id": "u1", "text": "Nora, 41"}],
        queries=[query("q1", "where?", asked_at=at(90), answers=["Lisbon"], category="fact"), query("q2")],
        qrels="q1\tm1\t2\nq1\tk2\t1\nq1\td1\t0\n",
    )


# What becomes of a folder
