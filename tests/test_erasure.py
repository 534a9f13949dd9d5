"""Forgetting a person or a conversation leaves nothing of it in any column, and nobody else loses a row."""

import gc
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from uuid import UUID, uuid4

import psycopg
import pytest
from factory import add_conversation, add_memory, add_message, rows
from planting import DERIVED, Planted, plant, plant_lab
from sqlalchemy import text

from carmenta_lab import strategies
from carmenta_lab.context import assemble, policies
from carmenta_lab.erasure import forget_conversation, forget_user
from carmenta_lab.errors import UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.approximate import build, listed
from carmenta_lab.indexing.kinds import HNSW
from carmenta_lab.indexing.vectors import register
from carmenta_lab.ingest.staging import Stage, lock_key
from carmenta_lab.postgres import Database
from carmenta_lab.records import Query
from carmenta_lab.retrieval.search import search

pytestmark = pytest.mark.everywhere

SECRET = "xyzzyplugh"
DATASET = uuid4()
CACHED = type(cache(lambda: None))
"""The type of every function that functools caches."""


def _columns(database: Database) -> list[tuple[str, str, str]]:
    with database.owner_session() as session:
        return [
            tuple(row)
            for row in session.execute(
                text(
                    "SELECT c.oid::regclass::text, a.attname::text, t.typname::text FROM pg_class c "
                    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
                    "JOIN pg_type t ON t.oid = a.atttypid "
                    "WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relnamespace IN "
                    "('carmenta'::regnamespace, 'search'::regnamespace, 'lab'::regnamespace) ORDER BY 1, a.attnum"
                )
            )
        ]


def _holding(database: Database, secret: str) -> dict[str, int]:
    """Every column of any type, as text, that holds the secret -> in how many rows."""
    with database.owner_session() as session:
        counts = {
            f"{table}.{column}": session.scalar(
                text(f'SELECT count(*) FROM {table} WHERE strpos("{column}"::text, :secret) > 0'), {"secret": secret}
            )
            for table, column, _ in _columns(database)
        }
    return {name: count for name, count in counts.items() if count}


def _rows(database: Database, user: UUID) -> dict[str, int]:
    with database.owner_session() as session:
        tables = {(t, "id" if t == "carmenta.users" else c) for t, c, _ in _columns(database) if c == "user_id" or t == "carmenta.users"}  # fmt: skip  # noqa: E501
        return {
            t: session.scalar(text(f"SELECT count(*) FROM {t} WHERE {c} = :u"), {"u": user}) or 0 for t, c in tables
        }


@pytest.fixture
def two(database: Database) -> tuple[Database, UUID, UUID, Planted]:
    """Two users with rows everywhere, vectors and judged questions of a run included."""
    vectors = register(database.owner, "tiny", 3)
    ann, bob = uuid4(), uuid4()
    with database.owner_session() as session:
        planted = plant(session, ann, SECRET, vectors)
        others = plant(session, bob, "innocent", vectors)
        session.execute(text("UPDATE search.outbox SET error = :said WHERE user_id = :u"), {"said": SECRET, "u": ann})
        for user, word, rows in ((ann, SECRET, planted), (bob, "innocent", others)):
            plant_lab(session, user, word, DATASET, rows["messages"][0]["id"])
        session.execute(text("UPDATE carmenta.conversations SET source = 'planted'"))
    for user in (ann, bob):
        build(database.owner, vectors, HNSW(kind="halfvec"), user=user)
    return database, ann, bob, planted


def test_the_secret_is_planted_wherever_text_can_stand(two: tuple[Database, UUID, UUID, Planted]) -> None:
    """A test of the test: what is searched is what holds it, down to lexemes, and no free column is missed."""
    database, *_ = two
    held = _holding(database, SECRET)
    free = {
        f"{table}.{column}"
        for table, column, kind in _columns(database)
        if kind in ("text", "jsonb", "_text", "tsvector", "ltree")
        and not table.endswith(".alembic_version")
        and table not in ("search.embedding_models", "lab.datasets", "lab.runs")
    }
    constrained = {
        "users.kind", "conversations.status", "conversations.visibility", "conversations.source",
        "messages.role", "memories.category", "memories.review_status", "feedback_signals.kind", "artifacts.kind",
        "artifact_references.relation", "background_queries.status", "passages.unit", "service_connections.status",
        "passage_features.unit", "passage_features.role", "lexical_statistics.unit", "lexical_statistics.role",
        "embeddings_tiny.unit", "queries.category", "queries.language", "qrels.source_kind", "loaded.table_name",
        "hits.source_kind", "hits.parts", "scores.measure", "outbox.kind", "outbox.worker",
    }  # fmt: skip
    assert {name for name in free if name.split(".", 1)[1] not in constrained} == held.keys() & free
    assert {"search.passages.text_search", "carmenta.documents.text_search", "lab.queries.answers"} <= held.keys()


