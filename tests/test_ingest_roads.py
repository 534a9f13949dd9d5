"""The fast first load is an optimisation: whatever a folder holds, it leaves the rows that reconciling leaves."""

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factory import NOON, Lines, artifact, document, feedback, memory, message, query, tag, vote, write
from loading import database, reasons
from sqlalchemy import text

from carmenta_lab.errors import DatasetError
from carmenta_lab.ids import Ids
from carmenta_lab.ingest import LoadReport, load, stream
from carmenta_lab.postgres import Database
from carmenta_lab.schema import SCHEMAS

pytestmark = pytest.mark.everywhere

__all__ = ["database"]  # a fixture

NAME = "tiny"
LONG = "The roof was mended in spring and the gutter in autumn. "
TEXTS = ["yes", "no", "May I?", LONG * 5, LONG * 30, "\u200b" * 300, "pi\u00f1a\u0000\u2028 \ud83d"]
USERS = ["u0", "u0", "u0", "u0", "u0", "u1", "u2"]
PARTS: list[Lines] = [
    [{"type": "text", "text": "Noted."}],
    [{"type": "tool-search", "input": {"q": "x"}, "output": "found"}],
    [],
]


class Folder:
    """A folder of few ids, so that most lines meet others; every seed is another."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.size = self.random.choice([0, 5, 20, 40, 40])
        self.plain = self.random.random() < 0.5  # nothing but times decides the order of messages
        self.timed = self.random.random() < 0.5
        self.repeats = self.random.random() < 0.3  # ids that come twice keep their conversations from the fast way
        self.owners = {f"c{n}": self.random.choice(USERS) for n in range(6)}

    def some(self, one: Any, most: int) -> list[Any]:
        """None to so many of what `one` makes, and none at all in a quarter of the folders."""
        return [one() for _ in range(self.random.choice([0, 1, most // 2, most]))]

    def maybe(self, value: Any, chance: float = 0.5) -> Any:
        """The value or None."""
        return value if self.random.random() < chance else None

    def id(self, letter: str, most: int) -> str:
        """One of few ids."""
        return f"{letter}{self.random.randrange(most)}"

    def user(self) -> str:
        """One of three users."""
        return self.random.choice(USERS)

    def time(self) -> str:
        """One of a few moments, in some zone."""
        at = (NOON + timedelta(minutes=self.random.randrange(8))).isoformat()
        return at.replace("+00:00", self.random.choice(["+00:00", "+05:30", "-11:00"]))

    def target(self) -> str:
        """The id of a message; some are of none."""
        return self.id("m", self.size + 3)

    def file(self) -> dict[str, Any]:
        """An attachment."""
        sizes = {"size": self.random.randrange(9), "sha256": self.maybe("ab" * 32)}
        return {name: self.random.choice("ab") for name in ("name", "media_type", "bucket", "key")} | sizes

    def message(self, n: int) -> dict[str, Any]:
        """A line of messages.jsonl; a few are of another user than their conversation, or have no good role."""
        draw, conversation = self.random, self.id("c", 6)
        line = message(
            self.target() if self.repeats and draw.random() < 0.2 else f"m{n}",
            draw.choice(TEXTS),
            conversation=conversation,
            user=self.user() if draw.random() < 0.05 else self.owners[conversation],
            created_at=self.maybe(self.time(), 1 if self.timed else 0.6),
            role=draw.choices(["user", "assistant", "owl"], [6, 6, 1])[0],
            author=self.maybe(draw.choice(["Nora", "", "Ben"])),
            attachments=[self.file() for _ in range(draw.choice([0, 0, 1, 2]))],
            content_for_llm=self.maybe(draw.choice(["", "short"])),
            model=self.maybe("gpt"),
            language=draw.choice(["en", "de", "xx"]),
        )
        if not self.plain:
            line["position"] = self.maybe(draw.choice([0, 1, 2, 3, 9, 2**31 - 1]), 0.3)
            line["parent_id"] = self.maybe(draw.choice([line["message_id"], self.target()]), 0.4)
        if draw.random() < 0.1:
            del line["text"]
            line["parts"] = draw.choice(PARTS)
        return line

    def conversation(self) -> dict[str, Any]:
        """A line of conversations.jsonl."""
        id, path = self.id("c", 7), self.random.choice(["home", "home.flat", "home.flat.loan", "a b"])
        user = self.owners.get(id, "u0") if self.random.random() < 0.9 else self.user()
        about = {"title": self.maybe("Moving"), "status": self.random.choice(["active", "archived"])}
        return {"conversation_id": id, "user_id": user, "folder": self.maybe(path, 0.7)} | about

    def document(self) -> dict[str, Any]:
        """A line of documents.jsonl."""
        tags = self.random.sample(["old", "roof"], self.random.randrange(3))
        path, said = self.random.choice(["home", "home.roof", "work"]), self.random.choice(TEXTS)
        return document(self.id("d", 5), path, said, self.user(), tags=tags, created_at=self.maybe(self.time()))

    def memory(self) -> dict[str, Any]:
        """A line of memories.jsonl."""
        line = memory(self.id("k", 8), self.random.choice(TEXTS), self.user(), created_at=self.maybe(self.time()))
        return line | {"source_message_id": self.maybe(self.target()), "superseded_by": self.maybe(self.id("k", 8))}

    def judgement(self) -> str:
        """A line of qrels.tsv."""
        target = self.random.choice([self.target(), self.target(), self.id("k", 8), self.id("d", 5)])
        return f"{self.id('q', 3)}\t{target}\t{self.random.choice([0, 1, 2, -1])}\n"

    def artifact(self) -> dict[str, Any]:
        """A line of artifacts.jsonl."""
        return artifact(
            self.id("a", 3),
            self.random.randrange(4),
            user_id=self.random.choice(["u0", "u0", "u0", "u1"]),
            message_id=self.maybe(self.target(), 0.3),
            conversation_id=self.maybe(self.id("c", 6), 0.3),
            kind=self.random.choice(["text", "text", "text", "ag-ui"]),
            component_tree=self.maybe({"type": "list"}, 0.2),
        )

    def tag(self) -> dict[str, Any]:
        """A line of tags.jsonl."""
        targets = {"conversation": self.id("c", 6), "document": self.id("d", 5), "artifact": self.id("a", 3)}
        kind = self.random.choice(list(targets))
        return tag(
            self.random.choice(["old", "money", "money", "t" * 501]),
            kind,
            targets[kind],
            user_id=self.maybe("u0") or self.user(),
        )

    def vote(self) -> dict[str, Any]:
        """A line of votes.jsonl."""
        return vote(self.target(), self.random.random() < 0.5, user_id=self.user())

    def feedback(self) -> dict[str, Any]:
        """A line of feedback.jsonl."""
        signal, value = self.random.choice(["copy", "session_duration"]), self.random.choice([-1, 1, 12.5])
        return feedback(self.target(), signal, value, user_id=self.user())

    def write(self, place: Path) -> Path:
        """The folder with these lines, in place of what it held."""
        for old in sorted(place.rglob("*")):
            if old.is_file():
                old.unlink()
        lines: dict[str, Lines] = {
            "messages": [self.message(n) for n in range(self.size)],
            "conversations": self.some(self.conversation, 8),
            "documents": self.some(self.document, 6),
            "memories": self.some(self.memory, 10),
            "profiles": self.some(lambda: {"user_id": self.user(), "text": self.random.choice(TEXTS)}, 3),
            "queries": self.some(lambda: query(self.id("q", 3), user=self.user(), asked_at=self.time()), 4),
            "artifacts": self.some(self.artifact, 6),
            "votes": self.some(self.vote, 12),
            "feedback": self.some(self.feedback, 12),
            "tags": self.some(self.tag, 12),
        }
        for name in self.random.sample(list(lines), self.random.randrange(3)):
            lines[name].insert(0, {"user_id": "u0", "conversation_id": "c0"})  # lacks what the line must have
        there = {name: found for name, found in lines.items() if found or self.random.random() < 0.3}
        folder = write(place, "".join(self.some(self.judgement, 12)) or None, **there)
        if lines["messages"] and self.random.random() < 0.5:
            path = folder / "embeddings" / "given.npy"
            path.parent.mkdir(exist_ok=True)
            size = (len(lines["messages"]), 4)
            np.save(path, np.random.default_rng(self.random.randrange(99)).normal(size=size).astype(np.float32))
        return folder


NOT_SAID = """
    SELECT table_schema || '.' || table_name, column_name FROM information_schema.columns
    WHERE table_schema = ANY(:schemas) AND column_default LIKE '%now()%'
