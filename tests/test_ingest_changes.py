"""Loading a folder again: rows that did not change stay, the others are brought to match."""

from pathlib import Path
from typing import Any

import pytest
from factory import add_memory, add_message, add_passage, at, document, memory, message, query, rows, write
from loading import VECTORS, content, database, folder, load_rows, marks, reasons
from sqlalchemy import text

from carmenta_lab.ids import Ids
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database

__all__ = ["database", "folder"]  # fixtures


def test_a_changed_folder_is_brought_to_match_and_what_did_not_change_stays(database: Database, folder: Path) -> None:
    load(database, folder)
    tables = ("carmenta.messages", "search.passages", "carmenta.memories", "carmenta.documents")
    before = {table: marks(database, table) for table in tables} | {VECTORS: marks(database, VECTORS, "passage_id")}
    old = dict(rows(database, "SELECT content, id FROM search.passages"))
    lines = [
        message("m1", "I moved to Faro"),  # another text, and without its attachment
        message("m3", "and sold the car", content_for_llm="car is sold"),  # m2, its parent, is gone
        message("m6", "then the roof"),
        message("m4", "the boiler broke", conversation="c2"),
    ]  # u2 is gone
    write(folder, messages=lines, memories=[memory("k2", "lives in Lisbon", created_at=at(2)), memory("k3")])
    write(folder, queries=[query("q1"), query("q3")], qrels="q3\tm6\t1\n")

    report = load(database, folder)

    assert report.changes["messages"] == {"added": 1, "updated": 2, "deleted": 1}
    assert report.changes["users"] == {"added": 0, "updated": 0, "deleted": 1}
    assert report.changes["attachments"]["deleted"] == 1
    assert report.changes["memories"] == {"added": 1, "updated": 1, "deleted": 1}
    after = {table: marks(database, table) for table in tables} | {VECTORS: marks(database, VECTORS, "passage_id")}
    new = dict(rows(database, "SELECT content, id FROM search.passages"))
    stay = "[2025-03-14] Nora: the boiler broke", "[2025-03-14] Nora: and sold the car", "d1: bleed it twice"
    for body in (*stay, "[2025-03-14] lives in Lisbon"):
        assert new[body] == old[body]
        for table in ("search.passages", VECTORS):
            assert after[table][new[body]] == before[table][old[body]]
    assert set(new) - set(old) == {"[2025-03-14] Nora: I moved to Faro", "[2025-03-14] Nora: then the roof", "fact k3"}
    assert report.embedded == 3
    m4, d1 = Ids("tiny").of("message", "m4"), Ids("tiny").of("document", "d1")
    assert after["carmenta.messages"][m4] == before["carmenta.messages"][m4]
    assert after["carmenta.documents"][d1] == before["carmenta.documents"][d1]

    load_rows(database, folder, name="twin")
    assert content(database, "tiny") == content(database, "twin")


