"""What is written is found at once, ranks as if it had been loaded, and is never found as it was before."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from factory import add_conversation, add_memory, add_user
from sqlalchemy import text

from carmenta_lab import User, resources, strategies
from carmenta_lab.app import (
    delete_conversation,
    delete_document,
    delete_memory,
    delete_message,
    edit_document,
    edit_memory,
    edit_message,
    undelete_conversation,
    undelete_document,
    undelete_message,
    write_document,
    write_memory,
    write_message,
)
from carmenta_lab.context import assemble
from carmenta_lab.datasets import kinds
from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import UsageError
from carmenta_lab.ids import Ids
from carmenta_lab.indexing.lacking import lacking, rebuild, repair
from carmenta_lab.indexing.ready import make_ready
from carmenta_lab.indexing.sources import read_living
from carmenta_lab.indexing.token_codes import insert_codes
from carmenta_lab.indexing.vectors import register
from carmenta_lab.names import find_conversation, find_user
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.postponed import postponing_connection
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.texts import texts
from carmenta_lab.text import readable

NORA = Ids("sample").of("user", "nora")
FOUND_BY = ("bm25", "vector_exact", "hybrid_rrf", "evidence")
INDEX = {
    "passages": "SELECT user_id, id, unit, ordinal, content, author, language, created_at, source_id "
    "FROM search.passages",
    "vectors": "SELECT user_id, passage_id, source_id, created_at, unit FROM search.embeddings_all_minilm_l6_v2",
    "codes": "SELECT user_id, passage_id, codes::text, question_codes::text FROM search.token_codes",
    "features": "SELECT user_id, passage_id, unit, source_id, conversation_id, place, role, author, created_at, "
    "length, asked_length, asked::text FROM search.passage_features",
    "statistics": "SELECT user_id, unit, role, author, passages, length, asked_length FROM search.lexical_statistics",
    "postings": "SELECT f.user_id, f.passage_id, e.lexeme, e.entry & ((1::bigint << 38) - 1) FROM ("
    "SELECT user_id, lexeme, unnest(entries) AS entry FROM search.postings) e "
    "JOIN search.passage_features f ON f.user_id = e.user_id AND f.slot = e.entry >> 38",
}
"""What the index holds, but for the numbers that passages have by the order in which they came."""


def index_of(database: Database, user: UUID | None = None) -> dict[str, list[Any]]:
    """All of the index, every passage merged into the posting lists."""
    with database.owner_session() as session:
        for person in session.scalars(text("SELECT user_id FROM search.word_index")).all():
            session.execute(text("SELECT search.merge_words(:person)"), {"person": person})
        return {
            name: sorted(
                map(repr, (row for row in session.execute(text(statement)) if user is None or row.user_id == user))
            )
            for name, statement in INDEX.items()
        }


def rankings(
    database: Database, queries: Sequence[str], user: UUID = NORA, names: Sequence[str] = FOUND_BY, k: int = 20
) -> dict[str, list[Ranking]]:
    with database.user_session(user) as session:
        return {
            name: [search(session, strategies.load(name), Query("q", user, asked), k) for asked in queries]
            for name in names
        }


def ids(database: Database, question: str, names: Sequence[str] = FOUND_BY, user: UUID = NORA) -> dict[str, set[UUID]]:
    found = rankings(database, [question], user, names, k=5)
    return {name: {hit.source_id for hit in ranking.hits} for name, (ranking,) in found.items()}


def notes(database: Database) -> list[tuple[Any, ...]]:
    with database.owner_session() as session:
        statement = text("SELECT kind, source_id, revision, removed FROM search.outbox ORDER BY kind, source_id")
        return [tuple(row) for row in session.execute(statement)]


@pytest.fixture
def alone(database: Database) -> tuple[Database, UUID, UUID]:
    """A user with one empty conversation, and a model that is registered."""
    register(database.owner, "all-MiniLM-L6-v2", 384)
    with database.owner_session() as session:
        user = add_user(session)
        return database, user, add_conversation(session, user)


def test_what_is_written_is_found_in_that_session_and_in_the_next(own_sample: Database) -> None:
    conversation = find_conversation(own_sample, NORA, "nora-c01")
    with own_sample.user_session(NORA) as session:
        said = write_message(session, conversation, "user", "The gyrocopter is parked in the barn.")
        fact = write_memory(session, "personal", "Owns a gyrocopter.", source_message_id=said.id)
        note = write_document(session, "flying.gyrocopter", "Gyrocopter", "Check the rotor. " * 200, tags=["flying"])
        for name in FOUND_BY:
            ranking = search(session, strategies.load(name), Query("q", NORA, "gyrocopter"), 5)
            assert {said.id, fact.id, note.id} <= {hit.source_id for hit in ranking.hits}, name
        shown = assemble(session, Query("q", NORA, "where is the gyrocopter?"), conversation_id=conversation)
        assert [block for block in shown.blocks if "The gyrocopter is parked in the barn." in block.text]
    for found in ids(own_sample, "gyrocopter").values():
        assert {said.id, fact.id, note.id} <= found
    assert notes(own_sample) == []
    with own_sample.user_session(NORA) as session:
        row = session.execute(
            text(
                "SELECT m.position, m.created_at = c.last_message_at AS last, m.utc_offset FROM carmenta.messages m "
                "JOIN carmenta.conversations c ON c.user_id = m.user_id AND c.id = m.conversation_id WHERE m.id = :id"
            ),
            {"id": said.id},
        ).one()
        raw = postponing_connection(session.connection())
        assert lacking(raw, NORA) == ([], set())  # codes of tokens included, as the sample has them
    assert row == (said.position, True, 0)


def test_a_write_of_its_own_opens_the_transaction_after_the_model_was_asked(
    alone: tuple[Database, UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, user, conversation = alone
    under_way = []
    embedder = load_embedder()
    embed = embedder.embed_tokens

    def watched(texts: Sequence[str], progress: Any = None) -> Any:
        with database.owner_session() as session:
            count = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
            )
            session.execute(text("RESET ROLE"))  # a login by URL sees what its own name does, and all of it
            under_way.append(session.scalar(text(count)) - 1)
        return embed(texts, progress)

    monkeypatch.setattr(embedder, "embed_tokens", watched)
    me = User(database, user)
    said = write_message(me, conversation, "user", "I sold the boat.")
    edit_message(me, said.id, "I sold the car.")
    delete_message(me, said.id)
    undelete_message(me, said.id)
    write_document(me, "a.b", "Name", "A text.")
    write_document(me, "a.b", "Name", "Another text.")
    with database.user_session(user) as session:
        write_message(session, conversation, "user", "And the bicycle.")
    assert under_way == [0] * 5 + [1]  # the last in a transaction that the caller had opened
    assert ids(database, "sold the car", ("bm25",), user)["bm25"] == {said.id}


def test_messages_of_a_conversation_stand_in_the_order_in_which_they_came(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, conversation = alone
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with database.user_session(user) as session:
        first = write_message(session, conversation, "user", "One", created_at=at)
        second = write_message(session, conversation, "assistant", "Two", created_at=None, parent_id=first.id)
        jump = write_message(session, conversation, "user", "Three", position=9, created_at=at.replace(hour=11))
        last = write_message(session, conversation, "user", parts=[{"type": "text", "text": "Four\0"}])
        assert [one.position for one in (first, second, jump, last)] == [0, 1, 9, 10]
        rows = session.execute(
            text("SELECT content, created_at, author FROM carmenta.messages ORDER BY position")
        ).all()
        times = session.execute(text("SELECT started_at, last_message_at FROM carmenta.conversations")).one()
    assert [row.content for row in rows] == ["One", "Two", "Three", "Four"]
    assert rows[1].created_at is None
    assert times.started_at == at.replace(hour=11)
    assert times.last_message_at == rows[3].created_at


def test_two_who_write_to_one_conversation_at_once_get_a_place_each(alone: tuple[Database, UUID, UUID]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    database, user, conversation = alone
    me = User(database, user)
    with ThreadPoolExecutor(4) as writers:
        done = list(writers.map(lambda n: write_message(me, conversation, "user", f"Number {n}"), range(24)))
    assert sorted(one.position or 0 for one in done) == list(range(24))
    before = index_of(database)
    with database.owner_session() as session:
        session.execute(text("SELECT search.rebuild_words(:user)"), {"user": user})
    assert index_of(database) == before


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"text": " \n"}, "text is empty"),
    ({}, "one is needed"),
    ({"text": "a", "parts": [{"type": "text", "text": "b"}]}, "only one may be"),
    ({"text": "a", "role": "robot"}, "role: unknown value, found 'robot'; known: user, assistant"),
    ({"text": 5}, "text: expected str, got int"),
    ({"text": "a", "created_at": datetime(2026, 1, 1)}, "time zone"),
    ({"text": "a", "language": "english"}, "language"),
    ({"text": "a", "conversation_id": uuid4()}, "there is no conversation"),
    ({"text": "a", "conversation_id": "nora-c01"}, "conversation_id is a UUID, .* not 'nora-c01'"),
    ({"text": "a", "parent_id": uuid4()}, "does not fit"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    alone: tuple[Database, UUID, UUID], given: dict[str, Any], said: str
) -> None:
    database, user, conversation = alone
    with pytest.raises(UsageError, match=said):
        write_message(User(database, user), **{"conversation_id": conversation, "role": "user", **given})
    with database.owner_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.messages")) == 0


def test_a_refused_write_leaves_a_session_that_can_go_on(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, conversation = alone
    with database.user_session(user) as session:
        for refused in (
            lambda: write_message(session, uuid4(), "user", "Nowhere"),
            lambda: write_memory(session, "personal", "Nothing before it", supersedes=uuid4()),
            lambda: edit_message(session, uuid4(), "Not there"),
        ):
            with pytest.raises(UsageError, match="there is no"):
                refused()
        for no_uuid in (
            lambda: edit_message(session, "nora-c01-m01", "Not there"),  # type: ignore[arg-type]
            lambda: delete_message(session, "nora-c01-m01"),  # type: ignore[arg-type]
            lambda: undelete_conversation(session, "nora-c01"),  # type: ignore[arg-type]
            lambda: write_memory(session, "personal", "So", supersedes="nora-k01"),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError, match="is a UUID"):
                no_uuid()
        assert not delete_message(session, uuid4())
        assert not undelete_conversation(session, conversation)
        raw = add_memory(session, user, "raw")
    assert notes(database) == [("memory", raw, 1, False)]  # what the caller writes is noted again


def test_nobody_writes_for_nobody_or_for_another(alone: tuple[Database, UUID, UUID]) -> None:
    database, _, conversation = alone
    with database.app_session() as session, pytest.raises(UsageError, match="acts for nobody"):
        write_message(session, conversation, "user", "Hello")
    with pytest.raises(UsageError, match="there is no conversation"):
        write_message(User(database, uuid4()), conversation, "user", "Hello")
    with pytest.raises(UsageError, match="give a session of a user, or the user, to write in; found Database"):
        write_message(database, conversation, "user", "Hello")  # type: ignore[arg-type]


def test_an_edit_is_found_by_what_it_says_now(own_sample: Database) -> None:
    me, conversation = User(own_sample, NORA), find_conversation(own_sample, NORA, "nora-c01")
    said = write_message(me, conversation, "user", "Where is the gyrocopter?", content_for_llm="gyrocopter?")
    answer = write_message(me, conversation, "assistant", "In the barn, beside the tractor.")
    fact = write_memory(me, "personal", "Owns a gyrocopter.")
    note = write_document(me, "flying", "Manual", "Check the rotor of the gyrocopter.")
    assert ids(own_sample, "gyrocopter", ("bm25",))["bm25"] == {said.id, answer.id, fact.id, note.id}
    with own_sample.user_session(NORA) as session:
        edit_message(session, said.id, "Where is the zeppelin?")
        edit_memory(session, fact.id, "Owns a zeppelin.")
        assert write_document(session, "flying", "Manual", "Check the hull of the zeppelin.").id == note.id
    assert not ids(own_sample, "gyrocopter", ("bm25",))["bm25"]
    for found in ids(own_sample, "zeppelin").values():
        assert {said.id, fact.id, note.id} <= found
    edit_document(me, note.id, name="Airship")
    assert note.id in ids(own_sample, "airship", ("bm25",))["bm25"]
    with own_sample.user_session(NORA) as session:
        row = session.execute(
            text("SELECT content, content_for_llm FROM carmenta.messages WHERE id = :id"), {"id": said.id}
        ).one()
        asked = session.scalar(
            text("SELECT asked::text FROM search.passage_features WHERE source_id = :id"), {"id": answer.id}
        )
    assert row == ("Where is the zeppelin?", None)
    assert "zeppelin" in asked
    before = index_of(own_sample, NORA)
    with own_sample.owner_session() as session:
        session.execute(text("SELECT search.rebuild_words(:user)"), {"user": NORA})
    assert index_of(own_sample, NORA) == before


def test_a_long_document_is_embedded_anew_only_where_it_changed(
    alone: tuple[Database, UUID, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, user, _ = alone
    me, embedder = User(database, user), load_embedder()
    embed, counts = embedder.embed_tokens, []

    def counted(texts: Sequence[str], progress: Any = None) -> Any:
        counts.append(len(texts))
        return embed(texts, progress)

    monkeypatch.setattr(embedder, "embed_tokens", counted)
    long = " ".join(f"Sentence number {n} says something." for n in range(300))
    note = write_document(me, "a", "Long", long)
    write_document(me, "a", "Long", long + " And one more at the end.")
    write_document(me, "a", "Long", long + " And one more at the end.")
    assert counts[0] > 8
    assert counts[1] <= 2
    assert len(counts) == 2
    with database.user_session(user) as session:
        raw = postponing_connection(session.connection())
        assert lacking(raw, user) == ([], set())
    assert ids(database, "one more at the end", ("bm25",), user)["bm25"] == {note.id}


def test_superseding_marks_the_old_memory(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, _ = alone
    me = User(database, user)
    old = write_memory(me, "preference", "Likes tea.")
    new = write_memory(me, "preference", "Likes coffee.", supersedes=old.id)
    with pytest.raises(UsageError, match="still holds"):
        write_memory(me, "preference", "Likes water.", supersedes=old.id)
    with database.owner_session() as session:
        rows = session.execute(text("SELECT id, superseded_by FROM carmenta.memories ORDER BY content DESC")).all()
    assert rows == [(old.id, new.id), (new.id, None)]


def test_deleting_and_undeleting_a_document_whose_path_was_taken(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, _ = alone
    me = User(database, user)
    old = write_document(me, "a.b", "Old", "The old gyrocopter.")
    assert delete_document(me, old.id)
    new = write_document(me, "a.b", "New", "The new gyrocopter.")
    assert new.id != old.id
    with database.user_session(user) as session:
        with pytest.raises(UsageError, match="has the path"):
            undelete_document(session, old.id)
        assert delete_document(session, new.id)
        assert undelete_document(session, old.id)
    assert ids(database, "gyrocopter", ("bm25",), user)["bm25"] == {old.id}


def test_a_message_below_a_deleted_conversation_stays_out_of_the_index(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, conversation = alone
    me = User(database, user)
    said = [write_message(me, conversation, "user", f"Gyrocopter {n}") for n in range(3)]
    assert delete_message(me, said[0].id)
    assert delete_conversation(me, conversation)
    assert not delete_conversation(me, conversation)
    assert undelete_message(me, said[0].id)
    assert delete_message(me, said[1].id)
    assert ids(database, "gyrocopter", ("bm25",), user)["bm25"] == set()
    with pytest.raises(UsageError, match="undelete it"):
        write_message(me, conversation, "user", "More")
    assert undelete_conversation(me, conversation)
    assert ids(database, "gyrocopter", ("bm25",), user)["bm25"] == {said[0].id, said[2].id}
    assert notes(database) == []


def _lines(kind: type[kinds.RecordT], user: str) -> list[dict[str, Any]]:
    with (resources.datasets() / "sample" / kind.FILE).open() as file:
        return [line for line in map(json.loads, file) if line["user_id"] == user]


def test_a_history_written_message_by_message_ranks_as_the_same_one_loaded(
    own_sample: Database, database: Database
) -> None:
    """Same ids and times make the same passages; vectors differ by rounding, as their batches do."""
    of = Ids("sample").of
    register(database.owner, "all-MiniLM-L6-v2", 384)
    with database.owner_session() as session:
        add_user(session, NORA)
    messages = _lines(kinds.Message, "nora")
    with database.user_session(NORA) as session:
        for given in dict.fromkeys(line["conversation_id"] for line in messages):
            add_conversation(session, NORA, of("conversation", given))
        for line in messages:
            write_message(
                session,
                of("conversation", line["conversation_id"]),
                line["role"],
                line.get("text"),
                parts=line.get("parts"),
                author=line.get("author"),
                created_at=line["created_at"] and datetime.fromisoformat(line["created_at"]),
                language=line.get("language", "en"),
                id=of("message", line["message_id"]),
            )
            if line is messages[0]:  # from here on the user has codes of tokens
                raw = postponing_connection(session.connection())
                first = read_living(raw, NORA, [("message", of("message", line["message_id"]))])
                ready = make_ready(list(first.values()))
                assert ready.tokens
                insert_codes(raw, NORA, ready.embedded, ready.tokens)
        for line in _lines(kinds.Memory, "nora"):
            at = line.get("created_at")
            write_memory(
                session,
                line["category"],
                line["text"],
                source_message_id=of("message", source) if (source := line.get("source_message_id")) else None,
                created_at=at and datetime.fromisoformat(at),
                id=of("memory", line["memory_id"]),
            )
        for line in _lines(kinds.Document, "nora"):
            at = line.get("created_at")
            write_document(
                session,
                line["path"],
                line["name"],
                line["text"],
                created_at=at and datetime.fromisoformat(at),
                id=of("document", line["document_id"]),
            )
    with own_sample.user_session(NORA) as session, database.user_session(NORA) as other:
        superseded = text("SELECT id, superseded_by AS by FROM carmenta.memories WHERE superseded_by IS NOT NULL")
        for row in session.execute(superseded).all():
            statement = text("UPDATE carmenta.memories SET superseded_by = :by WHERE id = :id")
            other.execute(statement, dict(row._mapping))
    loaded, written = index_of(own_sample, NORA), index_of(database)
    for name in ("passages", "vectors", "features", "statistics", "postings"):
        assert written[name] == loaded[name], name
    assert len(written["codes"]) == len(loaded["codes"])
    queries = [query["text"] for query in _lines(kinds.QueryLine, "nora")][:25]
    theirs, ours = rankings(own_sample, queries), rankings(database, queries)
    for name, each in theirs.items():
        for one, other in zip(each, ours[name], strict=True):
            assert [hit.source_id for hit in one.hits] == [hit.source_id for hit in other.hits], name
            assert [hit.score for hit in one.hits] == pytest.approx([hit.score for hit in other.hits], abs=2e-3)


def test_what_others_write_is_noted_once_and_at_constant_cost(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, conversation = alone
    me = User(database, user)
    said, fact = write_message(me, conversation, "user", "Hello"), write_memory(me, "personal", "Lives here.")
    note = write_document(me, "a", "Name", "Text")
    for statement, expected in (
        ("UPDATE carmenta.messages SET content = 'Bye'", ("message", said.id, 1, False)),
        ("UPDATE carmenta.messages SET author = 'Ann'", ("message", said.id, 2, False)),
        ("UPDATE carmenta.memories SET deleted_at = now()", ("memory", fact.id, 1, False)),
        ("UPDATE carmenta.documents SET name = 'New'", ("document", note.id, 1, False)),
        ("UPDATE carmenta.conversations SET deleted_at = now()", ("conversation", conversation, 1, False)),
        ("DELETE FROM carmenta.documents", ("document", note.id, 2, True)),
    ):
        with database.user_session(user) as session:
            session.execute(text(statement))
        assert expected in notes(database), statement
    count = len(notes(database))
    for statement in (
        "UPDATE carmenta.messages SET content = content, model = 'm'",
        "UPDATE carmenta.memories SET use_count = 3",
        "UPDATE carmenta.conversations SET title = 't'",
    ):
        with database.user_session(user) as session:
            session.execute(text(statement))
    with database.user_session(user) as session:
        session.execute(text("SELECT set_config('carmenta.indexing', 'at_once', true)"))
        session.execute(text("UPDATE carmenta.messages SET content = 'once more'"))
    assert len(notes(database)) == count
    assert ("message", said.id, 2, False) in notes(database)
    with database.owner_session() as session:
        session.execute(text("UPDATE carmenta.users SET deleted_at = now()"))
    assert ("user", user, 1, False) in notes(database)
    with database.owner_session() as session:
        session.execute(text("DELETE FROM carmenta.users"))
    assert notes(database) == []


def test_one_user_neither_sees_nor_makes_notes_of_another(own_sample: Database) -> None:
    tomasz = find_user(own_sample, "tomasz")
    with own_sample.user_session(tomasz) as session:
        session.execute(text("UPDATE carmenta.memories SET content = content || '!'"))
    with own_sample.user_session(NORA) as session:
        assert session.scalar(text("SELECT count(*) FROM search.outbox")) == 0
        assert session.scalars(text("SELECT search.users_with_notes(10)")).all() == [tomasz]
        with pytest.raises(Exception, match="row-level security"):
            session.execute(
                text("INSERT INTO search.outbox (user_id, source_id, kind) VALUES (:user, :user, 'user')"),
                {"user": tomasz},
            )


CHANGES = {
    "edited": "UPDATE carmenta.messages SET content = 'something else' WHERE id = :message",
    "moved": "UPDATE carmenta.messages SET author = 'Nobody' WHERE id = :message",
    "deleted softly": "UPDATE carmenta.messages SET deleted_at = now() WHERE id = :message",
    "deleted": "DELETE FROM carmenta.messages WHERE id = :message",
    "with its conversation": "UPDATE carmenta.conversations SET deleted_at = now() WHERE id = :conversation",
}


@pytest.mark.parametrize("what", CHANGES)
def test_no_strategy_finds_the_old_form_before_a_worker_ran(own_sample: Database, what: str) -> None:
    conversation = find_conversation(own_sample, NORA, "nora-c01")
    said = write_message(User(own_sample, NORA), conversation, "user", "The gyrocopter is parked in the barn.")
    names = strategies.names()
    assert all(said.id in found for found in ids(own_sample, "gyrocopter parked in the barn", names).values())
    with own_sample.user_session(NORA) as session:
        hits = search(session, strategies.load("bm25"), Query("q", NORA, "gyrocopter"), 5).hits
        session.execute(text(CHANGES[what]), {"message": said.id, "conversation": conversation})
        assert said.id not in {shown.hit.source_id for shown in texts(session, NORA, hits)}
        context = assemble(
            session,
            Query("q", NORA, "where is the gyrocopter?"),
            conversation_id=find_conversation(own_sample, NORA, "nora-c02"),
        )
        assert not [block for block in context.blocks if "gyrocopter is parked" in block.text]
    for name, ranking in rankings(own_sample, ["gyrocopter parked in the barn"], names=names, k=5).items():
        assert said.id not in {hit.source_id for hit in ranking[0].hits}, name
        if name.startswith(("vector", "hybrid")):
            assert len(ranking[0].hits) == 5  # others move up


def test_of_a_user_who_was_deleted_nothing_is_found_before_a_worker_ran(own_sample: Database) -> None:
    with own_sample.owner_session() as session:
        session.execute(text("UPDATE carmenta.users SET deleted_at = now() WHERE id = :id"), {"id": NORA})
    assert not any(ids(own_sample, "the bikes", strategies.names()).values())


def test_a_repair_finds_what_no_note_says(own_sample: Database) -> None:
    before = index_of(own_sample, NORA)
    assert repair(own_sample, NORA) == (0, 0)
    with own_sample.owner_session() as session:
        session.execute(text("SELECT set_config('carmenta.indexing', 'at_once', true)"))
        chosen = "user_id = :user AND id IN (SELECT id FROM search.passages WHERE user_id = :user ORDER BY id LIMIT 20)"
        session.execute(text(f"DELETE FROM search.passages WHERE {chosen}"), {"user": NORA})
        left = "SELECT passage_id FROM search.passage_features WHERE user_id = :user ORDER BY passage_id DESC LIMIT 10"
        session.execute(
            text(f"DELETE FROM search.embeddings_all_minilm_l6_v2 WHERE passage_id IN ({left})"), {"user": NORA}
        )
    made = repair(own_sample, NORA)
    assert made.sources > 0
    assert repair(own_sample, NORA) == (0, 0)
    assert index_of(own_sample, NORA) == before


def test_the_index_is_built_anew_from_the_rows(own_sample: Database) -> None:
    before = index_of(own_sample)
    with own_sample.owner_session() as session:
        tables = "passages, passage_features, postings, word_index, lexical_statistics, outbox, embedding_models"
        session.execute(text(f"TRUNCATE {', '.join(f'search.{name}' for name in tables.split(', '))} CASCADE"))
        session.execute(text("DROP TABLE search.embeddings_all_minilm_l6_v2"))
    done: list[int] = []
    made = rebuild(own_sample, tokens=True, progress=lambda count, total: done.append(count))
    assert made.passages == len(before["passages"])
    assert sum(done) >= made.sources
    after = index_of(own_sample)
    for name in ("passages", "vectors", "features", "statistics", "postings"):
        assert after[name] == before[name], name
    assert rebuild(own_sample, tokens=True) == (made.sources, 0)


def test_a_text_is_indexed_as_it_is_read(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, conversation = alone
    decomposed = "Cafe\u0301 am Ufer"
    said = write_message(User(database, user), conversation, "user", decomposed, author="Rene\u0301")
    with database.user_session(user) as session:
        content = session.scalar(text("SELECT content FROM search.passages"))
        kept = session.scalar(text("SELECT content FROM carmenta.messages"))
    assert content.endswith("Ren\u00e9: Caf\u00e9 am Ufer")
    assert kept == decomposed
    assert readable(decomposed) == "Caf\u00e9 am Ufer"
    assert ids(database, "caf\u00e9", ("bm25",), user)["bm25"] == {said.id}


def test_memories_that_a_context_shows_are_marked_as_used(own_sample: Database) -> None:
    used = text("SELECT coalesce(sum(use_count), 0) FROM carmenta.memories WHERE user_id = :user")
    asked = Query("q", NORA, "which allergy does Saga have")

    def count() -> int:
        with own_sample.user_session(NORA) as session:
            return int(session.scalar(used, {"user": NORA}) or 0)

    with own_sample.user_session(NORA) as session:
        shown = assemble(session, asked, budget_tokens=4_000)
    memories = {id for block in shown.blocks if block.kind == "memory" for id in block.ids}
    assert memories
    assert count() == len(memories)
    with own_sample.user_session(NORA) as session:  # a question of the past is an experiment
        assemble(session, Query("q", NORA, asked.text, asked_at=datetime(2027, 1, 1, tzinfo=UTC)), budget_tokens=4_000)
    with own_sample.user_session(NORA) as session:
        assemble(session, asked, budget_tokens=4_000, mark=False)
    with own_sample.user_session(NORA) as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        assemble(session, asked, budget_tokens=4_000)
    assert count() == len(memories)


def test_soft_deletion_of_a_memory(alone: tuple[Database, UUID, UUID]) -> None:
    database, user, _ = alone
    me = User(database, user)
    fact = write_memory(me, "personal", "Owns a gyrocopter.")
    assert delete_memory(me, fact.id)
    assert not delete_memory(me, fact.id)
    assert ids(database, "gyrocopter", ("bm25",), user)["bm25"] == set()
