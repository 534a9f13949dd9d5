"""A first load writes while it reads: exactly the rows that the stage would have given, whatever the file's order."""

import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factory import NOON, memory, message, query, rows, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import VECTORS, content, database, load_rows, reasons

from carmenta_lab.datasets import scan
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import DatasetError, DimensionMismatch
from carmenta_lab.indexing import packed
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.ingest import load, stream
from carmenta_lab.postgres import Database

pytestmark = pytest.mark.everywhere

__all__ = ["database"]  # a fixture

LONG = "The roof was mended in spring and the gutter in autumn. "

TIMES = st.none() | st.integers(0, 5).map(lambda minute: (NOON + timedelta(minutes=minute)).isoformat())
LINES = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.integers(0, 30).map(lambda n: f"m{n}"),
            "conversation": st.integers(0, 4).map(lambda n: f"c{n}"),
            "user": st.sampled_from(["u0", "u0", "u0", "u1"]),
            "said": st.sampled_from(["yes", "no", LONG * 5, LONG * 30, "\u200b" * 300]),
            "created_at": TIMES,
            "position": st.none() | st.none() | st.integers(0, 9),
            "parent_id": st.none() | st.integers(0, 30).map(lambda n: f"m{n}"),
            "role": st.sampled_from(["user", "user", "assistant", "owl"]),
        }
    ),
    min_size=1,
    max_size=30,
)


def loads(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> tuple[Any, ...]:
    """What a first load gives, in all it says, when so many messages of open conversations are held at most."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql("DELETE FROM carmenta.users")
        connection.exec_driver_sql("DELETE FROM lab.datasets")
    with monkeypatch.context() as patched:
        patched.setattr(stream, "OPEN_MESSAGES", most)
        patched.setattr(stream, "BATCH_MESSAGES", 4)
        try:
            report = load_rows(database, folder)
        except DatasetError as error:
            return (str(error),)
    keys = "SELECT m.id, m.position, m.parent_id, p.id FROM carmenta.messages m "
    keys += "LEFT JOIN search.passages p ON p.user_id = m.user_id AND p.message_id = m.id ORDER BY 1, 4"
    counts = rows(database, "SELECT counts::text FROM lab.datasets")
    return (
        *(content(database), rows(database, keys), reasons(report), report.mended),
        *({table: found for table, found in report.changes.items() if any(found.values())}, counts),
    )


@given(lines=LINES, bad=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_way_to_the_tables_gives_the_same_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]], bad: bool
) -> None:
    made = [message(**line) for line in lines]
    first = made[0]["message_id"]
    folder = write(
        tmp_path / "tiny",
        messages=[*made, {"conversation_id": "c0"}] if bad else made,
        conversations=[{"conversation_id": f"c{n}", "user_id": "u0", "title": f"title {n}"} for n in range(6)],
        memories=[memory("k1", user="u0", source_message_id=first), memory("k2", user="u0", source_message_id="m99")],
        queries=[query("q1", user="u0")],
        qrels=f"q1\t{first}\t1\nq1\tm30\t2\n",
    )

    staged = loads(database, folder, monkeypatch, most=0)

    assert loads(database, folder, monkeypatch, most=6) == staged
    assert loads(database, folder, monkeypatch, most=1_000) == staged


def test_conversations_are_streamed_unless_they_are_spread_too_far(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of the tests: which of both ways a file takes."""
    left: list[int] = []
    plain = stream.Stream.finish

    def counted(self: stream.Stream) -> None:
        left.append(len(self.left))
        plain(self)

    monkeypatch.setattr(stream.Stream, "finish", counted)
    lines = [message(f"m{n}", conversation=f"c{n // 5}") for n in range(50)]
    monkeypatch.setattr(stream, "OPEN_MESSAGES", 10)
    load_rows(database, write(tmp_path / "tiny", messages=lines))
    random.Random(7).shuffle(lines)
    load_rows(database, write(tmp_path / "twin", messages=lines))

    assert left[0] == 0
    assert left[1] > 5
    assert content(database, "tiny") == content(database, "twin")


def test_a_file_that_changes_while_it_is_read_is_noticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "tiny", messages=[message(f"m{n}", conversation=f"c{n}") for n in range(3)])
    before = scan(folder)
    write(folder, messages=[message(f"m{n}", conversation=f"c{n % 3}") for n in range(4)])
    monkeypatch.setattr(sys.modules[load.__module__], "scan", lambda _: before)

    with pytest.raises(DatasetError, match=r"messages\.jsonl was changed while it was being read, at line 4"):
        load_rows(database, folder)

    monkeypatch.undo()
    load_rows(database, folder)
    assert rows(database, "SELECT count(*) FROM carmenta.messages") == [4]