def test_forgetting_a_user_leaves_no_trace_and_takes_nobody_elses_rows(
    two: tuple[Database, UUID, UUID, Planted], tmp_path: Path
) -> None:
    database, ann, bob, planted = two
    before, bobs = _rows(database, ann), _rows(database, bob)
    assert all(before.values())
    (tmp_path / f"{DATASET}.rejects.jsonl").touch()
    assert _holding(database, str(ann)).keys() >= {
        "lab.runs.circumstances",
        "lab.loaded.user_id",
        "search.passages.user_id",
    }
    forgotten = forget_user(database.owner, ann, tmp_path)
    assert _holding(database, SECRET) == {}
    assert _holding(database, str(ann)) == {}
    assert not any(_rows(database, ann).values())
    assert _rows(database, bob) == bobs
    assert forgotten.rows == before | {"lab.qrels": 1, "lab.hits": 1, "lab.scores": 1, "lab.runs": 1}
    assert forgotten.total == sum(before.values()) + 4
    with database.owner_session() as session:
        assert len(listed(session)) == 1  # of the other's rows
        definitions = session.scalars(text("SELECT indexdef FROM pg_indexes")).all()
        assert not any(str(ann) in definition for definition in definitions)
        assert str(bob) in str(session.scalar(text("SELECT circumstances FROM lab.runs")))
    attachment = planted["attachments"][0]
    assert forgotten.objects == ((attachment["bucket"], attachment["key"]),)
    assert forgotten.rejects_files == (tmp_path / f"{DATASET}.rejects.jsonl",)
    assert forgotten.origins == ("/data/planted",)
    assert any("backups" in place for place in forgotten.elsewhere)
    assert _vectors(database, ann) == 0
    assert _vectors(database, bob) == 1


def _vectors(database: Database, user: UUID) -> int:
    with database.owner_session() as session:
        return session.scalar(text("SELECT count(*) FROM search.embeddings_tiny WHERE user_id = :u"), {"u": user}) or 0


def test_forgetting_a_conversation_takes_what_derives_from_it(two: tuple[Database, UUID, UUID, Planted]) -> None:
    """The user keeps what was there apart from it: account, folders, tags, documents and their passages."""
    database, ann, bob, planted = two
    bobs = _rows(database, bob)
    conversation = planted["conversations"][0]["id"]
    forgotten = forget_conversation(database.owner, ann, conversation)
    kept = {
        "users", "accounts", "sign_ins", "sessions", "service_connections", "assistants", "settings", "workspaces",
        "folders", "tags", "profiles", "documents", "document_links", "passages", *DERIVED,
    }  # fmt: skip
    left = {name for name, count in _rows(database, ann).items() if count}
    assert {name.split(".")[1] for name in left} == kept
    assert {name.split(".")[1] for name in _holding(database, SECRET)} == kept - {"word_index"}  # which holds no text
    with database.owner_session() as session:
        units = session.scalars(text("SELECT unit FROM search.passages WHERE user_id = :u"), {"u": ann}).all()
    assert units == ["section"]
    assert _rows(database, bob) == bobs
    assert forgotten.rows["carmenta.messages"] == 2
    assert forgotten.rows["carmenta.memories"] == 2
    assert forgotten.rows["search.embeddings_tiny"] == 1
    assert forgotten.rows["lab.qrels"] == 1
    assert any("profile" in place for place in forgotten.elsewhere)


def test_a_conversation_beside_the_forgotten_one_stays_whole(two: tuple[Database, UUID, UUID, Planted]) -> None:
    database, ann, _, planted = two
    with database.owner_session() as session:
        message = add_message(session, ann, add_conversation(session, ann))
        add_memory(session, ann, "beside", source_message_id=message)
    forget_conversation(database.owner, ann, planted["conversations"][0]["id"])
    assert rows(database, "SELECT content FROM carmenta.memories WHERE user_id = :u", u=ann) == ["beside"]
    assert rows(database, "SELECT id FROM carmenta.messages WHERE user_id = :u", u=ann) == [message]


def test_forgetting_happens_at_once_or_not_at_all(two: tuple[Database, UUID, UUID, Planted]) -> None:
    database, ann, *_ = two
    before = _rows(database, ann)
    with database.owner.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION carmenta.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER fault BEFORE DELETE ON carmenta.events FOR EACH ROW EXECUTE FUNCTION carmenta.fault()"
        )
    with pytest.raises(Exception, match="no"):
        forget_user(database.owner, ann)
    assert _rows(database, ann) == before


def test_who_is_not_there_cannot_be_forgotten(database: Database) -> None:
    nobody = uuid4()
    with pytest.raises(UsageError, match=f"there is no user {nobody}"):
        forget_user(database.owner, nobody)
    with pytest.raises(UsageError, match="has no conversation"):
        forget_conversation(database.owner, nobody, nobody)


@pytest.mark.parametrize("forget", ["user", "conversation"])
def test_what_a_killed_load_left_in_its_stage_is_forgotten_as_well(
    two: tuple[Database, UUID, UUID, Planted], forget: str
) -> None:
    database, ann, _, planted = two
    schema = f"stage_{Ids('planted').dataset.hex}"
    with database.owner_session() as session:
        raw = session.connection().connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        stage = Stage(raw, schema, {})
        stage.add("profiles", (1, uuid4().bytes, ann.bytes, SECRET))
        stage.finish()
        raw.execute("RESET search_path")
    there = text("SELECT count(*) FROM pg_namespace WHERE nspname = :schema")
    with database.owner_session() as session:
        assert session.scalar(there, {"schema": schema}) == 1
    if forget == "user":
        forget_user(database.owner, ann)
    else:
        forget_conversation(database.owner, ann, planted["conversations"][0]["id"])
    with database.owner_session() as session:
        assert session.scalar(there, {"schema": schema}) == 0


