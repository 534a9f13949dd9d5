"""Loading a folder: what becomes of its lines, whatever they hold, however often, whatever interrupts it."""

import json
import multiprocessing
import os
import random
import signal
import stat
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from carmenta_lab.datasets import Reject
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import DatasetError, DimensionMismatch, UsageError
from carmenta_lab.ids import Ids, passage_key
from carmenta_lab.indexing.approximate import name as index_name
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.ingest import LoadReport, first_load, load, reconcile, staging
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.lab import Way, prepare
from carmenta_lab.schema import home

Lines = list[dict[str, Any]]

NOON = datetime(2025, 3, 14, 12, tzinfo=UTC)

VECTORS = f"search.{table_name(DEFAULT_MODEL)}"

TABLES = (
    *("users", "conversations", "messages", "attachments", "documents", "memories", "profiles"),
    *("search.passages", "lab.datasets", "lab.users", "lab.queries", "lab.qrels", VECTORS),
)


def at(minute: float) -> str:
    """A time, that many minutes after noon."""
    return (NOON + timedelta(minutes=minute)).isoformat()


def message(key: str, said: str = "", conversation: str = "c1", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of messages.jsonl; its time follows from the digits of its id."""
    line = {"message_id": key, "conversation_id": conversation, "user_id": user, "role": "user", "author": "Nora"}
    line["created_at"] = at(int("0" + "".join(c for c in key if c.isdigit())[:6]))
    if "parts" not in more:
        line["text"] = said or f"text of {key}"
    return line | more


def memory(key: str, said: str = "", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of memories.jsonl."""
    return {"memory_id": key, "user_id": user, "category": "personal", "text": said or f"fact {key}"} | more


def document(key: str, path: str, said: str = "", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of documents.jsonl."""
    return {"document_id": key, "user_id": user, "path": path, "name": key, "text": said or f"page {key}"} | more


def query(key: str, asked: str = "what?", user: str = "u1", **more: Any) -> dict[str, Any]:
    """A line of queries.jsonl."""
    return {"query_id": key, "user_id": user, "text": asked} | more


def write(folder: Path, qrels: str | None = None, **files: Lines | str) -> Path:
    """A dataset folder; `messages=[...]` becomes messages.jsonl, a string is written as it is."""
    folder.mkdir(exist_ok=True)
    for name, lines in files.items():
        body = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(body, encoding="utf-8")
    if qrels is not None:
        (folder / "qrels.tsv").write_text("query_id\ttarget_id\trelevance\n" + qrels)
    return folder


def rows(database: Database, statement: str, **values: Any) -> list[Any]:
    """Rows as the owner sees them; one column comes without its tuple."""
    with database.owner.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(statement), values)]
    return [row[0] for row in found] if found and len(found[0]) == 1 else found


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


@pytest.fixture
def fresh(way: Way) -> Iterator[Database]:
    """A database of the test's own."""
    found = prepare(way)
    yield found
    found.dispose()


@pytest.fixture(scope="module")
def shared(cluster: Any) -> Iterator[Database]:
    """A database of this file."""
    way = cluster.clone(cluster.template("empty", None))
    found = prepare(way)
    yield found
    found.dispose()
    cluster.drop(way)


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


def test_a_folder_becomes_rows_that_say_what_its_lines_say(database: Database, folder: Path) -> None:
    report = load_rows(database, folder)

    found = content(database)
    assert report.rejects == []
    assert report.changes["messages"] == {"added": 5, "updated": 0, "deleted": 0}
    assert found["users"] == [("u1", "u1"), ("u2", "u2")]
    assert [(row[0], row[1], row[2]) for row in found["conversations"]] == [
        ("c1", "Moving", "archived"),
        ("c2", None, "active"),
        ("c3", None, "active"),
    ]
    assert found["conversations"][0][4:] == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=3))
    m2 = found["messages"][1]
    assert m2[0:6] == ("m2", "c1", None, 1, "assistant", None)
    assert m2[6][1] == {"type": "text", "text": "Noted."}
    assert m2[7] == '[tool search] input: {"q":"lisbon"} -> output: found\n\nNoted.'
    assert found["messages"][2][2:4] == ("m2", 2)
    assert found["attachments"] == [("plan.pdf", "application/pdf", "k/1", 7, bytes.fromhex("ab" * 32))]
    assert found["documents"] == [("d1", "home.boiler", "d1", "bleed it twice", ["heat", "home"])]
    assert found["memories"] == [
        ("k1", "lives in Porto", 0.5, None, "k2"),
        ("k2", "lives in Lisbon", 1.0, "m1", None),
    ]
    assert found["profiles"] == ["Nora, 41"]
    assert found["queries"][0][:5] == ("q1", "where?", "fact", NOON + timedelta(minutes=90), ["Lisbon"])
    assert found["qrels"] == [("q1", "document", 0), ("q1", "memory", 1), ("q1", "message", 2)]
    assert {row[2] for row in found["passages"]} == {
        "[2025-03-14] Nora: I moved to Lisbon",
        f"[2025-03-14] Assistant: {m2[7]}",
        "[2025-03-14] Nora: and sold the car",
        "[2025-03-14] Nora: the boiler broke",
        "[2025-03-14] Nora: bonjour",
        "lives in Porto",
        "[2025-03-14] lives in Lisbon",
        "d1: bleed it twice",
    }


