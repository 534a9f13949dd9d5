"""What is searched is dropped and built again: every strategy then ranks as before, and nothing else has changed."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from carmenta_lab import strategies
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.approximate import build, listed
from carmenta_lab.indexing.kinds import KINDS, IVFFlat
from carmenta_lab.indexing.rebuilding import RebuildReport, irreplaceable, rebuild_search
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.migrate import migrate
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval.search import search

ASKED = ("where did we park the bikes", "which allergy does Saga have", "what did we decide about the roof")
NORA = Ids("sample").of("user", "nora")


def _rankings(database: Database, name: str) -> list[Ranking]:
    with database.user_session(NORA) as session:
        return [search(session, strategies.load(name), Query("q", NORA, asked), 50) for asked in ASKED]


def _held(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table of what is searched but vectors and codes, whose last bits a batch decides."""
    with database.owner_session() as session:
        passages = session.execute(text("SELECT * FROM search.passages ORDER BY user_id, id"))
        coded = session.execute(text("SELECT user_id, passage_id FROM search.token_codes ORDER BY 1, 2"))
        statistics = session.execute(text("SELECT * FROM search.lexical_statistics ORDER BY 1, 2, 3, 4"))
        found = {"passages": passages, "token_codes": coded, "lexical_statistics": statistics}
        return {name: [tuple(row) for row in rows] for name, rows in found.items()}


class Built:
    """What was found and held before and after."""

    def __init__(self, database: Database) -> None:
        self.database = database
        table = table_name("all-MiniLM-L6-v2")
        build(database.owner, table, KINDS["halfvec"])
        build(database.owner, table, IVFFlat(3), user=NORA)
        self.held = _held(database)
        rebuild_search(database)  # so that vectors before and after come from the same batches: a batch rounds them
        self.before = {name: _rankings(database, name) for name in strategies.names()}
        with database.owner_session() as session:
            self.indexes = [index.name for index in listed(session)]
        self.done: list[tuple[str, int, int | None]] = []
        self.made: RebuildReport = rebuild_search(database, progress=lambda *said: self.done.append(said))


@pytest.fixture(scope="module")
def built(shared_sample: Database) -> Built:
    return Built(shared_sample)


@pytest.mark.parametrize("name", strategies.names())
def test_each_strategy_ranks_as_before(built: Built, name: str) -> None:
    assert any(ranking.hits for ranking in built.before[name])
    assert _rankings(built.database, name) == built.before[name]


def test_passages_words_and_codes_are_those_that_the_load_made(built: Built) -> None:
    assert _held(built.database) == built.held
    assert built.made.users == built.made.coded_users == 3
    assert built.made.passages == len(built.held["passages"])
    assert built.made.vectors == {"all-MiniLM-L6-v2": len(built.held["passages"])}
    assert {(stage, total) for stage, _, total in built.done} == {("indexing", sum(done for _, done, _ in built.done))}


def test_approximate_indexes_are_built_again(built: Built) -> None:
    with built.database.owner_session() as session:
        assert [index.name for index in listed(session)] == built.indexes == list(built.made.indexes)
    assert len(built.indexes) == 2


def test_what_cannot_be_made_again_is_named_and_lost(own_sample: Database) -> None:
    table = register(own_sample.owner, "a model of somebody else", 3)
    with own_sample.owner_session() as session:
        session.execute(
            text(
                f"INSERT INTO search.{table} (user_id, passage_id, source_id, unit, embedding) "
                "SELECT user_id, id, source_id, unit, '[1,2,3]' FROM search.passages LIMIT 7"
            )
        )
    assert irreplaceable(own_sample) == {"a model of somebody else": 7}
    with own_sample.owner_session() as session:  # one user is enough here
        session.execute(text("DELETE FROM carmenta.users WHERE id <> :nora"), {"nora": NORA})
    assert rebuild_search(own_sample).lost == {"a model of somebody else": 7}
    assert irreplaceable(own_sample) == {}


def _count(database: Database, table: str, user: UUID) -> int:
    with database.owner_session() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table} WHERE user_id = :u"), {"u": user}) or 0


@pytest.mark.parametrize(
    ("erased", "table"),
    [
        ("DELETE FROM carmenta.users WHERE id = :u", "carmenta.messages"),
        (
            "WITH cleared AS (UPDATE carmenta.memories SET source_message_id = NULL WHERE user_id = :u) "
            "DELETE FROM carmenta.messages WHERE user_id = :u",
            "carmenta.messages",
        ),
        ("DELETE FROM carmenta.memories WHERE user_id = :u", "carmenta.memories"),
        ("DELETE FROM search.passages WHERE user_id = :u", "search.passages"),
        ("DELETE FROM carmenta.votes WHERE user_id = :u", "carmenta.votes"),
        ("DELETE FROM lab.queries WHERE user_id = :u", "lab.queries"),
    ],
)
def test_a_load_brings_back_what_others_erased_since(own_sample: Database, erased: str, table: str) -> None:
    before = _count(own_sample, table, NORA)
    assert load(own_sample, "sample").unchanged
    with own_sample.owner_session() as session:
        session.execute(text(erased), {"u": NORA})
    assert before > _count(own_sample, table, NORA) == 0
    assert not load(own_sample, "sample", models=()).unchanged
    assert _count(own_sample, table, NORA) == before
    assert load(own_sample, "sample", models=()).unchanged


def test_a_load_after_what_is_searched_was_dropped_makes_it_again(own_sample: Database) -> None:
    before = _count(own_sample, "search.passages", NORA)
    migrate(own_sample.owner, "search@base")
    migrate(own_sample.owner, "search@head")
    assert not load(own_sample, "sample", models=()).unchanged
    assert _count(own_sample, "search.passages", NORA) == before
    with own_sample.user_session(NORA) as session:
        assert search(session, strategies.load("bm25"), Query("q", NORA, ASKED[0]), 5).hits


def test_what_is_deleted_softly_makes_no_load_start_again_and_again(own_sample: Database) -> None:
    with own_sample.user_session(NORA) as session:
        session.execute(text("UPDATE carmenta.conversations SET deleted_at = now() WHERE user_id = :u"), {"u": NORA})
    assert load(own_sample, "sample", models=()).unchanged
