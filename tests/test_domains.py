"""Artifacts, votes, feedback, tags and folders of a dataset: what becomes of their lines, at first and again."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from factory import Lines, artifact, at, document, feedback, filed, message, rows, tag, vote, write
from loading import reasons
from sqlalchemy import text

from carmenta_lab import resources
from carmenta_lab.ids import Ids
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database

IDS = Ids("tiny")
USER, C1, M1 = IDS.of("user", "u1"), IDS.of("conversation", "c1"), IDS.of("message", "m1")


FILES: dict[str, Lines] = {
    "messages": [
        message("m1"), message("m2"), message("m3", conversation="c2"), message("n1", conversation="c9", user="u2"),
    ],
    "documents": [document("d1", "home.roof", tags=["roof"])],
    "conversations": [filed("c1", "home.flat.loan"), filed("c2", "home")],
    "artifacts": [
        artifact("a1", 2, "second"),
        artifact("a1", 1, "first", conversation_id="c1", message_id="m1"),
        artifact("ui", 3, kind="ag-ui", component_tree={"type": "list"}, ui_state={"open": True}),
    ],
    "votes": [vote("m1"), vote("m2", False)],
    "feedback": [feedback("m1"), feedback("m2", "session_duration", 12.5)],
    "tags": [
        tag("money", "conversation", "c1"), tag("money", "artifact", "a1"), tag("old", "document", "d1"),
        tag("roof", "document", "d1"), tag("roof", "conversation", "c2"),
    ],
}  # fmt: skip

SAID = {
    "artifacts": "SELECT external_id, row_number() OVER (PARTITION BY id ORDER BY created_at) AS version, created_at, "
    "kind, title, content, component_tree, ui_state, "
    "conversation_id IS NOT NULL FROM carmenta.artifacts",
    "references": "SELECT artifact_id::text, relation, message_id::text FROM carmenta.artifact_references",
    "what hangs on the first": "SELECT h.artifact_id::text, h.artifact_created_at = (SELECT min(a.created_at) "
    "FROM carmenta.artifacts a WHERE a.id = h.artifact_id) FROM (SELECT artifact_id, artifact_created_at "
    "FROM carmenta.artifact_references UNION ALL SELECT artifact_id, artifact_created_at FROM carmenta.artifact_tags "
    "UNION ALL SELECT artifact_id, artifact_created_at FROM carmenta.artifact_folders) h",
    "votes": "SELECT message_id::text, is_upvoted, voted_at FROM carmenta.votes",
    "feedback": "SELECT message_id::text, kind, weight, duration_s, detail, created_at FROM carmenta.feedback_signals",
    "tags": "SELECT name FROM carmenta.tags",
    "conversation tags": "SELECT c.external_id, t.name FROM carmenta.conversation_tags l "
    "JOIN carmenta.conversations c ON c.id = l.conversation_id JOIN carmenta.tags t ON t.id = l.tag_id",
    "artifact tags": "SELECT l.artifact_id::text, t.name FROM carmenta.artifact_tags l "
    "JOIN carmenta.tags t ON t.id = l.tag_id",
    "document tags": "SELECT external_id, tags FROM carmenta.documents",
    "folders": "SELECT path::text, name FROM carmenta.folders",
    "filed": "SELECT c.external_id, f.path::text FROM carmenta.conversations c "
    "LEFT JOIN carmenta.folders f ON f.id = c.folder_id",
}


def content(database: Database) -> dict[str, list[Any]]:
    """What the tables of these domains say, without ids that a reader would not know."""
    return {name: sorted(rows(database, statement), key=repr) for name, statement in SAID.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset that has all of it."""
    return write(tmp_path / "tiny", **FILES)