def test_a_first_look_finds_where_conversations_end_and_which_ids_come_twice(tmp_path: Path) -> None:
    lines = [message("m1"), message("m2", conversation="c2"), message("m3"), message("m2", conversation="c3")]
    folder = write(tmp_path / "tiny", messages=lines)
    with (folder / "messages.jsonl").open("a") as file:
        file.write('\nbroken\n{"message_id": "m\\u00009", "conversation_id": "c\\u00001"}\n\n')

    found = scan(folder)

    assert (found.lines, found.messages) == (7, 5)
    assert found.ends == {"c1": 7, "c2": 2, "c3": 4}
    assert found.repeated == {hash("m2")}
    assert scan(write(tmp_path / "none", documents=[])).ends == {}


# Vectors that the folder brings along


def units(count: int, dim: int = 8) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors of several lengths."""
    return np.random.default_rng(7).normal(size=(count, dim)).astype(np.float32)


def with_vectors(folder: Path, model: str, vectors: Any) -> Path:
    """Put vectors into a folder."""
    path = folder / "embeddings" / f"{model}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    return folder


def stored(database: Database, model: str) -> dict[str, Any]:
    """Vector by the id of its message, as given."""
    found = rows(
        database,
        f"SELECT m.external_id, e.embedding::text FROM search.{table_name(model)} e "
        "JOIN carmenta.messages m ON m.user_id = e.user_id AND m.id = e.source_id AND m.created_at = e.created_at "
        "JOIN search.passages p ON p.user_id = e.user_id AND p.id = e.passage_id AND p.message_id = m.id "
        "WHERE e.unit = 'turn'",
    )
    return {key: np.array(vector.strip("[]").split(","), float) for key, vector in found}


@pytest.mark.parametrize("most", [0, 1_000])
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_given_vectors_stand_beside_the_messages_of_their_lines(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, kind: str
) -> None:
    monkeypatch.setattr(stream, "OPEN_MESSAGES", most)
    monkeypatch.setattr(stream, "BATCH_MESSAGES", 4)
    lines = [message(f"m{n}", conversation=f"c{n % 3}", user=f"u{n % 3}") for n in range(20)]
    lines[7] = message("m7", LONG * 6, conversation="c1", user="u1")  # long, and still one passage
    lines[9] = message("m9", LONG * 60, conversation="c0", user="u0")  # several: the vector is not theirs
    lines[11]["role"] = "owl"  # rejected
    vectors = units(20).astype(kind)
    folder = with_vectors(write(tmp_path / "tiny", messages=lines, memories=[memory("k1")]), "org/given", vectors)

    report = load(database, folder, models=())

    found = stored(database, "org/given")
    assert sorted(found) == sorted(f"m{n}" for n in range(20) if n not in (9, 11))
    for key, vector in found.items():
        expected = vectors[int(key[1:])].astype(float)
        assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-3)
    assert report.given == {"org/given": 18}
    pieces = rows(database, "SELECT count(*) FROM search.passages WHERE unit <> 'turn' OR length(content) > 600")[0]
    assert report.lacking == {"org/given": pieces}
    assert f"{pieces} passages (long messages, memories, sections) have no vector of org/given" in str(report.lines())
    assert load(database, folder, models=()).unchanged


def test_unit_vectors_are_stored_as_given_and_a_time_that_is_not_known_stays_so(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "BLOCK_ROWS", 2)
    times = ["0001-01-01T00:00:00Z", None, "1999-12-31T23:59:59.999999Z", "2024-02-29T01:02:03.000001+05:00", None]
    lines = [message(f"m{n}", created_at=at) for n, at in enumerate(times)]
    vectors = units(5)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    folder = with_vectors(write(tmp_path / "tiny", messages=lines), "given", vectors)

    report = load(database, folder, models=())

    assert report.given == {"given": 5}
    found = rows(
        database,
        "SELECT m.external_id, e.embedding::text, e.created_at IS NOT DISTINCT FROM m.created_at, e.created_at IS NULL "
        "FROM search.embeddings_given e JOIN carmenta.messages m ON m.user_id = e.user_id AND m.id = e.source_id",
    )
    for key, vector, same, unknown in found:
        place = int(key[1:])
        assert (same, unknown) == (True, times[place] is None)
        assert np.array(vector.strip("[]").split(","), np.float16).tolist() == vectors[place].tolist()


def test_what_has_no_given_vector_is_embedded_where_the_model_can_be_had(database: Database, tmp_path: Path) -> None:
    lines = [message("m0", "short"), message("m1", LONG * 60)]
    given = load_embedder().embed(["another text", "another"])
    folder = with_vectors(write(tmp_path / "tiny", messages=lines, memories=[memory("k1")]), DEFAULT_MODEL, given)

    report = load(database, folder)

    assert stored(database, DEFAULT_MODEL)["m0"] == pytest.approx(given[0].astype(float), abs=1e-3)
    assert report.given == {DEFAULT_MODEL: 1}
    assert report.lacking == {}
    assert report.embedded > 2
    assert rows(database, f"SELECT count(*) FROM {VECTORS}") == [report.embedded + 1]


def test_other_vectors_for_the_same_messages_take_the_place_of_the_old(database: Database, tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", messages=[message(f"m{n}") for n in range(4)])
    vectors = units(4)
    load(database, with_vectors(folder, "given", vectors), models=())
    before = stored(database, "given")
    vectors[2] = -vectors[2]
    write(folder, messages=[*(message(f"m{n}") for n in range(3)), message("m3", "another text")])

    report = load(database, with_vectors(folder, "given", vectors), models=())

    assert report.given == {"given": 2}  # one is another, one stands for a new passage
    after = stored(database, "given")
    assert after["m2"] == pytest.approx(-before["m2"])
    assert [after[f"m{n}"].tolist() for n in (0, 1, 3)] == [before[f"m{n}"].tolist() for n in (0, 1, 3)]


BROKEN = units(3)
BROKEN[1, 4] = np.nan
ZERO = units(3)
ZERO[2] = 0


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (units(2), "has 2 rows and messages.jsonl has 3 lines; expected a row for each line"),
        (units(3).astype(float), r"holds float64 of shape \(3, 8\); expected float16 or float32 of two dimensions"),
        (units(3)[0], r"holds float32 of shape \(8,\)"),
        (units(3)[:, :0], "holds vectors of 0 dimensions; expected 1 to 4000"),
        (units(3, 4_001), "holds vectors of 4001 dimensions"),
        (BROKEN, "holds numbers that are not finite in row 1, for line 2 of messages.jsonl"),
        (ZERO, "holds a zero vector in row 2, for line 3"),
        (np.array([{}, {}, {}]), "is not a readable .npy file"),
    ],
    ids=["rows", "type", "flat", "empty", "wide", "nan", "zero", "pickle"],
)
def test_vectors_that_cannot_be_meant_stop_the_load_before_it_begins(
    database: Database, tmp_path: Path, vectors: Any, said: str
) -> None:
    folder = write(tmp_path / "tiny", messages=[message(f"m{n}") for n in range(3)])

    with pytest.raises(DatasetError, match=said):
        load(database, with_vectors(folder, "given", vectors), models=())

    assert rows(database, "SELECT count(*) FROM lab.datasets") == [0]


def test_vectors_of_another_dimension_than_the_model_is_known_with_are_refused(
    database: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path / "tiny", messages=[message("m1")])
    load(database, with_vectors(folder, "known", units(1, 8)), models=())

    with pytest.raises(DimensionMismatch, match="the model known produced 9 dimensions; 8 are expected"):
        load(database, with_vectors(folder, "known", units(1, 9)), models=())
