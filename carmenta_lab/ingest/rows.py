"""The rows of a folder: read, checked and brought into the tables, but for what a model has to embed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from carmenta_lab.datasets import Scan
from carmenta_lab.errors import DatasetError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.ingest import domains
from carmenta_lab.ingest.apply import apply
from carmenta_lab.ingest.checks import NO_PARENT, check
from carmenta_lab.ingest.collect import Collector
from carmenta_lab.ingest.domain_rows import apply_domains
from carmenta_lab.ingest.given import Given
from carmenta_lab.ingest.report import LoadReport
from carmenta_lab.ingest.staging import Stage, in_schema, sweep
from carmenta_lab.ingest.stream import Stream
from carmenta_lab.ingest.writer import Writer

Progress = Callable[[str, int, int | None], object]
"""Called with the stage's name, how many rows were done since the last call, and how many there are if known."""


def load_rows(
    engine: Engine,
    connection: Connection,
    raw: psycopg.Connection[Any],
    report: LoadReport,
    digest: str,
    looked: Scan,
    given: Sequence[Given],
    *,
    again: bool,
    progress: Progress,
) -> None:
    """Fill `report` and the tables; transactions of `connection`, whose driver's is `raw`, begin and end here.

    A first load writes conversations while it reads, what it cannot write so passes the stage. What an earlier load
    left is compared with the stage whole, and so is a folder of which a bad line takes its conversation along.
    """
    ids = Ids(report.dataset)
    whole_conversations = digest.endswith("/conversation")

    def claim(owner: psycopg.Connection[Any]) -> None:
        owner.execute(
            "INSERT INTO lab.datasets (id, name, origin) VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET origin = excluded.origin, content_hash = NULL, held = '{}'",
            (ids.dataset, report.dataset, str(report.folder)),
        )

    def written(count: int) -> None:
        progress("writing", count, looked.messages)

    sweep(raw)
    stage = Stage(raw, f"stage_{ids.dataset.hex}", domains.TABLES)
    try:
        collector = Collector(report.folder, ids, stage, lambda count: progress("reading", count, None))
        with ExitStack() as streaming:
            if not again and not whole_conversations:
                writer = streaming.enter_context(Writer(engine, ids.dataset, report.dataset, given, claim))
                collector.stream = Stream(looked, writer, collector.describe, collector.leave, written)
            collector.collect()
        if not collector.users:
            first = f" The first: {collector.rejects[0]}." if collector.rejects else ""
            raise DatasetError(f"{report.folder} holds no line that can be loaded.{first}")
        streamed = collector.stream
        found, report.mended = check(
            raw, ids, collector.rejects, whole_conversations=whole_conversations, written=streamed is not None
        )
        others = domains.Domains(raw, report.folder, ids)
        others.stage()
        claim(raw)
        commit(connection)
        report.changes = apply(
            raw, ids.dataset, report.dataset, again, lambda: commit(connection), _others(engine, stage), written
        )
        found += [*others.rejects, *apply_domains(raw, ids.dataset, again, report.changes)]
        report.rejects = sorted([*collector.rejects, *found], key=lambda reject: (reject.file, reject.line))
        for each in given:
            report.given[each.vectors.model] = each.write_staged(raw)
        counts = {table: _count(raw, table) for table in COUNTED}
        if streamed is not None:
            for table, added in streamed.writer.changes.items():
                report.changes.count(table, **added)
                if table in ("conversations", "messages"):
                    counts[table] += added["added"]
            for model, vectors in streamed.writer.vectors.items():
                report.given[model] += vectors
            if streamed.mended:
                report.mended[NO_PARENT] = report.mended.get(NO_PARENT, 0) + streamed.mended
        raw.execute(
            "UPDATE lab.datasets SET content_hash = %s, counts = %s, loaded_at = now() WHERE id = %s",
            (digest, psycopg.types.json.Jsonb(counts | {"rejects": len(report.rejects)}), ids.dataset),
        )
    except BaseException:
        stage.stop()
        raw.rollback()
        connection.rollback()
        connection.begin()
        raise
    finally:
        stage.drop()
    commit(connection)


COUNTED = (
    *("users", "conversations", "messages", "documents", "memories", "profiles", "queries", "qrels"),
    *("artifacts", "votes", "feedback", "tags"),
)


def commit(connection: Connection) -> None:
    """End the transaction and begin the next, as the owner again."""
    connection.commit()
    connection.begin()


def _others(engine: Engine, stage: Stage) -> Callable[[], Any]:
    """Transactions of their own that find the stage."""

    @contextmanager
    def another() -> Iterator[psycopg.Connection[Any]]:
        with engine.begin() as worker:
            other = worker.connection.driver_connection
            assert isinstance(other, psycopg.Connection)
            other.execute(in_schema(stage.schema, local=True))
            other.execute(UNNOTED, (True,))
            yield other

    return another


def _count(raw: psycopg.Connection[Any], table: str) -> int:
    row = raw.execute(f"SELECT count(*) FROM stage_{table}").fetchone()
    return int(row[0]) if row else 0