def test_a_given_id_is_the_same_uuid_in_every_load_and_another_in_every_dataset(
    database: Database, folder: Path
) -> None:
    load_rows(database, folder)
    load_rows(database, folder, name="twin")

    keys = rows(database, "SELECT id FROM carmenta.messages WHERE external_id = 'm1'")
    assert set(keys) == {Ids("tiny").of("message", "m1"), Ids("twin").of("message", "m1")}
    assert content(database, "tiny") == content(database, "twin")


def test_loading_the_same_folder_twice_writes_to_no_row(database: Database, folder: Path) -> None:
    first = load(database, folder)
    before = all_marks(database)

    second = load(database, folder)

    assert first.embedded == 8
    assert (first.unchanged, second.unchanged) == (False, True)
    assert (second.embedded, second.changes) == (0, {})
    assert len(before) == len(TABLES)
    assert all(before.values())
    assert all_marks(database) == before


def test_a_shuffled_file_loads_the_same_rows(database: Database, tmp_path: Path) -> None:
    lines = [message(f"m{n}", conversation=f"c{n % 3}", user=f"u{n % 3}") for n in range(1, 40)]
    lines += [message(f"p{n}", conversation="given", user="u1", position=n, created_at=None) for n in range(9)]
    ordered = write(tmp_path / "tiny", messages=lines, memories=[memory(f"k{n}") for n in range(5)])
    random.Random(7).shuffle(lines)
    shuffled = write(tmp_path / "twin", messages=lines, memories=[memory(f"k{n}") for n in (3, 1, 4, 0, 2)])

    load_rows(database, ordered)
    load_rows(database, shuffled)

    assert content(database, "tiny") == content(database, "twin")
    found = rows(
        database,
        "SELECT position FROM carmenta.messages WHERE external_id LIKE 'm%' ORDER BY user_id, created_at",
    )
    assert found == [*range(13)] * 6


def test_files_that_are_empty_are_as_good_as_absent(database: Database, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("conversations", "memories", "documents", "profiles", "queries"), "")
    report = load_rows(database, write(tmp_path / "tiny", messages=[message("m1")], qrels="", **nothing))

    assert report.rejects == []
    assert len(content(database)["messages"]) == 1


def test_documents_alone_are_a_dataset(database: Database, tmp_path: Path) -> None:
    long = " ".join(f"Sentence {n} explains step {n} of the plan." for n in range(200))
    folder = write(tmp_path / "tiny", documents=[document("d1", "a.b"), document("d2", "a.c", long)])

    report = load_rows(database, folder)

    assert report.changes["documents"]["added"] == 2
    found = rows(database, "SELECT content, ordinal FROM search.passages WHERE content LIKE 'd2%' ORDER BY ordinal")
    assert len(found) > 5
    assert [ordinal for _, ordinal in found] == [*range(len(found))]
    assert all(body.startswith("d2: ") for body, _ in found)
    assert max(load_embedder().count_tokens([body for body, _ in found])) <= load_embedder().max_tokens


def test_a_folder_without_one_good_line_is_refused_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", messages='{"message_id": 1}\nnot json\n')

    with pytest.raises(DatasetError, match=r"holds no line that can be loaded\. The first: messages.jsonl:1: "):
        load_rows(database, folder)

    assert rows(database, "SELECT name FROM lab.datasets") == []


def test_a_folder_whose_lines_all_went_bad_leaves_the_loaded_rows_alone(database: Database, folder: Path) -> None:
    load_rows(database, folder)
    before = all_marks(database)
    for file in folder.iterdir():
        file.unlink()
    write(folder, messages="broken\n")

    with pytest.raises(DatasetError):
        load_rows(database, folder)

    assert all_marks(database) == before


# Order


def positions(database: Database) -> dict[str, int]:
    return dict(rows(database, "SELECT external_id, position FROM carmenta.messages"))


def test_a_message_without_a_time_keeps_its_place_and_gets_none(database: Database, tmp_path: Path) -> None:
    undated = [message(key, created_at=None) for key in ("a", "b", "c", "d")]
    lines = [undated[0], message("m1"), undated[1], undated[2], message("m3"), message("m2"), undated[3]]
    load_rows(database, write(tmp_path / "tiny", messages=lines))

    found = positions(database)
    assert sorted(found, key=found.__getitem__) == ["a", "m1", "b", "c", "m2", "m3", "d"]
    assert sorted(found.values()) == [*range(7)]
    assert rows(database, "SELECT count(*) FROM carmenta.messages WHERE created_at IS NULL") == [4]


def test_given_positions_win_over_times(database: Database, tmp_path: Path) -> None:
    lines = [message("m1", position=20), message("m2", position=10), message("m3", position=0)]
    load_rows(database, write(tmp_path / "tiny", messages=lines))

    assert positions(database) == {"m1": 20, "m2": 10, "m3": 0}


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_message_without_a_position_follows_those_that_have_one(
    database: Database, tmp_path: Path, first: int
) -> None:
    given = [message(f"m{n}", position=first + n) for n in range(3)]
    load_rows(database, write(tmp_path / "tiny", messages=[message("x8"), *given, message("x9"), message("x7")]))

    found = positions(database)
    assert sorted(found, key=found.__getitem__) == ["m0", "m1", "m2", "x7", "x8", "x9"]
    assert len(set(found.values())) == 6


