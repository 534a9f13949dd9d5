"""Loads that are cut off or killed, several at once, and what a reader sees meanwhile."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from factory import document, memory, message, rows, write
from loading import ADVISORY_LOCKS, VECTORS, content, database, folder, load_rows, marks
from sqlalchemy import Engine, event

from carmenta_lab.ingest import LoadReport, first_load, load, reconcile
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.lab import Logins, open_migrated

__all__ = ["database", "folder"]  # fixtures


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


def _load_and_die(logins: Logins, folder: Path) -> None:
    reconcile.BATCH_MESSAGES = first_load.BATCH_MESSAGES = 10
    database = open_migrated(logins)

    def kill(stage: str, done: int, total: int | None) -> None:
        if stage == "writing":
            os.kill(os.getpid(), signal.SIGKILL)

    load(database, folder, models=(), progress=kill)


def kill_a_load(logins: Logins, folder: Path) -> None:
    """Start a load in a process of its own that is killed while it writes."""
    child = multiprocessing.get_context("spawn").Process(target=_load_and_die, args=(logins, folder))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


STAGES = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'stage%'"


def test_a_first_load_that_is_killed_leaves_whole_conversations_and_can_be_started_again(
    fresh: Database, logins: Logins, tmp_path: Path
) -> None:
    folder = many(tmp_path / "tiny")
    kill_a_load(logins, folder)

    sizes = rows(fresh, "SELECT count(*) FROM carmenta.messages GROUP BY conversation_id")
    assert set(sizes) == {5}
    assert rows(fresh, "SELECT content_hash FROM lab.datasets") == [None]
    assert rows(fresh, STAGES) == [0]
    load_rows(fresh, folder)
    load_rows(fresh, folder, name="twin")
    assert content(fresh, "tiny") == content(fresh, "twin")


def test_what_a_killed_load_left_in_its_stage_is_swept_up_by_any_load(
    fresh: Database, logins: Logins, tmp_path: Path
) -> None:
    folder = many(tmp_path / "tiny")
    load_rows(fresh, folder)
    write(folder, memories=[memory("k2")])
    kill_a_load(logins, folder)

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
    fresh: Database, logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)
    folder = many(tmp_path / "tiny")
    reader = open_migrated(logins)
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