"""
"""Columns that say when a row was written unless the folder says it."""

UNORDERED = {("search.passage_features", "slot")}
"""Numbers that passages get in whatever order they are indexed; posting lists are made of them."""
MADE_OF_SLOTS = {"search.postings", "search.word_index"}


def everything(database: Database) -> dict[str, list[str]]:
    """Every row of every table, but for what an earlier moment or another order of writing may change in it."""
    found = {}
    with database.owner.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT c.oid::regclass::text, n.nspname || '.' || c.relname FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY(:schemas) "
                "AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 2"
            ),
            {"schemas": list(SCHEMAS)},
        ).all()
        hidden = {tuple(row) for row in connection.execute(text(NOT_SAID), {"schemas": list(SCHEMAS)})} | UNORDERED
        hidden |= {("lab.datasets", "loaded_at")}
        hidden -= {("carmenta.votes", "voted_at")}
        hidden -= {(f"carmenta.{table}", "created_at") for table in ("artifacts", "feedback_signals")}
        for relation, name in tables:
            if name in MADE_OF_SLOTS or name.endswith(".alembic_version"):
                continue
            left_out = [column for table, column in hidden if table == name]
            said = f"(to_jsonb(t) - CAST(:hidden AS text[]))::text FROM {relation} t"
            found[name] = sorted(connection.execute(text(f"SELECT {said}"), {"hidden": left_out}).scalars())
    return {name: rows for name, rows in found.items() if rows}


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """Table -> the rows that only one and only the other holds."""
    found = {}
    for name in sorted({*one, *other}):
        here, there = Counter(one.get(name, [])), Counter(other.get(name, []))
        if here != there:
            found[name] = (sorted((here - there).elements()), sorted((there - here).elements()))
    return found


def empty(database: Database) -> None:
    with database.owner.begin() as connection:
        for table in ("carmenta.users", "lab.datasets"):
            connection.execute(text(f"DELETE FROM {table}"))


def outcome(database: Database, folder: Path) -> tuple[Any, ...]:
    """A load, and all that is there after it: what it left in the tables, and what it said of the folder."""
    report: LoadReport | None = None
    said: tuple[Any, ...]
    try:
        report = load(database, folder, models=())
        said = (reasons(report), report.mended, report.lacking)
    except DatasetError as error:
        said = (str(error),)
    return report, said, everything(database)


def first(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> tuple[Any, ...]:
    """A load into an empty database, which holds no more messages of open conversations than this."""
    empty(database)
    with monkeypatch.context() as patched:
        patched.setattr(stream, "OPEN_MESSAGES", most)
        patched.setattr(stream, "BATCH_MESSAGES", 4)
        return outcome(database, folder)


def reconciled(database: Database, folder: Path) -> tuple[Any, ...]:
    """A load that goes on where one was cut off before its first row: it compares with what is there, which is none."""
    empty(database)
    with database.owner.begin() as connection:
        statement = "INSERT INTO lab.datasets (id, name, origin) VALUES (:id, :name, :origin)"
        connection.execute(text(statement), {"id": Ids(NAME).dataset, "name": NAME, "origin": str(folder)})
    return outcome(database, folder)


def changed(report: LoadReport | None) -> dict[str, dict[str, int]]:
    """Added, updated and deleted rows of the tables that have any."""
    return {} if report is None else {name: found for name, found in report.changes.items() if any(found.values())}


SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_first_load_leaves_the_rows_and_the_report_of_the_general_road(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    folder = Folder(seed).write(tmp_path / NAME)

    report, said, held = reconciled(database, folder)

    for most in (1_000, 6, 0):  # whole conversations as they end, some of them, none
        fast, fast_said, fast_held = first(database, folder, monkeypatch, most)
        assert fast_said == said
        if report is None or fast is None:  # a folder without a good line is refused, and leaves nothing
            assert "lab.datasets" not in fast_held
            continue
        assert differences(fast_held, held) == {}
        assert changed(fast) == changed(report)
        assert fast.given == report.given


@pytest.mark.parametrize("seed", range(16))
def test_a_folder_that_changed_is_as_if_loaded_for_the_first_time(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    place = tmp_path / NAME
    empty(database)
    outcome(database, Folder(seed + 1_000).write(place))
    folder = Folder(seed).write(place)
    _, said, held = outcome(database, folder)

    fresh, fresh_said, fresh_held = first(database, folder, monkeypatch, 1_000)

    assert said == fresh_said
    if fresh is not None:  # a folder without a good line is refused, and changes nothing
        assert differences(held, fresh_held) == {}


def test_the_random_folders_hold_something_of_every_kind(database: Database, tmp_path: Path) -> None:
    """A test of the test above: of what its folders become, three rows or more."""
    tables = ("users", "conversations", "messages", "attachments", "documents", "memories", "profiles", "artifacts")
    tables += ("artifact_references", "votes", "feedback_signals", "tags", "conversation_tags", "artifact_tags")
    expected = {f"carmenta.{table}" for table in (*tables, "folders")}
    expected |= {"lab.queries", "lab.qrels", "lab.loaded", "search.embeddings_given"}
    met: Counter[str] = Counter()
    for seed in SEEDS:
        _, _, held = reconciled(database, Folder(seed).write(tmp_path / NAME))
        met.update({name: len(found) for name, found in held.items()})
        if all(met[name] >= 3 for name in expected):
            break
    assert {name for name in expected if met[name] < 3} == set()