def test_a_position_at_the_end_of_the_range_does_not_stop_the_load(database: Database, tmp_path: Path) -> None:
    lines = [message("m1", position=2**31 - 1), message("m2"), message("m3", position=2**31)]
    report = load_rows(database, write(tmp_path / "tiny", messages=lines))

    assert len(positions(database)) == 2
    assert [reject.line for reject in report.rejects] == [3]


def test_branches_keep_their_parents_within_one_conversation(database: Database, tmp_path: Path) -> None:
    lines = [
        message("m1"),
        message("m2", parent_id="m1"),
        message("m3", parent_id="m1"),
        message("m4", parent_id="m4"),
        message("m5", parent_id="nobody"),
        message("m6", conversation="c2", parent_id="m1"),
        message("m8", parent_id="m9"),
        message("m9", parent_id="m1"),
    ]
    report = load_rows(database, write(tmp_path / "tiny", messages=lines))

    assert report.rejects == []
    assert [*report.mended.items()] == [
        ("messages name a parent that is not in their conversation; loaded without it", 3)
    ]
    parents = {row[0]: row[2] for row in content(database)["messages"]}
    assert parents == {"m1": None, "m2": "m1", "m3": "m1", "m4": None, "m5": None, "m6": None, "m8": "m9", "m9": "m1"}


# A folder that changes


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
        session.execute(
            text(
                "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content) "
                "VALUES (:u, gen_random_uuid(), :c, 99, 'user', 'live')"
            ),
            {"u": user, "c": conversation},
        )
        session.execute(
            text(
                "INSERT INTO carmenta.memories (user_id, id, category, content) "
                "VALUES (:u, gen_random_uuid(), 'personal', 'learned')"
            ),
            {"u": user},
        )
        session.execute(
            text(
                "INSERT INTO search.passages (user_id, id, unit, ordinal, content, memory_id) "
                "SELECT user_id, gen_random_uuid(), 'memory', 0, content, id FROM carmenta.memories "
                "WHERE content = 'learned'"
            )
        )
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
    values = {"u": of("user", "u1"), "c1": of("conversation", "c1"), "c2": of("conversation", "c2")}
    m1, m2, m4 = (of("message", key) for key in ("m1", "m2", "m4"))
    values |= {"m1": m1, "m2": m2, "m4": m4, "k1": of("memory", "k1")}
    said = (
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, role, content, parent_id) "
        "VALUES (:u, gen_random_uuid(), :{}, 'user', '{}', :{})"
    )
    learned = (
        "INSERT INTO carmenta.memories (user_id, id, category, content, source_message_id, superseded_by) "
        "VALUES (:u, gen_random_uuid(), 'personal', '{}', {}, {})"
    )
    with database.user_session(values["u"]) as session:
        for statement in (
            said.format("c1", "an answer to m2", "m2"),
            said.format("c1", "an answer to m4", "m4"),
            said.format("c2", "said in c2", "m1"),
            learned.format("of m2", ":m2", "NULL"),
            learned.format("of m4", ":m4", "NULL"),
            learned.format("before k1", "NULL", ":k1"),
            "INSERT INTO carmenta.background_queries (user_id, id, kind, input, conversation_id) "
            "VALUES (:u, gen_random_uuid(), 'k', '{}', :c2)",
            "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title, conversation_id) "
            "VALUES (:u, gen_random_uuid(), now(), 'text', 't', :c2)",
        ):
            session.execute(text(statement), values)
        session.execute(
            text(
                learned.format(
                    "of what was said in c2", "(SELECT id FROM carmenta.messages WHERE content = 'said in c2')", "NULL"
                )
            ),
            values,
        )
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
    assert rows(database, "SELECT external_id FROM carmenta.conversations WHERE user_id = :u", u=values["u"]) == ["c1"]


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


# Identity


