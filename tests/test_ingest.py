"""Loading a folder: which rows become of its lines, in which order, under which ids, whoever asks."""

import json
import random
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from factory import NOON, document, memory, message, query, rows, write
from loading import (
    TABLES,
    VECTORS,
    all_marks,
    content,
    database,
    folder,
    load_rows,
    positions,
)
from sqlalchemy import text

from carmenta_lab.datasets import Reject
from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import DatasetError, DimensionMismatch, UsageError
from carmenta_lab.ids import Ids, passage_key
from carmenta_lab.indexing.approximate import name as index_name
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.ingest import load, staging, stream
from carmenta_lab.postgres import Database, as_user

__all__ = ["database", "folder"]  # fixtures


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
    monkeypatch.setattr(stream, "BATCH_MESSAGES", 250)
    monkeypatch.setattr(stream, "OPEN_MESSAGES", 500)
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
