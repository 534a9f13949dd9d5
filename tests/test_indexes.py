"""Approximate indexes: built, dropped, sized; the memory they need; and the bench that says when they pay."""

import re
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from carmenta_lab.bench.crossover import Crossover, crossings, crossover
from carmenta_lab.errors import UsageError
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.approximate import MB, GraphMemoryWarning
from carmenta_lab.indexing.kinds import HNSW, KINDS, IndexKind, IVFFlat, lists_for
from carmenta_lab.indexing.vectors import register
from carmenta_lab.postgres import Database

DIM = 64
ROWS = 4_000


@pytest.fixture(scope="module")
def database(shared: Database) -> Database:
    """A database of this file."""
    return shared


@pytest.fixture(scope="module")
def many(database: Database) -> tuple[str, UUID]:
    """A table of vectors without indexes, and the user who owns half of them."""
    table = register(database.owner, "tiny", DIM)
    big, other = uuid4(), uuid4()
    with database.owner.begin() as connection:
        for user, rows in ((big, ROWS // 2), (other, ROWS - ROWS // 2)):
            parameters = {"u": user, "n": rows, "d": DIM}
            connection.execute(text("INSERT INTO carmenta.users (id) VALUES (:u)"), parameters)
            connection.execute(
                text(
                    "INSERT INTO carmenta.memories (user_id, id, category, content) "
                    "SELECT :u, gen_random_uuid(), 'knowledge', 'x' FROM generate_series(1, :n)"
                ),
                parameters,
            )
            connection.execute(
                text(
                    "INSERT INTO search.passages (user_id, id, unit, ordinal, content, memory_id) "
                    "SELECT user_id, id, 'memory', 0, 'x', id FROM carmenta.memories WHERE user_id = :u"
                ),
                parameters,
            )
            connection.execute(
                text(
                    f"INSERT INTO search.{table} SELECT user_id, id, id, NULL, 'memory', v.v::halfvec "
                    "FROM search.passages p, LATERAL (SELECT array_agg(random() - 0.5) AS v "
                    "FROM generate_series(1, :d) WHERE p.id IS NOT NULL) AS v WHERE user_id = :u"
                ),
                parameters,
            )
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE search.{table}")
    return table, big


def sizes(database: Database, table: str) -> dict[IndexKind, int]:
    """Bytes of each kind."""
    with database.owner_session() as session:
        return {kind: approximate.size_bytes(session, table, kind) for kind in KINDS}


def test_every_kind_is_built_once_listed_and_dropped(database: Database, many: tuple[str, UUID]) -> None:
    table, _ = many
    for concurrently in (False, True):
        for index in KINDS.values():
            approximate.build(database.owner, table, index, concurrently)
            approximate.build(database.owner, table, index, concurrently)  # is there
        with database.owner_session() as session:
            found = approximate.listed(session)
        assert {index.name for index in found} == {approximate.name(table, kind) for kind in KINDS}
        assert [index.table for index in found] == [table] * 4
        assert {index.method for index in found} == {"hnsw", "ivfflat"}
        assert all(index.finished for index in found)
        for kind, size in sizes(database, table).items():
            assert size > 100_000, kind
            approximate.drop(database.owner, table, kind)
            approximate.drop(database.owner, table, kind)  # is gone
        assert set(sizes(database, table).values()) == {0}


def test_each_kind_indexes_an_expression_of_its_own(database: Database, many: tuple[str, UUID]) -> None:
    table, _ = many
    for index in KINDS.values():
        approximate.build(database.owner, table, index)
    with database.owner_session() as session:
        found = session.scalars(
            text("SELECT pg_get_indexdef(indexrelid, 1, true) FROM pg_index WHERE indrelid = CAST(:t AS regclass)"),
            {"t": f"search.{table}"},
        ).all()
    for kind in KINDS:
        approximate.drop(database.owner, table, kind)
    assert len(found) == len(KINDS) + 1  # and the key
    assert len({*found}) == len(found)


def test_half_precision_takes_little_more_than_half_the_size_of_floats_and_signs_a_fraction(database: Database) -> None:
    """At 384 dimensions, where a page holds several nodes; the ratio is one of layout, not of rows."""
    table = register(database.owner, "wide", 384)
    with database.owner.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE search.{table} DROP CONSTRAINT fk_{table}_passage")
        connection.exec_driver_sql(
            f"INSERT INTO search.{table} SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), NULL, "
            "'memory', v.v::halfvec FROM generate_series(1, 1500) AS n, LATERAL (SELECT array_agg(random() - 0.5) AS v "
            "FROM generate_series(1, 384) WHERE n > 0) AS v"
        )
    for kind in ("hnsw", "halfvec", "binary"):
        approximate.build(database.owner, table, KINDS[kind])
    found = sizes(database, table)
    assert found["halfvec"] <= 0.6 * found["hnsw"]
    assert found["binary"] <= 0.2 * found["hnsw"]


def test_an_index_over_the_rows_of_one_user_is_smaller_and_another_one(
    database: Database, many: tuple[str, UUID]
) -> None:
    table, user = many
    index = KINDS["halfvec"]
    approximate.build(database.owner, table, index)
    approximate.build(database.owner, table, index, user=user)
    with database.owner_session() as session:
        common, own = (approximate.size_bytes(session, table, "halfvec", of) for of in (None, user))
        assert approximate.present(session, table, "halfvec", user)
        assert not approximate.present(session, table, "halfvec", uuid4())
    assert 0 < own < common / 1.5
    approximate.drop(database.owner, table, "halfvec", user)
    with database.owner_session() as session:
        assert not approximate.present(session, table, "halfvec", user)
        assert approximate.present(session, table, "halfvec")
    approximate.drop(database.owner, table, "halfvec")


def test_ivfflat_gets_the_memory_without_which_the_server_refuses_it(
    database: Database, many: tuple[str, UUID]
) -> None:
    table, _ = many
    index = IVFFlat(lists=200)
    with database.owner.connect() as connection:
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '1MB'")
        with pytest.raises(DBAPIError, match=r"memory required is \d+ MB") as refused:
            connection.exec_driver_sql(f"CREATE INDEX ON search.{table} {index.definition(ROWS, DIM)}")
    needs = int(str(refused.value).split("required is ")[1].split()[0])
    assert needs - 1 <= index.memory_bytes(ROWS, DIM) / MB  # of a whole sample, which is more than this table holds
    approximate.build(database.owner, table, index, memory_mb=1)
    approximate.drop(database.owner, table, "ivfflat")


@pytest.mark.parametrize("index", [KINDS["hnsw"], KINDS["halfvec"], KINDS["binary"], HNSW(32, 64, "halfvec")], ids=repr)
def test_the_memory_of_a_graph_is_foretold_as_the_server_finds_it(
    database: Database, many: tuple[str, UUID], index: HNSW
) -> None:
    """The server tells after how many rows its memory was full: the estimate for so many rows is that memory."""
    table, _ = many
    said: list[str] = []
    with database.owner.connect() as connection, connection.begin() as transaction:
        raw: Any = connection.connection.driver_connection
        raw.add_notice_handler(lambda notice: said.append(notice.message_primary))
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '2MB'")
        connection.exec_driver_sql(f"CREATE INDEX ON search.{table} {index.definition(ROWS, DIM)}")
        transaction.rollback()
    rows = int(re.search(r"after (\d+) tuples", said[0])[1])  # type: ignore[index]
    assert index.memory_bytes(rows, DIM) == pytest.approx(2 * MB, rel=0.1)


def test_a_graph_that_does_not_fit_is_built_with_a_warning_that_says_what_would_do(
    database: Database, many: tuple[str, UUID]
) -> None:
    table, user = many
    index = KINDS["halfvec"]
    needs = index.memory_bytes(ROWS, DIM) / MB
    for concurrently in (False, True):
        with pytest.warns(GraphMemoryWarning, match=r"4,000 rows .* maintenance_work_mem is 2 MB, .*: give it") as said:
            approximate.build(database.owner, table, index, concurrently, memory_mb=2)
        enough = int(re.search(r"give it (\d+) MB", str(said[0].message))[1])  # type: ignore[index]
        assert needs < enough < 1.3 * needs
        approximate.drop(database.owner, table, "halfvec")
        approximate.build(database.owner, table, index, concurrently, memory_mb=enough)  # a warning would be an error
        approximate.drop(database.owner, table, "halfvec")
    with pytest.warns(GraphMemoryWarning, match="over 2,000 rows"):
        approximate.build(database.owner, table, index, user=user, memory_mb=1)
    approximate.drop(database.owner, table, "halfvec", user)
    with database.owner.connect() as connection:
        assert connection.scalar(text("SHOW maintenance_work_mem")) != "2MB"


@pytest.mark.parametrize(("rows", "lists"), [(0, 1), (999, 1), (5_000, 5), (1_000_000, 1000), (4_000_000, 2000)])
def test_lists_follow_the_documented_rule(rows: int, lists: int) -> None:
    assert lists_for(rows) == lists
    assert IVFFlat().definition(rows, DIM).endswith(f"WITH (lists = {lists})")
    assert IVFFlat(lists=7).definition(rows, DIM).endswith("WITH (lists = 7)")


@pytest.mark.parametrize("lists", [0, 32_769])
def test_lists_out_of_range_are_refused(lists: int) -> None:
    with pytest.raises(UsageError, match=f"IVFFlat needs 1 to 32768 lists; found {lists}"):
        IVFFlat(lists)


def test_the_application_builds_no_index(database: Database, many: tuple[str, UUID]) -> None:
    with pytest.raises(DBAPIError, match="must be owner of table"):
        approximate.build(database.app, many[0], KINDS["halfvec"])


def test_names_fit_and_differ() -> None:
    table = "embeddings_" + "x" * 40
    users = [uuid4() for _ in range(3)]
    found = [approximate.name(table, kind, user) for kind in KINDS for user in (None, *users)]
    assert len({*found}) == len(found)
    assert all(len(name) <= 63 and name.startswith("ann_") for name in found)


# The bench


def measured(kind: str, *rows: tuple[int, float, float]) -> list[Crossover]:
    """Results of an index by size: its time over the exact one's, and recall."""
    return [Crossover(f"crossover_{kind}_{n}", 1.0, ratio, n, 5, "exact", recall=recall) for n, ratio, recall in rows]


def test_the_crossing_lies_where_the_ratio_is_one() -> None:
    curve = measured("halfvec", (1_000, 16.0, 1.0), (2_000, 4.0, 1.0), (8_000, 0.25, 1.0))
    # between 2,000 and 8,000 the ratio falls 16 times while the rows grow 4 times: ratio = 4 (rows / 2,000) ** -2
    assert [(found.name, found.rows) for found in crossings(curve)] == [("crossover_halfvec", 4_000)]


def test_an_index_that_misses_too_much_or_never_wins_has_no_crossing_there() -> None:
    assert crossings(measured("hnsw", (1_000, 3.0, 1.0), (2_000, 1.1, 1.0))) == []
    assert crossings(measured("hnsw", (1_000, 0.5, 0.9), (2_000, 0.5, 0.94))) == []
    assert [r.rows for r in crossings(measured("hnsw", (1_000, 0.5, 0.9), (2_000, 0.5, 0.95)))] == [2_000]


def test_the_bench_measures_every_index_for_every_size_and_leaves_nothing(fresh: Database) -> None:
    with fresh.owner.begin() as connection:
        before = connection.scalar(text("SELECT count(*) FROM pg_class WHERE relname LIKE 'ann%'"))
    found = crossover(fresh, 1_000, 1, 7)
    for kind in (*KINDS, "own", "counting"):
        sizes = [result.rows for result in found if result.name.startswith(f"crossover_{kind}_")]
        assert sizes == [10, 20, 50, 100, 200, 500]
    recalls = [r.recall for r in found if r.name.startswith("crossover_halfvec_")]
    assert np.mean(recalls) > 0.9
    assert all(0 < r.recall <= 1 and r.to_json()["recall"] == r.recall for r in found)
    with fresh.owner.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM carmenta.users")) == 0
        assert connection.scalar(text("SELECT count(*) FROM pg_class WHERE relname LIKE 'ann%'")) == before