@pytest.mark.parametrize(
    "change",
    [{"language": "de"}, {"author": None}, {"created_at": at(60 * 24)}, {"created_at": None}, {"role": "assistant"}],
    ids=str,
)
def test_a_passage_follows_every_field_it_shows(database: Database, tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write(tmp_path / "tiny", messages=[message("m1", "running houses", author="User")])
    load(database, folder)
    write(folder, messages=[message("m1", "running houses", author="User") | change])

    report = load(database, folder)

    load_rows(database, folder, name="twin")
    assert content(database, "tiny") == content(database, "twin")
    assert rows(database, f"SELECT count(*) FROM {VECTORS}") == [1]
    assert report.changes["messages"]["updated"] == 1


def test_a_long_message_that_becomes_short_leaves_no_chunk_behind(database: Database, tmp_path: Path) -> None:
    long = " ".join(f"Point {n} of the very long letter." for n in range(300))
    folder = write(tmp_path / "tiny", messages=[message("m1", long)], memories=[memory("k1", long)])
    load_rows(database, folder)
    assert rows(database, "SELECT count(*) > 20 FROM search.passages") == [True]
    write(folder, messages=[message("m1", "short")], memories=[memory("k1", "short")])

    load_rows(database, folder)

    assert sorted(rows(database, "SELECT content FROM search.passages")) == ["[2025-03-14] Nora: short", "short"]


def test_a_message_may_move_to_another_conversation(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", messages=[message("m1"), message("m2"), message("m3", conversation="c2")])
    load_rows(database, folder)
    write(folder, messages=[message("m1"), message("m2", conversation="c2"), message("m3", conversation="c3")])

    report = load_rows(database, folder)

    assert report.changes["messages"]["added"] == 0
    found = {row[0]: (row[1], row[3]) for row in content(database)["messages"]}
    assert found == {"m1": ("c1", 0), "m2": ("c2", 0), "m3": ("c3", 0)}


def test_two_documents_may_swap_their_paths(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", documents=[document("d1", "a"), document("d2", "b"), document("d3", "c")])
    load_rows(database, folder)
    write(folder, documents=[document("d1", "b"), document("d2", "a"), document("d4", "c")])

    load_rows(database, folder)

    assert [row[:2] for row in content(database)["documents"]] == [("d1", "b"), ("d2", "a"), ("d4", "c")]
    assert rows(database, "SELECT count(*) FROM search.passages") == [3]


def test_what_the_application_wrote_is_not_the_folders_to_delete(database: Database, folder: Path) -> None:
    load_rows(database, folder)
    user, conversation = Ids("tiny").of("user", "u1"), Ids("tiny").of("conversation", "c1")
    with database.user_session(user) as session:
        add_message(session, user, conversation, "live", position=99)
        add_passage(session, user, "memory", "learned", memory_id=add_memory(session, user, "learned"))
    write(folder, profiles=[{"user_id": "u1", "text": "Nora, 42"}])

    load_rows(database, folder)

    assert rows(database, "SELECT content FROM carmenta.messages WHERE external_id IS NULL") == ["live"]
    assert rows(database, "SELECT content FROM carmenta.memories WHERE external_id IS NULL") == ["learned"]
    assert rows(database, "SELECT content FROM search.passages WHERE content = 'learned'") == ["learned"]
    assert content(database)["profiles"] == ["Nora, 42"]


def test_what_refers_to_lines_that_went_stays_without_them(database: Database, folder: Path) -> None:
    """References that may be null stand against a deletion: the loader clears them, whoever made them."""
    load_rows(database, folder)
    of = Ids("tiny").of
    user, c1, c2 = of("user", "u1"), of("conversation", "c1"), of("conversation", "c2")
    m1, m2, m4 = (of("message", key) for key in ("m1", "m2", "m4"))
    with database.user_session(user) as session:
        add_message(session, user, c1, "an answer to m2", parent_id=m2)
        add_message(session, user, c1, "an answer to m4", parent_id=m4)
        there = add_message(session, user, c2, "said in c2", parent_id=m1)
        add_memory(session, user, "of m2", source_message_id=m2)
        add_memory(session, user, "of m4", source_message_id=m4)
        add_memory(session, user, "before k1", superseded_by=of("memory", "k1"))
        add_memory(session, user, "of what was said in c2", source_message_id=there)
        for statement in (
            "INSERT INTO carmenta.background_queries (user_id, id, kind, input, conversation_id) "
            "VALUES (:u, gen_random_uuid(), 'k', '{}', :c2)",
            "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title, conversation_id) "
            "VALUES (:u, gen_random_uuid(), now(), 'text', 't', :c2)",
        ):
            session.execute(text(statement), {"u": user, "c2": c2})
    write(folder, messages=[message("m1"), message("m3")], memories=[])

    load_rows(database, folder)

    there = "SELECT content, {} FROM carmenta.{} WHERE external_id IS NULL ORDER BY 1"
    assert rows(database, there.format("parent_id", "messages")) == [
        ("an answer to m2", None),
        ("an answer to m4", None),
    ]
    kept = ["before k1", "of m2", "of m4", "of what was said in c2"]
    assert rows(database, there.format("source_message_id, superseded_by", "memories")) == [
        (c, None, None) for c in kept
    ]
    for table in ("background_queries", "artifacts"):
        assert rows(database, f"SELECT conversation_id FROM carmenta.{table}") == [None]
    assert rows(database, "SELECT external_id FROM carmenta.conversations WHERE user_id = :u", u=user) == ["c1"]


def test_a_path_that_the_application_took_is_rejected_and_the_rest_loads(database: Database, folder: Path) -> None:
    load_rows(database, folder)
    with database.user_session(user := Ids("tiny").of("user", "u1")) as session:
        statement = (
            "INSERT INTO carmenta.documents (user_id, id, path, name, content) "
            "VALUES (:u, gen_random_uuid(), 'home.roof', 'live', 'live')"
        )
        session.execute(text(statement), {"u": user})
    write(folder, documents=[document("d1", "home.boiler", "bleed it thrice"), document("d2", "home.roof")])

    report = load_rows(database, folder)

    assert reasons(report) == ["documents.jsonl:2: path: 'home.roof' is taken by a document that was not loaded"]
    assert rows(database, "SELECT content FROM carmenta.documents ORDER BY 1") == ["bleed it thrice", "live"]