def test_the_same_name_from_another_folder_is_refused(database: Database, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = write(tmp_path / "elsewhere" / "tiny", messages=[message("x1")])
    load_rows(database, folder)
    before = all_marks(database)

    with pytest.raises(UsageError, match=r"a dataset 'tiny' was loaded from .* with --name"):
        load_rows(database, other)

    assert all_marks(database) == before
    load_rows(database, other, name="other")
    assert rows(database, "SELECT name FROM lab.datasets ORDER BY 1") == ["other", "tiny"]


def test_the_same_content_from_another_folder_is_the_same_dataset(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    load_rows(database, folder)
    (tmp_path / "copy").mkdir()
    twin = tmp_path / "copy" / "tiny"
    twin.mkdir()
    for file in folder.iterdir():
        (twin / file.name).write_bytes(file.read_bytes())

    assert load_rows(database, twin).unchanged


def test_a_folder_that_was_moved_stays_the_same_dataset(database: Database, folder: Path, tmp_path: Path) -> None:
    load_rows(database, folder)
    (tmp_path / "attic").mkdir()
    moved = folder.rename(tmp_path / "attic" / "tiny")
    write(moved, memories=[])

    assert load_rows(database, moved).changes["memories"]["deleted"] == 2
    assert rows(database, "SELECT origin FROM lab.datasets") == [str(moved)]


@pytest.mark.parametrize("name", ["   ", "n" * 256, "\U0001f600" * 64, "b\udcff", "a\0b"])
def test_a_name_that_cannot_be_kept_is_refused(database: Database, folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="dataset's name"):
        load_rows(database, folder, name=name)


def test_ids_as_long_as_they_may_be_are_kept(database: Database, tmp_path: Path) -> None:
    letters = [chr(0x20000 + n) for n in range(20_000)]
    keys = ["".join(random.Random(n).choices(letters, k=500)) for n in range(5)]
    lines = [message(keys[0], conversation=keys[1], user=keys[2], created_at=None), message("x" * 501)]
    folder = write(tmp_path / "tiny", messages=lines, queries=[query(keys[3], user=keys[2])])
    (folder / "qrels.tsv").write_text(f"query_id\ttarget_id\trelevance\n{keys[3]}\t{keys[0]}\t1\n", encoding="utf-8")

    report = load_rows(database, folder, name=keys[4][:63])

    assert [reject.line for reject in report.rejects] == [2]
    assert rows(database, "SELECT external_id FROM carmenta.messages") == [keys[0]]
    assert rows(database, "SELECT query_id FROM lab.qrels") == [keys[3]]


# Rejects


def test_bad_lines_are_listed_and_the_rest_loads(database: Database, tmp_path: Path) -> None:
    body = "\n".join(
        [json.dumps(message("m1")), "{broken", json.dumps(message("m3", created_at="2025-01-01T10:00:00")), "", "[]"]
    )
    folder = write(tmp_path / "tiny", messages=body + "\n" + json.dumps(message("m4")) + "\n")

    report = load_rows(database, folder, rejects_folder=tmp_path / "rejects" / "deep")

    assert [(reject.file, reject.line) for reject in report.rejects] == [("messages.jsonl", n) for n in (2, 3, 5)]
    assert positions(database) == {"m1": 0, "m4": 1}
    assert rows(database, "SELECT counts->>'rejects' FROM lab.datasets") == ["3"]
    assert report.rejects_file is not None
    assert stat.S_IMODE(report.rejects_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(report.rejects_file.parent.stat().st_mode) == 0o700
    entries = [json.loads(line) for line in report.rejects_file.read_text().splitlines()]
    assert [entry["line"] for entry in entries] == [2, 3, 5]
    assert entries[0]["raw"] == "{broken"


def test_the_rejects_of_a_mended_folder_are_gone(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", messages=json.dumps(message("m1")) + "\nbroken\n")
    first = load_rows(database, folder, rejects_folder=tmp_path / "rejects")
    write(folder, messages=[message("m1"), message("m2")])

    second = load_rows(database, folder, rejects_folder=tmp_path / "rejects")

    assert first.rejects_file is not None
    assert not first.rejects_file.exists()
    assert second.rejects_file is None


def test_a_rejected_line_takes_its_conversation_along_when_asked(database: Database, tmp_path: Path) -> None:
    lines = [
        message("m1"),
        message("m2", role="owl"),
        message("m3", conversation="c2"),
        message("m3", conversation="c2"),
        message("m5", conversation="c3"),
    ]
    folder = write(
        tmp_path / "tiny",
        messages=lines,
        memories=[memory("k1", source_message_id="m1")],
        queries=[query("q1")],
        qrels="q1\tm1\t1\nq1\tm5\t1\n",
    )
    report = load_rows(database, folder, reject_scope="conversation")

    assert [row[0] for row in content(database)["conversations"]] == ["c3"]
    assert [row[0] for row in content(database)["messages"]] == ["m5"]
    assert report.mended == {
        "messages left out because their conversation has a rejected line": 2,
        "memories name a source message that is not this user's; loaded without it": 1,
    }
    assert "qrels.tsv:2: target_id: 'm1' is not in this folder" in reasons(report)
    assert {row[2] for row in content(database)["passages"]} == {"[2025-03-14] Nora: text of m5", "fact k1"}


def test_another_reject_scope_loads_the_same_folder_otherwise(database: Database, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "tiny", messages=[message("m1"), message("m2", role="owl"), message("m3", conversation="c2")]
    )
    load_rows(database, folder)

    report = load_rows(database, folder, reject_scope="conversation")

    assert not report.unchanged
    assert positions(database) == {"m3": 0}
    assert load_rows(database, folder, reject_scope="conversation").unchanged


def test_an_unknown_reject_scope_is_refused(database: Database, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"reject_scope must be 'line' or 'conversation', not 'lines'"):
        load_rows(database, folder, reject_scope="lines")


def test_of_lines_with_one_id_the_first_is_kept(database: Database, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "tiny",
        messages=[
            message("m1", "first"),
            message("m2"),
            message("m1", "second"),
            message("m1", "x", conversation="c2"),
        ],
        memories=[memory("k1", "first"), memory("k1", "second")],
        documents=[document("d1", "a"), document("d1", "b"), document("d2", "a"), document("d3", "a", user="u2")],
        profiles=[{"user_id": "u1", "text": "first"}, {"user_id": "u1", "text": "second"}],
        queries=[query("q1", "first"), query("q1", "second")],
        qrels="q1\tm1\t1\nq1\tm1\t2\n",
        conversations=[{"conversation_id": "c1", "user_id": "u1", "title": t} for t in ("first", "second")],
    )
    report = load_rows(database, folder)

    assert reasons(report) == [
        "conversations.jsonl:2: conversation_id: 'c1': described twice",
        "documents.jsonl:2: document_id: 'd1' stands already in line 1",
        "documents.jsonl:3: path: 'a' stands already in line 1",
        "memories.jsonl:2: memory_id: 'k1' stands already in line 1",
        "messages.jsonl:3: message_id: 'm1' stands already in line 1",
        "messages.jsonl:4: message_id: 'm1' stands already in line 1",
        "profiles.jsonl:2: user_id: 'u1' stands already in line 1",
        "qrels.tsv:3: query_id and target_id: 'q1 m1' stands already in line 2",
        "queries.jsonl:2: query_id: 'q1' stands already in line 1",
    ]
    found = content(database)
    assert [row[7] for row in found["messages"]] == ["first", "text of m2"]
    assert [row[:2] for row in found["documents"]] == [("d1", "a"), ("d3", "a")]
    assert found["profiles"] == ["first"]
    assert [row[:2] for row in found["conversations"]] == [("c1", "first")]
    assert found["qrels"] == [("q1", "message", 1)]


def test_a_conversation_belongs_to_the_user_who_comes_first(database: Database, tmp_path: Path) -> None:
    lines = [message("m1"), message("m2", user="u2"), message("m3"), message("m4", user="u2", conversation="c2")]
    report = load_rows(database, write(tmp_path / "tiny", messages=lines))

    assert reasons(report) == ["messages.jsonl:2: conversation_id: 'c1' belongs to user 'u1', not to 'u2'"]
    assert positions(database) == {"m1": 0, "m3": 1, "m4": 0}


def test_unknown_targets_are_rejected_and_unknown_links_left_out(database: Database, tmp_path: Path) -> None:
    folder = write(
        tmp_path / "tiny",
        messages=[message("m1"), message("m2", user="u2", conversation="c2")],
        memories=[
            memory("k1", source_message_id="m2", superseded_by="k9"),
            memory("k2", source_message_id="m9", superseded_by="k3"),
            memory("k3", user="u2"),
        ],
        queries=[query("q1"), query("q2", user="u9")],
        qrels="q1\tm1\t1\nq1\tm9\t1\nq9\tm1\t1\nq2\tm1\t1\nq1\tm1\tmuch\n",
        conversations=[
            {"conversation_id": "c9", "user_id": "u1"},
            {"conversation_id": "c1", "user_id": "u2", "title": "not mine"},
        ],
    )
    report = load_rows(database, folder)

    assert reasons(report) == [
        "conversations.jsonl:1: conversation_id: 'c9': no message is in it for this user",
        "conversations.jsonl:2: conversation_id: 'c1': no message is in it for this user",
        "qrels.tsv:3: target_id: 'm9' is not in this folder",
        "qrels.tsv:4: query_id: 'q9' is not in this folder",
        "qrels.tsv:5: query_id: 'q2' is not in this folder",
        "qrels.tsv:6: relevance: expected an integer from 0, found 'much'",
        "queries.jsonl:2: user_id: 'u9' has no messages, documents or memories",
    ]
    assert sorted(report.mended.values()) == [2, 2]
    assert [row[3:] for row in content(database)["memories"]] == [(None, None)] * 3
    assert [row[:2] for row in content(database)["conversations"]] == [("c1", None), ("c2", None)]


def test_memories_that_supersede_each_other_in_a_ring_are_rejected(database: Database, tmp_path: Path) -> None:
    links = {"k1": "k2", "k2": "k3", "k3": "k1", "k4": "k1", "k5": "k5", "k6": "k7", "k7": None}
    folder = write(
        tmp_path / "tiny",
        messages=[message("m1")],
        memories=[memory(key, superseded_by=successor) for key, successor in links.items()],
    )
    report = load_rows(database, folder)

    assert reasons(report) == [
        f"memories.jsonl:{n}: superseded_by: 'k{n}' supersedes itself in the end" for n in (1, 2, 3, 5)
    ]
    assert [(row[0], row[4]) for row in content(database)["memories"]] == [("k4", None), ("k6", "k7"), ("k7", None)]


# Strange texts


def test_parts_with_nul_and_halves_of_characters_are_mended(database: Database, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a\0b"}, {"type": "tool-x\0", "input": {"k\0": "v\0\ud800"}}]
    body = json.dumps(message("m\0001", parts=parts, author="No\0ra")) + "\n"
    report = load_rows(database, write(tmp_path / "tiny", messages=body))

    assert report.rejects == []
    found = rows(database, "SELECT external_id, content, author, parts::text FROM carmenta.messages")[0]
    assert found[:3] == ("m1", 'ab\n\n[tool x] input: {"k":"v\ufffd"}', "Nora")
    assert "\\u0000" not in found[3]


def test_numbers_that_no_machine_holds_do_not_stop_the_load(database: Database, tmp_path: Path) -> None:
    numbers = ["123456789012345678901234567890", "1e308", "-0.0", "1e999", "1e-999", "9" * 400]
    lines = [
        json.dumps(message(f"m{n}", parts=[{"type": "text", "text": "x", "n": "@"}])).replace('"@"', number)
        for n, number in enumerate(numbers)
    ]
    report = load_rows(database, write(tmp_path / "tiny", messages="\n".join(lines)))

    assert len(positions(database)) + len(report.rejects) == len(numbers)
    assert len(positions(database)) >= 4


STRANGE = {
    "right to left": "שלום \u202eevil",
    "combining": "e\u0301" * 9,
    "emoji family": "👨‍👩‍👧‍👦" * 9,
    "flags": "🇵🇹" * 9,
    "astral": "𠀀𠀁" * 150,
    "no break": "\u00a0a\u2003b\u2028c",
    "controls": "\x01\x02\x7f\x9b[31m",
    "nothing visible": "\u200b\u200d\ufeff",
    "private": "\ue000\uf8ff",
    "replacement": "\ufffd",
    "accents alone": "\u0301\u0308",
    "many accents": "\u0301" * 400,
    "one long word": "x" * 5_000,
    "one long line": "，".join("東京都渋谷区神宮前" for _ in range(40)),
    "quotes": "'; DROP TABLE x; -- \\ %s %(a)s $1 :b {} E'\\x00'",
    "zalgo": "".join(c + "\u0335\u0321\u0489" for c in "hello world"),
}


def test_strange_texts_are_stored_as_they_are_and_embedded_where_there_is_something_to_read(
    database: Database, tmp_path: Path
) -> None:
    lines = [message(f"m{n}", said, created_at=None) for n, said in enumerate(STRANGE.values())]
    memories = [memory(f"k{n}", said) for n, said in enumerate(STRANGE.values())]
    documents = [document(f"d{n}", f"p{n}", said, name=said[:50]) for n, said in enumerate(STRANGE.values())]
    folder = write(tmp_path / "tiny", messages=lines, memories=memories, documents=documents)

    report = load(database, folder)

    assert report.rejects == []
    for table in ("messages", "memories", "documents"):
        assert sorted(rows(database, f"SELECT content FROM carmenta.{table}")) == sorted(STRANGE.values())
    silent = {"nothing visible", "private", "replacement", "accents alone", "many accents"}
    without = rows(
        database,
        "SELECT content FROM carmenta.memories m WHERE NOT EXISTS "
        "(SELECT FROM search.passages p WHERE p.memory_id = m.id)",
    )
    assert sorted(without) == sorted(STRANGE[name] for name in silent)
    counts = rows(database, f"SELECT (SELECT count(*) FROM search.passages), (SELECT count(*) FROM {VECTORS})")[0]
    assert counts[0] == counts[1] == report.embedded
    assert load(database, folder).unchanged


def test_a_message_of_ten_megabytes_is_stored_whole_and_searched_at_its_beginning(
    database: Database, tmp_path: Path
) -> None:
    said = ("a " * 130_000)[:199_990] + " lighthouse" + " afterwards" + " z" * 4_900_000
    lines = [message("m1", said), message("m2", "x" * 11_000_000), message("m3")]
    report = load_rows(database, write(tmp_path / "tiny", messages=lines))

    assert reasons(report) == [f"messages.jsonl:2: longer than {10 * 2**20} bytes"]
    assert rows(database, "SELECT octet_length(content) FROM carmenta.messages ORDER BY 1 DESC") == [len(said), 10]
    found = "SELECT count(*) FROM search.passages WHERE text_search @@ to_tsquery('english', :word)"
    assert len(said) > 9_900_000
    assert rows(database, found, word="lighthous:*")[0] >= 1
    assert rows(database, found, word="afterwards") == [0]


def test_a_text_of_a_hundred_thousand_different_words_loads(database: Database, tmp_path: Path) -> None:
    said = " ".join(f"{n:x}q" for n in range(100_000))
    folder = write(tmp_path / "tiny", documents=[document("d1", "a", said)], messages=[message("m1", said)])

    report = load_rows(database, folder)

    assert report.rejects == []
    assert rows(database, "SELECT length(text_search) FROM carmenta.documents")[0] > 30_000


def test_a_document_of_more_words_than_full_text_search_can_hold_is_loaded_and_its_beginning_found(
    database: Database, tmp_path: Path
) -> None:
    letters = [chr(0x20000 + n) for n in range(40_000)]
    said = " ".join(f"{a}{b}-{b}{a}" for a, b in zip(letters[:30_000], letters[5_000:35_000], strict=True))
    folder = write(tmp_path / "tiny", documents=[document("d1", "a", said), document("d2", "b")])

    report = load_rows(database, folder)

    assert reasons(report) == []
    assert sorted(row[0] for row in content(database)["documents"]) == ["d1", "d2"]
    found = "SELECT length(text_search) FROM carmenta.documents ORDER BY 1 DESC LIMIT 1"
    assert rows(database, found)[0] > 30_000


def test_a_text_is_indexed_in_its_own_language(database: Database, tmp_path: Path) -> None:
    lines = [
        message("m1", "die Häuser", language="de"),
        message("m2", "running houses", language="en"),
        message("m3", "running houses", language="xx"),
        message("m4", "running houses", language="klingon"),
    ]
    folder = write(
        tmp_path / "tiny",
        messages=lines,
        memories=[memory("k1", "Häuser", language="de")],
        documents=[document("d1", "a", "Häuser", language="de")],
    )
    report = load_rows(database, folder)

    assert [reject.line for reject in report.rejects] == [4]
    found = (
        "SELECT text_search::text FROM search.passages p JOIN carmenta.messages m ON m.id = p.message_id "
        "WHERE m.external_id = :m"
    )
    assert "'haus'" in rows(database, found, m="m1")[0]
    assert "'hous'" in rows(database, found, m="m2")[0]
    assert "'houses'" in rows(database, found, m="m3")[0]
    for table in ("carmenta.documents", "search.passages"):
        indexed = rows(
            database, f"SELECT text_search::text FROM {table} WHERE language = 'de' AND content LIKE '%Häuser'"
        )
        assert all("'haus'" in words for words in indexed)


# Interruptions and others at work


def many(folder: Path) -> Path:
    """Twelve conversations of three users, five messages each."""
    lines = [
        message(f"m{n}", f"version 1 of {n}", conversation=f"c{n % 12}", user=f"u{n % 3}", parent_id=f"m{n - 12}")
        for n in range(60)
    ]
    return write(folder, messages=lines, memories=[memory("k1")], documents=[document("d1", "a")])


def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two conversations of `many` a transaction."""
    for module in (reconcile, first_load):
        monkeypatch.setattr(module, "BATCH_MESSAGES", 10)


class Cut(Exception):
    """What interrupts a load."""


@pytest.mark.parametrize("stage", ["reading", "writing", "embedding"])
def test_a_load_that_is_cut_off_goes_on_when_it_is_started_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    small_batches(monkeypatch)
    folder = many(tmp_path / "tiny")

    def cut(at: str, done: int, total: int | None) -> None:
        if at == stage:
            raise Cut

    with pytest.raises(Cut):
        load(database, folder, progress=cut)

    sizes = rows(database, "SELECT count(*) FROM carmenta.messages GROUP BY conversation_id")
    assert set(sizes) <= {5}  # how many conversations were written meanwhile is up to the machine
    assert len(sizes) == 12 or stage != "embedding"
    assert rows(database, ADVISORY_LOCKS) == [0]
    held = marks(database, "carmenta.messages")

    report = load(database, folder)

    assert report.unchanged == (stage == "embedding")
    assert report.embedded == 62
    assert held.items() <= marks(database, "carmenta.messages").items()
    load_rows(database, folder, name="twin")
    assert content(database, "tiny") == content(database, "twin")


def _load_and_die(way: Way, folder: Path) -> None:
    reconcile.BATCH_MESSAGES = first_load.BATCH_MESSAGES = 10
    database = prepare(way)

    def kill(stage: str, done: int, total: int | None) -> None:
        if stage == "writing":
            os.kill(os.getpid(), signal.SIGKILL)

    load(database, folder, models=(), progress=kill)


def kill_a_load(way: Way, folder: Path) -> None:
    """Start a load in a process of its own that is killed while it writes."""
    child = multiprocessing.get_context("spawn").Process(target=_load_and_die, args=(way, folder))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


STAGES = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'stage%'"


def test_a_first_load_that_is_killed_leaves_whole_conversations_and_can_be_started_again(
    fresh: Database, way: Way, tmp_path: Path
) -> None:
    folder = many(tmp_path / "tiny")
    kill_a_load(way, folder)

    sizes = rows(fresh, "SELECT count(*) FROM carmenta.messages GROUP BY conversation_id")
    assert set(sizes) == {5}
    assert rows(fresh, "SELECT content_hash FROM lab.datasets") == [None]
    assert rows(fresh, STAGES) == [0]
    load_rows(fresh, folder)
    load_rows(fresh, folder, name="twin")
    assert content(fresh, "tiny") == content(fresh, "twin")


def test_what_a_killed_load_left_in_its_stage_is_swept_up_by_any_load(
    fresh: Database, way: Way, tmp_path: Path
) -> None:
    folder = many(tmp_path / "tiny")
    load_rows(fresh, folder)
    write(folder, memories=[memory("k2")])
    kill_a_load(way, folder)

    assert rows(fresh, STAGES) == [1]
    load_rows(fresh, many(tmp_path / "other"), name="other")
    assert rows(fresh, STAGES) == [0]
    load_rows(fresh, folder)
    load_rows(fresh, folder, name="twin")
    assert content(fresh, "tiny") == content(fresh, "twin")


def test_two_loads_of_one_folder_at_once_are_one_load(fresh: Database, tmp_path: Path) -> None:
    folder = many(tmp_path / "tiny")
    reports: list[LoadReport | BaseException] = []
    start = threading.Barrier(3)

    def run() -> None:
        start.wait()
        try:
            reports.append(load(fresh, folder))
        except BaseException as error:
            reports.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert sorted(report.unchanged for report in reports if isinstance(report, LoadReport)) == [False, True, True]
    assert rows(fresh, "SELECT count(*) FROM carmenta.messages") == [60]
    assert rows(fresh, f"SELECT count(*) FROM {VECTORS}") == [62]


def test_two_folders_are_loaded_at_once(fresh: Database, tmp_path: Path) -> None:
    folders = [many(tmp_path / name) for name in ("tiny", "twin")]
    errors: list[BaseException] = []

    def run(folder: Path) -> None:
        try:
            load(fresh, folder)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert errors == []
    assert content(fresh, "tiny") == content(fresh, "twin")
    assert rows(fresh, f"SELECT count(*) FROM {VECTORS}") == [124]


def at_every_commit(engine: Engine, look: Any) -> Any:
    """Have something called whenever the loader has committed and goes on."""

    @event.listens_for(engine, "begin")
    def seen(_: object) -> None:
        look()

    return lambda: event.remove(engine, "begin", seen)


def test_a_reader_never_sees_half_a_conversation(
    fresh: Database, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)
    folder = many(tmp_path / "tiny")
    reader = prepare(way)
    seen: dict[str, set[tuple[str, ...]]] = {}

    def look() -> None:
        found = rows(
            reader,
            "SELECT c.external_id, array_agg(m.content || coalesce(p.content, '-') ORDER BY m.position) "
            "FROM carmenta.conversations c JOIN carmenta.messages m ON m.conversation_id = c.id "
            "LEFT JOIN search.passages p ON p.message_id = m.id GROUP BY 1",
        )
        for conversation, said in found:
            seen.setdefault(conversation, set()).add(tuple(said))

    stop = at_every_commit(fresh.owner, look)
    load_rows(fresh, folder)
    assert [len(versions) for versions in seen.values()] == [1] * 12
    lines = [  # in every conversation one message is changed, one is gone and one is new
        message(f"m{n}", f"version {2 if n < 12 else 1} of {n}", conversation=f"c{n % 12}", user=f"u{n % 3}")
        for n in range(72)
        if not 24 <= n < 36
    ]
    write(folder, messages=lines)
    load_rows(fresh, folder)
    look()
    stop()
    reader.dispose()

    assert [len(versions) for versions in seen.values()] == [2] * 12
    assert {len(version) for versions in seen.values() for version in versions} == {5}


# Rights, memory, models


def test_a_load_is_the_work_of_an_owner_bound_by_row_level_security(database: Database, folder: Path) -> None:
    load(database, folder)

    with database.owner.connect() as connection:
        bound = connection.execute(
            text(
                "SELECT current_user, rolsuper OR rolbypassrls, row_security_active('carmenta.messages') "
                "FROM pg_roles WHERE rolname = current_user"
            )
        ).one()
    assert tuple(bound) == ("carmenta_owner", False, True)
    assert rows(database, "SELECT relname FROM pg_class WHERE relname LIKE 'stage%'") == []
    with database.app_session() as session:
        count = f"SELECT (SELECT count(*) FROM carmenta.messages), (SELECT count(*) FROM {VECTORS})"
        assert tuple(session.execute(text(count)).one()) == (0, 0)
        with as_user(session, Ids("tiny").of("user", "u2")):
            assert tuple(session.execute(text(count)).one()) == (1, 1)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_load_needs_no_more_memory_for_a_longer_file(
    database: Database, tmp_path: Path, traced: None, monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    monkeypatch.setattr(staging, "BATCH_ROWS", 250)
    monkeypatch.setattr(first_load, "BATCH_MESSAGES", 250)
    monkeypatch.setattr(first_load, "OPEN_MESSAGES", 500)
    peaks = []
    for size in (2_000, 16_000):
        order = list(range(size))
        if shuffled:
            random.Random(7).shuffle(order)
        lines = (json.dumps(message(f"m{n}", "word " * 40, conversation=f"c{n // 50}", created_at=None)) for n in order)
        folder = write(tmp_path / f"big{size}", messages="\n".join(lines))
        tracemalloc.reset_peak()
        load_rows(database, folder)
        peaks.append(tracemalloc.get_traced_memory()[1])

    # What is held is bounded by four batches and the open conversations; threads decide how much of it is, up to
    # five times the least. Eight times the lines would need eight times the memory if rows were kept.
    assert peaks[1] < 5 * peaks[0]
    assert peaks[1] < 8_000_000  # a row takes about a kilobyte
    assert rows(database, "SELECT count(*) FROM carmenta.messages") == [18_000]


def test_a_model_of_another_dimension_is_refused(database: Database) -> None:
    assert register(database.owner, "some/model", 8) == register(database.owner, "some/model", 8)

    with pytest.raises(DimensionMismatch, match="the model some/model produced 9 dimensions; 8 are expected"):
        register(database.owner, "some/model", 9)


def test_models_with_long_names_that_begin_alike_have_tables_and_indexes_of_their_own(database: Database) -> None:
    models = [f"sentence-transformers/paraphrase-multilingual-{name}-v2" for name in ("MiniLM-L12", "mpnet-base")]
    tables = [register(database.owner, model, 4) for model in models]

    assert len(set(tables)) == len({index_name(table, "ivfflat") for table in tables}) == 2
    assert all(index_name(table, "ivfflat").endswith(table) for table in tables)
    assert table_name("all-MiniLM-L6-v2") == "embeddings_all_minilm_l6_v2"


def test_the_id_of_a_passage_depends_on_all_it_shows() -> None:
    source = Ids("tiny").key("message", "m1")
    base = ("turn", 0, "text", NOON, "Nora", "en")
    others = [
        ("section", *base[1:]),
        ("turn", 1, *base[2:]),
        ("turn", 0, "texts", *base[3:]),
        (*base[:3], None, *base[4:]),
        (*base[:4], None, "en"),
        (*base[:5], "de"),
    ]
    keys = {passage_key(source, *fields) for fields in (base, *others)}
    assert len(keys) == 7
    assert Reject("a", 1, "b").ids == {}