def test_every_file_becomes_rows_of_its_domain(database: Database, folder: Path) -> None:
    report = load(database, folder, models=())
    assert report.rejects == []
    found = content(database)
    assert [row[:2] + row[5:6] for row in found["artifacts"]] == [
        ("a1", 1, "first"), ("a1", 2, "second"), ("ui", 1, "ui at 3"),
    ]  # fmt: skip
    assert found["artifacts"][2][6:8] == ({"type": "list"}, {"open": True})
    assert [row[8] for row in found["artifacts"]] == [True, False, False]
    assert found["references"] == [(str(IDS.of("artifact", "a1")), "made_in", str(M1))]
    assert sorted(row[1] for row in found["votes"]) == [False, True]
    assert {(row[1], row[3], str(row[4])) for row in found["feedback"]} == {
        ("copy", None, "{'value': 1.0}"), ("session_duration", 12.5, "None"),
    }  # fmt: skip
    assert found["tags"] == ["money", "roof"]
    assert found["conversation tags"] == [("c1", "money"), ("c2", "roof")]
    assert found["artifact tags"] == [(str(IDS.of("artifact", "a1")), "money")]
    assert found["document tags"] == [("d1", ["roof", "old"])]
    assert found["folders"] == [("home", "home"), ("home.flat", "flat"), ("home.flat.loan", "loan")]
    assert found["filed"] == [("c1", "home.flat.loan"), ("c2", "home"), ("c9", None)]
    assert report.changes["artifacts"] == {"added": 3, "updated": 0, "deleted": 0}
    assert rows(database, "SELECT counts -> 'votes' FROM lab.datasets") == [2]


def test_the_sample_fills_every_domain_it_has_files_for(sample: Database) -> None:
    places = ("artifacts", "artifact_references", "votes", "feedback_signals", "tags", "conversation_tags", "artifact_tags", "folders", "attachments")  # fmt: skip  # noqa: E501
    counts = {table: rows(sample, f"SELECT count(*) FROM carmenta.{table}")[0] for table in places}
    assert (counts["artifacts"], counts["votes"], counts["feedback_signals"]) == (23, 64, 58)
    assert (counts["conversation_tags"], counts["artifact_tags"]) == (56, 10)
    assert min(counts.values()) > 0
    unfiled = "SELECT count(*) FROM carmenta.conversations WHERE folder_id IS NULL"
    described = (resources.datasets() / "sample" / "conversations.jsonl").read_text().splitlines()
    assert rows(sample, unfiled) == [sum(json.loads(line).get("folder") is None for line in described)]


TOUCHED = ("artifacts", "artifact_references", "votes", "feedback_signals", "tags", "conversation_tags", "artifact_tags", "folders", "conversations", "documents")  # fmt: skip  # noqa: E501


def test_loading_again_writes_to_no_row_but_those_that_changed(database: Database, folder: Path) -> None:
    load(database, folder, models=())
    marks = {t: rows(database, f"SELECT xmin::text, ctid::text FROM carmenta.{t} ORDER BY 2") for t in TOUCHED}
    write(folder, messages=[*FILES["messages"], message("m4")])
    report = load(database, folder, models=())
    assert report.changes["messages"]["added"] == 1
    after = {t: rows(database, f"SELECT xmin::text, ctid::text FROM carmenta.{t} ORDER BY 2") for t in TOUCHED}
    assert {t for t in TOUCHED if after[t] != marks[t]} <= {"conversations"}  # whose last message is another
    assert [c for c in report.changes.items() if any(c[1].values()) and c[0] not in ("messages", "conversations")] == []


