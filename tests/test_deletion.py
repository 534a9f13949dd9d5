"""What is deleted softly is found by nobody, and found as before once that is undone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from carmenta_lab import User, app, load, strategies
from carmenta_lab.app import artifacts, conversations, knowledge, memory, operations
from carmenta_lab.context import assemble
from carmenta_lab.errors import UnknownName
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.lacking import repair
from carmenta_lab.indexing.passages import as_written, utc_offset
from carmenta_lab.names import find_conversation, find_user
from carmenta_lab.postgres import Database
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import search
from carmenta_lab.schema.product.conversations import conversations as conversations_table
from carmenta_lab.schema.product.conversations import messages
from carmenta_lab.schema.product.knowledge import documents
from carmenta_lab.schema.product.memory import memories

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NORA = Ids("sample").of("user", "nora")
DELETED = {
    "message": (messages, "message", "nora-c09-m30"),
    "conversation": (conversations_table, "conversation", "nora-c02"),
    "memory": (memories, "memory", "nora-k12"),
    "document": (documents, "document", "nora-d03"),
}
"""What is deleted -> its table, the kind of its id and the id as the sample gives it."""


def _id(what: str) -> UUID:
    _, kind, given = DELETED[what]
    return Ids("sample").of(kind, given)


def _sources(session: Session, what: str) -> list[tuple[UUID, str]]:
    """What a search could find of it, with the words it says."""
    table, _, _ = DELETED[what]
    if table is conversations_table:
        rows = session.execute(select(messages.c.id, messages.c.content).where(messages.c.conversation_id == _id(what)))
    else:
        rows = session.execute(select(table.c.id, table.c.content).where(table.c.id == _id(what)))
    found = [(id, " ".join(re.findall(r"\w+", content)[:6])) for id, content in rows]
    assert found
    return found[:5]


def _delete(database: Database, what: str) -> None:
    assert getattr(app, f"delete_{what}")(User(database, NORA), _id(what))


def _undelete(database: Database, what: str) -> None:
    assert getattr(app, f"undelete_{what}")(User(database, NORA), _id(what))


def _rankings(database: Database, name: str, queries: list[str]) -> list[Ranking]:
    with database.user_session(NORA) as session:
        return [search(session, strategies.load(name), Query("q", NORA, asked), 100) for asked in queries]


class Undone(NamedTuple):
    """What the strategies found, by name: before a deletion, during it, and after it was undone."""

    ids: set[UUID]  # of the sources that were deleted
    before: dict[str, list[Ranking]]
    during: dict[str, list[Ranking]]
    after: dict[str, list[Ranking]]


@pytest.fixture(scope="module")
def undone(shared_sample: Database) -> Undone:
    with shared_sample.owner_session() as session:
        said = [source for what in DELETED for source in _sources(session, what)]
    ids, queries = {id for id, _ in said}, [words for _, words in said]

    def found() -> dict[str, list[Ranking]]:
        return {name: _rankings(shared_sample, name, queries) for name in strategies.names()}

    def deleted_and_undone() -> dict[str, list[Ranking]]:
        for what in DELETED:
            _delete(shared_sample, what)
        during = found()
        for what in DELETED:
            _undelete(shared_sample, what)
        assert repair(shared_sample, NORA) == (0, 0)
        return during

    deleted_and_undone()  # so that vectors before and after come from the same batches: a batch rounds them
    before = found()
    during = deleted_and_undone()
    return Undone(ids, before, during, found())


@pytest.mark.parametrize("name", strategies.names())
def test_no_strategy_finds_what_is_deleted_and_each_ranks_as_before_once_it_is_undone(
    undone: Undone, name: str
) -> None:
    assert undone.ids & {hit.source_id for ranking in undone.before[name] for hit in ranking.hits}
    for ranking in undone.during[name]:
        assert not undone.ids & {hit.source_id for hit in ranking.hits}
    assert undone.after[name] == undone.before[name]


PASSAGES = "SELECT * FROM search.passages ORDER BY user_id, id"


def _passages(database: Database) -> list[Any]:
    with database.owner_session() as session:
        return [tuple(row) for row in session.execute(text(PASSAGES))]


def test_every_passage_of_a_user_is_cut_again_as_the_loader_cut_it(own_sample: Database) -> None:
    """Ids hold text, time, author and language, dates are the writer's."""
    before = _passages(own_sample)
    with own_sample.owner_session() as session:
        session.execute(text("DELETE FROM search.passages WHERE user_id = :user"), {"user": NORA})
    assert repair(own_sample, NORA, models=()).passages > 400
    assert _passages(own_sample) == before


def test_a_changed_folder_brings_nothing_deleted_back(own_sample: Database, tmp_path: Any) -> None:
    """The loader writes passages too, as the owner."""
    import shutil

    from carmenta_lab import resources

    for what in DELETED:
        _delete(own_sample, what)
    hidden = _passages(own_sample)
    folder = tmp_path / "sample"
    shutil.copytree(resources.datasets() / "sample", folder)
    with (folder / "messages.jsonl").open("a") as file:
        file.write(
            '{"message_id": "new", "conversation_id": "nora-c01", "user_id": "nora", "role": "user", '
            '"created_at": "2026-01-01T00:00:00Z", "text": "a new message"}\n'
        )
    with own_sample.owner_session() as session:
        session.execute(text("UPDATE lab.datasets SET origin = '/nowhere'"))
    report = load(own_sample, folder)
    assert report.changes["messages"]["added"] == 1
    assert len(_passages(own_sample)) == len(hidden) + 1