def test_nobody_is_forgotten_while_a_load_would_bring_them_back(two: tuple[Database, UUID, UUID, Planted]) -> None:
    database, ann, _, planted = two
    before = _rows(database, ann)
    with database.owner_session() as loading:
        loading.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(Ids("planted").dataset)})
        with pytest.raises(UsageError, match="'planted' is being loaded"):
            forget_user(database.owner, ann)
        with pytest.raises(UsageError, match="'planted' is being loaded"):
            forget_conversation(database.owner, ann, planted["conversations"][0]["id"])
    assert _rows(database, ann) == before
    forget_user(database.owner, ann)
    assert not any(_rows(database, ann).values())


def _without_actions(database: Database) -> int:
    """Make every reference that a deletion clears do nothing instead; returns how many those are."""
    with database.owner_session() as session:
        keys = session.execute(
            text(
                "SELECT conrelid::regclass::text AS child, conname AS name, pg_get_constraintdef(oid) AS definition "
                "FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'n'"
            )
        ).all()
        for key in keys:
            bare = key.definition.partition(" ON DELETE")[0]
            session.execute(
                text(f"ALTER TABLE {key.child} DROP CONSTRAINT {key.name}, ADD CONSTRAINT {key.name} {bare}")
            )
        every = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'a'"
        return session.scalar(text(every)) or 0


def test_references_that_do_nothing_on_delete_are_cleared_first(two: tuple[Database, UUID, UUID, Planted]) -> None:
    """What stays of the user refers to nothing that is gone; what the other has is untouched."""
    database, ann, bob, planted = two
    assert _without_actions(database) > 5
    bobs = _rows(database, bob)
    conversation = planted["conversations"][0]["id"]
    with database.owner_session() as session:
        beside = add_conversation(session, ann)
        add_message(session, ann, beside, "a branch of what was said there", parent_id=planted["messages"][0]["id"])
        add_memory(session, ann, "replaced by what was learned there", superseded_by=planted["memories"][0]["id"])
    forget_conversation(database.owner, ann, conversation)
    assert rows(database, "SELECT parent_id FROM carmenta.messages WHERE user_id = :u", u=ann) == [None]
    assert rows(database, "SELECT superseded_by FROM carmenta.memories WHERE user_id = :u", u=ann) == [None]
    forget_user(database.owner, ann)
    assert not any(_rows(database, ann).values())
    assert _rows(database, bob) == bobs


WORDS = (
    "SELECT p.lexeme, e FROM search.postings p CROSS JOIN unnest(p.entries) e WHERE p.user_id = :u ORDER BY 1, 2",
    "SELECT * FROM search.lexical_statistics WHERE user_id = :u ORDER BY unit, role, author",
)


def test_the_index_of_words_is_exact_after_a_conversation_is_forgotten(own_sample: Database) -> None:
    """Statistics and the words of other conversations are what an index made anew would hold."""
    nora, conversation = Ids("sample").of("user", "nora"), Ids("sample").of("conversation", "nora-c09")

    def statistics() -> list[tuple[object, ...]]:
        with own_sample.owner_session() as session:
            return [tuple(row) for row in session.execute(text(WORDS[1]), {"u": nora})]

    before = statistics()
    forgotten = forget_conversation(own_sample.owner, nora, conversation)
    assert forgotten.rows["search.passage_features"] == forgotten.rows["search.passages"] > 5
    kept = statistics()
    assert kept != before
    with own_sample.owner_session() as session:
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": nora})
    assert statistics() == kept


def test_no_cache_of_the_process_holds_what_was_asked_or_said(own_sample: Database) -> None:
    nora = Ids("sample").of("user", "nora")
    query = Query("q", nora, f"where did we park the bikes {SECRET}")
    with own_sample.user_session(nora) as session:
        for name in strategies.names():
            search(session, strategies.load(name), query, 5)
        for policy in policies.names():
            assemble(session, query, policy=policy, budget_tokens=400)
    gc.collect()
    caches = [found for found in gc.get_objects() if isinstance(found, CACHED)]
    ours = [found for found in caches if (found.__module__ or "").startswith("carmenta_lab")]
    assert len(ours) > 5
    assert not [found for found in ours if _reaches(found, (SECRET, "sardines"), 5)]


def _reaches(holder: object, words: tuple[str, ...], depth: int) -> bool:
    """Whether a text with one of these words is held, some steps down."""
    if isinstance(holder, str):
        return any(word in holder for word in words)
    if not depth or isinstance(holder, (type, FunctionType, ModuleType)):
        return False
    return any(_reaches(held, words, depth - 1) for held in gc.get_referents(holder))