CHANGES: dict[str, dict[str, Lines]] = {
    "a version in between": {"artifacts": [*FILES["artifacts"], artifact("a1", 1.5, "between")]},
    "a version before the first": {"artifacts": [*FILES["artifacts"], artifact("a1", 0, "earliest")]},
    "the first version gone": {"artifacts": [FILES["artifacts"][0], FILES["artifacts"][2]]},
    "the second version gone": {"artifacts": FILES["artifacts"][1:]},
    "an artifact gone": {"artifacts": FILES["artifacts"][:2]},
    "other times": {"artifacts": [artifact("a1", 11, "first"), artifact("a1", 12, "second")]},
    "times swapped": {"artifacts": [artifact("a1", 1, "second"), artifact("a1", 2, "first")]},
    "another content": {"artifacts": [artifact("a1", 1, "rewritten")]},
    "a vote changed, another gone": {"votes": [vote("m1", False)]},
    "feedback gone": {"feedback": []},
    "a tag renamed": {"tags": [tag("cash", "conversation", "c1")]},
    "no tags": {"tags": []},
    "another folder": {"conversations": [filed("c1", "work"), filed("c2", None)]},
    "nothing described": {"conversations": []},
    "a conversation gone": {"messages": [m for m in FILES["messages"] if m["conversation_id"] != "c1"]},
    "a user gone": {"messages": FILES["messages"][3:], "documents": []},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_folder_is_as_if_loaded_for_the_first_time(
    database: Database, folder: Path, tmp_path: Path, change: dict[str, Lines]
) -> None:
    load(database, folder, models=())
    first = content(database)
    write(folder, **change)
    again = load(database, folder, models=())
    changed = content(database)
    assert changed != first
    with database.owner_session() as session:
        session.execute(text("TRUNCATE carmenta.users, lab.datasets CASCADE"))
    fresh = load(database, folder, models=())
    assert content(database) == changed
    assert reasons(fresh) == reasons(again)
    write(folder, **FILES)
    load(database, folder, models=())
    assert content(database) == first


def test_what_the_application_added_stays(database: Database, folder: Path) -> None:
    load(database, folder, models=())
    made, a1 = uuid4(), IDS.of("artifact", "a1")
    values = {"u": USER, "c2": IDS.of("conversation", "c2"), "a1": a1, "m3": IDS.of("message", "m3"), "id": made}
    values |= {"money": IDS.of("tag", "u1/money"), "home": IDS.of("folder", "u1/home"), "first": at(1), "own": at(1.2)}
    added = (
        "INSERT INTO carmenta.votes (user_id, message_id, is_upvoted) VALUES (:u, :m3, true)",
        "INSERT INTO carmenta.tags (user_id, id, name) VALUES (:u, :id, 'mine')",
        "INSERT INTO carmenta.conversation_tags (user_id, conversation_id, tag_id) "
        "VALUES (:u, :c2, :money), (:u, :c2, :id)",
        "INSERT INTO carmenta.folders (user_id, id, path, name) VALUES (:u, :id, 'own', 'own')",
        "INSERT INTO carmenta.artifact_folders (user_id, artifact_id, folder_id, artifact_created_at) "
        "VALUES (:u, :a1, :home, :first)",
        "INSERT INTO carmenta.suggestions "
        "(user_id, id, artifact_id, artifact_created_at, original_text, suggested_text) "
        "VALUES (:u, :id, :a1, :first, 'x', 'y')",
        "INSERT INTO carmenta.artifacts (user_id, id, created_at, kind, title, content) "
        "VALUES (:u, :a1, :own, 'text', 'a1', 'own')",
        "INSERT INTO carmenta.feedback_signals (user_id, id, kind, weight, message_id) "
        "VALUES (:u, :id, 'copy', 1, :m3)",
    )
    with database.owner_session() as session:
        for statement in added:
            session.execute(text(statement), values)
    write(folder, tags=[], votes=[], feedback=[], conversations=[], artifacts=[artifact("a1", 0, "earliest"), *FILES["artifacts"]])  # fmt: skip  # noqa: E501
    load(database, folder, models=())
    found = content(database)
    assert [(row[0], row[1]) for row in found["votes"]] == [(str(values["m3"]), True)]
    assert found["conversation tags"] == [("c2", "mine"), ("c2", "money")]
    assert found["tags"] == ["mine", "money"]
    assert found["folders"] == [("home", "home"), ("own", "own")]
    assert found["filed"] == [("c1", None), ("c2", None), ("c9", None)]
    assert len(found["feedback"]) == 1
    assert sorted((row[1], row[5]) for row in found["artifacts"] if row[4] == "a1") == [
        (1, "earliest"), (2, "first"), (3, "own"), (4, "second"),
    ]  # fmt: skip
    assert {row[1] for row in found["what hangs on the first"]} == {True}
    assert rows(database, "SELECT artifact_created_at = CAST(:t AS timestamptz) FROM carmenta.suggestions", t=at(1)) == [True]  # fmt: skip  # noqa: E501


def test_a_new_version_of_a_deleted_artifact_stays_deleted(database: Database, folder: Path) -> None:
    load(database, folder, models=())
    with database.owner_session() as session:
        session.execute(text("UPDATE carmenta.artifacts SET deleted_at = now() WHERE external_id = 'a1'"))
    write(folder, artifacts=[*FILES["artifacts"], artifact("a1", 9)])
    load(database, folder, models=())
    shown = rows(database, "SELECT count(*), count(deleted_at) FROM carmenta.artifacts WHERE external_id = 'a1'")
    assert shown == [(3, 3)]


BAD: dict[str, tuple[str, Lines, list[str]]] = {
    "an artifact of a stranger": (
        "artifacts", [artifact("x", 1, user_id="who")],
        ["artifacts.jsonl:1: user_id: 'who' has no messages, documents or memories"],
    ),
    "an artifact of two": (
        "artifacts", [artifact("x", 1), artifact("x", 2, user_id="u2")],
        ["artifacts.jsonl:2: artifact_id: 'x' belongs to another user"],
    ),
    "a version twice": (
        "artifacts", [artifact("x", 1), artifact("x", 1)],
        ["artifacts.jsonl:2: artifact_id, created_at: 'x 2025-03-14 12:01:00+00' stands already in line 1"],
    ),
    "an artifact made nowhere": (
        "artifacts", [artifact("x", 1, conversation_id="c9"), artifact("y", 1, message_id="n1"), artifact("z", 1)],
        ["artifacts.jsonl:1: conversation_id: there is no conversation 'c9' of this user",
         "artifacts.jsonl:2: message_id: there is no message 'n1' of this user"],
    ),
    "an interface without parts": (
        "artifacts", [artifact("x", 1, kind="ag-ui")],
        ["artifacts.jsonl:1: component_tree: missing; an artifact of kind 'ag-ui' has one"],
    ),
    "parts without an interface": (
        "artifacts", [artifact("x", 1, ui_state={})],
        ["artifacts.jsonl:1: component_tree, data_bindings, ui_state: only an artifact of kind 'ag-ui' has them, "
         "this is 'text'"],
    ),
    "votes": (
        "votes", [vote("m9"), vote("m1"), vote("m1", False), vote("n1"), vote("m2", user_id="who")],
        ["votes.jsonl:1: message_id: there is no message 'm9' of this user",
         "votes.jsonl:3: message_id: 'm1' stands already in line 2",
         "votes.jsonl:4: message_id: there is no message 'n1' of this user",
         "votes.jsonl:5: user_id: 'who' has no messages, documents or memories"],
    ),
    "feedback": (
        "feedback", [feedback("m1", "session_duration", -1), feedback("m9"), feedback("m1"), feedback("m1"),
                     feedback("m1", value=1e300), feedback("m1", weight=2)],
        ["feedback.jsonl:1: value: expected seconds, 0 to 1000000000, found -1",
         "feedback.jsonl:2: message_id: there is no message 'm9' of this user",
         "feedback.jsonl:4: message_id, signal, created_at: 'm1 copy' stands already in line 3",
         "feedback.jsonl:5: message_id, signal, created_at: 'm1 copy' stands already in line 3",
         "feedback.jsonl:6: weight: expected float <= 1.0, found 2"],
    ),
    "tags": (
        "tags", [tag("t", "conversation", "c9"), tag("t", "document", "c1"), tag("t", "artifact", "a9"),
                 tag("t", "conversation", "c1"), tag("t", "conversation", "c1"), tag("t" * 501, "conversation", "c1"),
                 tag("t", "document", "d1", user_id="u2")],
        ["tags.jsonl:1: target_id: there is no conversation 'c9' of this user",
         "tags.jsonl:2: target_id: there is no document 'c1' of this user",
         "tags.jsonl:3: target_id: there is no artifact 'a9' of this user",
         "tags.jsonl:5: tag, target_id: 't c1' stands already in line 4",
         "tags.jsonl:6: tag: longer than 500 characters",
         "tags.jsonl:7: target_id: there is no document 'd1' of this user"],
    ),
    "conversations": (
        "conversations", [filed("c1", "one"), filed("c1", "two"), filed("c8", "three"), filed("c9", "four")],
        ["conversations.jsonl:2: conversation_id: 'c1': described twice",
         "conversations.jsonl:3: conversation_id: 'c8': no message is in it for this user",
         "conversations.jsonl:4: conversation_id: 'c9': no message is in it for this user"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("file", "lines", "said"), BAD.values(), ids=BAD)
def test_a_bad_line_is_rejected_with_its_reason_and_the_rest_loads(
    database: Database, tmp_path: Path, file: str, lines: Lines, said: list[str]
) -> None:
    folder = write(tmp_path / "tiny", messages=FILES["messages"], documents=FILES["documents"], **{file: lines})
    report = load(database, folder, models=())
    assert [str(reject) for reject in report.rejects] == said
    found = content(database)
    if file == "conversations":
        assert found["folders"] == [("one", "one")]
    else:
        kept = {"artifacts": "artifacts", "votes": "votes", "feedback": "feedback", "tags": "conversation tags"}[file]
        assert len(found[kept]) == len(lines) - len(said)