def test_rows_that_the_application_wrote_become_searchable(own_sample: Database) -> None:
    conversation = Ids("sample").of("conversation", "nora-c01")
    row = {"user_id": NORA, "id": uuid4(), "conversation_id": conversation, "position": 9_999, "role": "user"}
    with own_sample.user_session(NORA) as session:
        session.execute(messages.insert().values(**row, content="The zeppelin leaves from hangar nine " * 60))
        fact = {"user_id": NORA, "id": uuid4(), "category": "personal", "created_at": NOW, "utc_offset": 120}
        session.execute(memories.insert().values(**fact, content="Owns a zeppelin."))
    made = repair(own_sample, NORA)
    assert made.passages > 2  # the long message becomes several
    ranking = _rankings(own_sample, "vector_exact", ["zeppelin hangar"])[0]
    assert {hit.source_id for hit in ranking.hits[:2]} == {row["id"], fact["id"]}
    with own_sample.user_session(NORA) as session:
        shown = session.scalars(
            text("SELECT content FROM search.passages WHERE memory_id = :id"), {"id": fact["id"]}
        ).all()
    assert shown == ["[2026-03-01] Owns a zeppelin."]


def test_one_user_neither_indexes_nor_unindexes_rows_of_another(own_sample: Database) -> None:
    tomasz = find_user(own_sample, "tomasz")
    with own_sample.owner_session() as session:
        session.execute(text("DELETE FROM search.passages"))
    made = repair(own_sample, tomasz, models=())
    assert made.passages > 400
    with own_sample.owner_session() as session:
        whose = text("SELECT DISTINCT user_id FROM search.passages")
        assert session.scalars(whose).all() == [tomasz]
    before = _passages(own_sample)
    _delete(own_sample, "conversation")
    assert _passages(own_sample) == before


@pytest.fixture
def bin_(own_sample: Database) -> Iterator[tuple[Session, Database]]:
    """A session for nora in which all of `DELETED` is deleted, one artifact refers to each of it, a query awaits."""
    with own_sample.user_session(NORA) as session:
        made, targets = uuid4(), {f"{what}_id": _id(what) for what in ("message", "conversation", "document")}
        row = {"user": NORA, "id": made, "now": NOW}
        session.execute(
            text(
                "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title) "
                "VALUES (:user, :id, :now, 'text', 't')"
            ),
            row,
        )
        for column, target in targets.items():
            session.execute(
                text(
                    "INSERT INTO carmenta.artifact_references "
                    f"(user_id, id, artifact_id, artifact_created_at, relation, {column}) "
                    "VALUES (:user, gen_random_uuid(), :id, :now, 'cites', :target)"
                ),
                row | {"target": target},
            )
        session.execute(
            text(
                "INSERT INTO carmenta.background_queries "
                "(user_id, id, kind, input, status, finished_at, conversation_id) "
                "VALUES (:user, :id, 'k', '{}', 'completed', :now, :conversation)"
            ),
            row | {"conversation": _id("conversation")},
        )
        assert len(artifacts.relations(session, NORA, made)) == 3
        session.info["made"] = made
        for what, (table, _, _) in DELETED.items():
            session.execute(update(table).where(table.c.id == _id(what)).values(deleted_at=NOW))
        yield session, own_sample


def test_no_helper_shows_what_is_deleted(bin_: tuple[Session, Database]) -> None:
    session, _ = bin_
    conversation, within = _id("conversation"), Ids("sample").of("message", "nora-c02-m04")
    assert conversation not in {line.id for line in conversations.page(session, NORA, 1000)}
    assert conversations.messages(session, NORA, conversation, 1000) == []
    elsewhere = Ids("sample").of("conversation", "nora-c09")
    lines = conversations.messages(session, NORA, elsewhere, 1000)
    assert lines
    assert _id("message") not in {line.id for line in lines}
    assert not conversations.vote(session, NORA, _id("message"), True)
    assert not conversations.vote(session, NORA, within, True)
    assert _id("memory") not in {fact.id for fact in memory.facts(session, NORA, limit=1000)}
    assert memory.mark_used(session, NORA, [_id("memory")]) == 0
    tiers = text("SELECT count(*) FROM carmenta.memory_tiers WHERE id = :id")
    assert session.scalar(tiers, {"id": _id("memory")}) == 0
    assert _id("document") not in {line.id for line in knowledge.tree(session, NORA)}
    assert artifacts.relations(session, NORA, session.info["made"]) == []
    assert [(done.id, done.conversation_id) for done in operations.come_back(session, NORA)] == [
        (session.info["made"], None)
    ]


def test_no_context_shows_what_is_deleted(own_sample: Database) -> None:
    asked = Query("q", NORA, "what happened to Saga and the cashews")
    gone = {given for _, _, given in DELETED.values()}
    for what in DELETED:
        _delete(own_sample, what)
    with own_sample.user_session(NORA) as session:
        shown = assemble(session, asked, budget_tokens=8_000)
        named = {source for block in shown.blocks for source in block.sources}
        assert named
        assert not {name for name in named if name in gone or name.startswith("nora-c02-")}
    with pytest.raises(UnknownName):
        find_conversation(own_sample, NORA, "nora-c02")


@pytest.mark.parametrize("hours", [-11, -0.5, 0, 5.75, 14])
def test_a_time_keeps_the_date_of_its_writer(hours: float) -> None:
    at = datetime(2025, 3, 14, 23, 50, 1, 7, tzinfo=timezone(timedelta(hours=hours)))
    assert str(as_written(at.astimezone(UTC), utc_offset(at))) == str(at)
    assert utc_offset(None) is None
    assert as_written(None, 60) is None
