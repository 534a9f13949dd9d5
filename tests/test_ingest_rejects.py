"""Loading bad and strange lines: each is listed with its reason, or kept as it is, and the rest loads."""

import json
import stat
from pathlib import Path

import pytest
from factory import document, memory, message, query, rows, write
from loading import (
    VECTORS,
    content,
    database,
    folder,
    load_rows,
    positions,
    reasons,
)

from carmenta_lab.errors import UsageError
from carmenta_lab.ingest import load
from carmenta_lab.postgres import Database

__all__ = ["database", "folder"]  # fixtures


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
