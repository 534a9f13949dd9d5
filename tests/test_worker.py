"""The index follows what other clients wrote, once, whatever happens to the workers."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from factory import add_memory
from sqlalchemy import text
from test_indexing import FOUND_BY, NORA, ids, index_of, notes

from carmenta_lab import User
from carmenta_lab.app import edit_message, write_message
from carmenta_lab.errors import EmbeddingError
from carmenta_lab.indexing import following, worker
from carmenta_lab.names import find_conversation, find_user
from carmenta_lab.postgres import Database, open_lab
from carmenta_lab.settings import read_settings

COMMAND = [sys.executable, "-c", "from carmenta_lab.cli import main; main()", "worker"]


def rebuilt(database: Database) -> dict[str, list[Any]]:
    """The index as it is when all words are indexed anew."""
    with database.owner_session() as session:
        for user in session.scalars(text("SELECT id FROM carmenta.users")).all():
            session.execute(text("SELECT search.rebuild_words(:user)"), {"user": user})
    return index_of(database)


def write_raw(database: Database, count: int) -> None:
    """What another client does: new rows, changed ones, deleted ones, of two users."""
    for given in ("nora", "tomasz"):
        user = find_user(database, given)
        with database.user_session(user) as session:
            values = {"user": user, "count": count}
            for statement in (
                "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
                "SELECT :user, gen_random_uuid(), id, 9000 + n, 'user', 'Shall gyrocopter ' || n || ' fly?', now() "
                "FROM (SELECT id FROM carmenta.conversations WHERE user_id = :user ORDER BY id LIMIT 1) c, "
                "generate_series(1, :count) n",
                "INSERT INTO carmenta.documents (user_id, id, path, name, content) SELECT :user, gen_random_uuid(), "
                "text2ltree('raw.d' || n), 'Raw', repeat('Rotor ' || n || '. ', 200) FROM generate_series(1, 3) n",
                "UPDATE carmenta.messages SET content = content || ' Really?' WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.messages WHERE user_id = :user ORDER BY id LIMIT :count)",
                "UPDATE carmenta.messages SET position = position + 500 WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.messages WHERE user_id = :user ORDER BY id DESC LIMIT 5)",
                "UPDATE carmenta.memories SET deleted_at = now() WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.memories WHERE user_id = :user ORDER BY id LIMIT 9)",
                "UPDATE carmenta.conversations SET deleted_at = now() WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.conversations WHERE user_id = :user ORDER BY id DESC LIMIT 1)",
                "UPDATE carmenta.memories SET source_message_id = NULL WHERE user_id = :user",
                "DELETE FROM carmenta.conversations WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.conversations WHERE user_id = :user ORDER BY id DESC OFFSET 1 LIMIT 1)",
            ):
                session.execute(text(statement), values)


def expect_followed(database: Database) -> None:
    """Every living row is in the index once, as it is now; nothing else is; no note is left."""
    assert notes(database) == []
    with database.owner_session() as session:
        wrong = session.execute(
            text(
                "SELECT m.id FROM carmenta.messages m JOIN carmenta.conversations c "
                "ON c.user_id = m.user_id AND c.id = m.conversation_id "
                "LEFT JOIN search.passages p ON p.user_id = m.user_id AND p.message_id = m.id "
                "GROUP BY m.user_id, m.id, c.deleted_at HAVING (count(p.id) = 0) = "
                "(m.deleted_at IS NULL AND c.deleted_at IS NULL) "
                "OR count(p.id) <> count(DISTINCT p.ordinal)"
            )
        ).all()
        whole = session.execute(
            text(
                "SELECT (SELECT count(*) FROM search.passages), "
                "(SELECT count(*) FROM search.embeddings_all_minilm_l6_v2), (SELECT count(*) FROM search.token_codes), "
                "(SELECT count(*) FROM search.passage_features)"
            )
        ).one()
    assert wrong == []
    assert len(set(whole)) == 1
    assert index_of(database) == rebuilt(database)


def test_a_worker_indexes_what_others_wrote(own_sample: Database) -> None:
    write_raw(own_sample, 12)
    noted = len(notes(own_sample))
    done = worker.run(own_sample, once=True)
    assert (done.notes, done.failed, done.errors) == (noted, 0, [])
    expect_followed(own_sample)
    assert all(ids(own_sample, "gyrocopter", FOUND_BY).values())
    assert worker.run(own_sample, once=True) == worker.WorkerReport()


def test_an_undone_deletion_by_others_is_followed_too(own_sample: Database) -> None:
    before = index_of(own_sample)
    for moment in ("now()", "NULL"):
        with own_sample.owner_session() as session:
            session.execute(text(f"UPDATE carmenta.users SET deleted_at = {moment} WHERE id = :id"), {"id": NORA})
            session.execute(text(f"UPDATE carmenta.conversations SET deleted_at = {moment}"))
        worker.run(own_sample, once=True)
        if moment == "now()":
            assert not any(ids(own_sample, "the bikes").values())
            assert not index_of(own_sample, NORA)["passages"]
    after = index_of(own_sample)
    assert notes(own_sample) == []
    for name in before.keys() - {"codes"}:
        assert after[name] == before[name], name


@pytest.mark.parametrize("how", ["killed", "two at once", "stopped"])
def test_every_row_is_indexed_once_whatever_happens_to_workers(
    own_sample: Database, cluster: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    write_raw(own_sample, 60)
    command = [*COMMAND, "--lease", "1"]
    environment = _environment(cluster, own_sample)
    if how == "two at once":
        workers = [subprocess.Popen([*command, "--once"], env=environment) for _ in range(2)]
        assert [each.wait(300) for each in workers] == [0, 0]
    elif how == "killed":
        generator = Random(7)
        for _ in range(20):
            process = subprocess.Popen(command, env=environment)
            _until_it_works(own_sample, process)
            time.sleep(generator.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            _some_more(own_sample)
        assert subprocess.run([*command, "--once"], env=environment, timeout=300, check=False).returncode == 0
    else:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        _until_it_works(own_sample, process)
        process.send_signal(signal.SIGTERM)
        assert "notes done" in process.communicate(timeout=60)[0]
        assert process.returncode == 0
        with own_sample.owner_session() as session:
            assert session.scalar(text("SELECT count(*) FROM search.outbox WHERE worker IS NOT NULL")) == 0
        worker.run(own_sample, once=True)
    expect_followed(own_sample)


def _environment(cluster: Any, database: Database) -> dict[str, str]:
    logins = cluster.logins(database.name)
    return dict(cluster.environment(logins))


def _until_it_works(database: Database, process: "subprocess.Popen[Any]") -> None:
    """Until a worker has taken a note, or has nothing to do."""
    for _ in range(600):
        with database.owner_session() as session:
            counts = text("SELECT count(*) FILTER (WHERE worker LIKE :name), count(*) FROM search.outbox")
            held, every = session.execute(counts, {"name": f"%:{process.pid}"}).one()
        if held or not every:
            return
        time.sleep(0.02)
    raise AssertionError("the worker took nothing within 12 seconds")


def _some_more(database: Database) -> None:
    with database.user_session(NORA) as session:
        session.execute(
            text(
                "UPDATE carmenta.messages SET content = content || ' More.' WHERE user_id = :user AND id IN "
                "(SELECT id FROM carmenta.messages WHERE user_id = :user ORDER BY random() LIMIT 15)"
            ),
            {"user": NORA},
        )


def test_a_note_raised_while_it_is_worked_on_stays(own_sample: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = find_conversation(own_sample, NORA, "nora-c01")
    said = write_message(User(own_sample, NORA), conversation, "user", "One gyrocopter.")

    def change(content: str) -> None:
        with own_sample.user_session(NORA) as session:
            statement = text("UPDATE carmenta.messages SET content = :content WHERE id = :id")
            session.execute(statement, {"content": content, "id": said.id})

    meanwhile: list[Callable[[], None]] = [lambda: change("Three gyrocopters."), lambda: None]
    make = following.make_ready

    def slowly(*given: Any, **named: Any) -> Any:
        ready = make(*given, **named)
        if meanwhile:
            meanwhile.pop(0)()
        return ready

    monkeypatch.setattr(following, "make_ready", slowly)
    change("Two gyrocopters.")
    worker.run(own_sample, once=True)
    assert notes(own_sample) == []
    with own_sample.user_session(NORA) as session:
        content = session.scalars(text("SELECT content FROM search.passages WHERE source_id = :id"), {"id": said.id})
        assert [each.partition(": ")[2] for each in content] == ["Three gyrocopters."]
    meanwhile[:] = [lambda: edit_message(User(own_sample, NORA), said.id, "Five gyrocopters.")]
    change("Four gyrocopters.")
    worker.run(own_sample, once=True)
    with own_sample.user_session(NORA) as session:
        content = session.scalars(text("SELECT content FROM search.passages WHERE source_id = :id"), {"id": said.id})
        assert [each.partition(": ")[2] for each in content] == ["Five gyrocopters."]
    assert notes(own_sample) == []


def test_what_fails_is_tried_again_later_and_given_up_at_last(
    own_sample: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_sample.user_session(NORA) as session:
        for content in ("Fine.", "Poison."):
            add_memory(session, NORA, content)
    make = following.make_ready

    def fails(sources: Any, *given: Any, **named: Any) -> Any:
        if any(source.text == "Poison." for source in sources):
            raise EmbeddingError("the model cannot read this.")
        return make(sources, *given, **named)

    monkeypatch.setattr(following, "make_ready", fails)
    monkeypatch.setattr(worker, "BACK_OFF", timedelta())
    done = worker.WorkerReport()
    for _ in range(worker.ATTEMPTS + 1):
        more = worker.run(own_sample, once=True)
        done.notes, done.failed, done.errors = (
            done.notes + more.notes,
            done.failed + more.failed,
            more.errors or done.errors,
        )
    assert (done.notes, done.failed) == (1, worker.ATTEMPTS)
    assert "the model cannot read this" in done.errors[0]
    with own_sample.owner_session() as session:
        row = session.execute(text("SELECT error, attempts, run_after = 'infinity' FROM search.outbox")).one()
    assert row == ("the model cannot read this.", worker.ATTEMPTS, True)
    monkeypatch.setattr(following, "make_ready", make)
    with own_sample.user_session(NORA) as session:  # another change is another beginning
        session.execute(text("UPDATE carmenta.memories SET content = 'Cured.' WHERE content = 'Poison.'"))
    assert worker.run(own_sample, once=True).notes == 1


def test_workers_and_writers_at_once_agree(own_sample: Database) -> None:
    conversation = find_conversation(own_sample, NORA, "nora-c01")
    me = User(own_sample, NORA)
    said = [write_message(me, conversation, "user", f"Number {n}, is it?").id for n in range(12)]
    generator = Random(5)

    def change(n: int) -> None:
        id = said[generator.randrange(len(said))]
        if n % 2:
            edit_message(me, id, f"Edited to {n}, or is it?")
            return
        with own_sample.user_session(NORA) as session:
            statement = text("UPDATE carmenta.messages SET content = :c WHERE user_id = :u AND id = :id")
            session.execute(statement, {"c": f"Changed to {n}. Or not?", "u": NORA, "id": id})

    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(worker.run, own_sample, once=True) for _ in range(2)]
        list(threads.map(change, range(40)))
        for each in workers:
            each.result()
    worker.run(own_sample, once=True)
    expect_followed(own_sample)


def test_the_command_says_what_it_did(own_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in own_environment.items():
        monkeypatch.setenv(name, value)
    with open_lab(read_settings()) as lab:
        write_raw(lab, 2)
    done = subprocess.run(
        [*COMMAND, "--once", "--name", "one"], env=own_environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "notes done" in done.stdout
