"""The main road once, fast: a tiny folder is loaded, searched, shown to a model, written to, and forgotten."""

from uuid import UUID

import pytest
from factory import document, memory, message, query, rows, write

from carmenta_lab import load, strategies
from carmenta_lab.app import delete_message, write_message
from carmenta_lab.context import assemble
from carmenta_lab.erasure import forget_user
from carmenta_lab.names import find_conversation, find_user
from carmenta_lab.postgres import Database
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search

KEY, SHED = "The spare key is under the blue pot.", "I painted the shed green."


@pytest.fixture(scope="module")
def loaded(shared: Database, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Two users who said the same, and one of them a little more."""
    folder = write(
        tmp_path_factory.mktemp("road") / "tiny",
        messages=[
            message("m1", KEY, user="ann"),
            message("m2", "Noted.", user="ann", role="assistant"),
            message("m3", SHED, "c2", "ann"),
            message("n1", KEY, "c9", "bob"),
        ],
        memories=[memory("k1", "Lives in Lisbon.", "ann")],
        documents=[document("d1", "home.boiler", "Bleed the radiator twice.", "ann")],
        profiles=[{"user_id": "ann", "text": "Ann is a translator."}],
        queries=[query("q1", "where is the key?", "ann")],
        qrels="q1\tm1\t1\n",
    )
    report = load(shared, folder, tokens=True)
    assert report.rejects == []
    assert report.changes["messages"]["added"] == 4
    assert load(shared, folder, tokens=True).unchanged
    return shared


@pytest.fixture(scope="module")
def ann(loaded: Database) -> UUID:
    return find_user(loaded, "ann")


@pytest.mark.parametrize("name", ["vector_exact", "fulltext_or", "bm25", "hybrid_rrf", "evidence"])
def test_a_strategy_finds_what_its_user_said_and_nothing_of_another(loaded: Database, ann: UUID, name: str) -> None:
    with loaded.user_session(ann) as session:
        ranking = search(session, strategies.load(name), Query("q", ann, "where is the spare key"), 5)
    [first] = rows(loaded, "SELECT content FROM carmenta.messages WHERE id = :id", id=ranking.hits[0].source_id)
    assert first == KEY
    theirs = {hit.source_id for hit in ranking.hits}
    assert not theirs & set(rows(loaded, "SELECT id FROM carmenta.messages WHERE user_id <> :u", u=ann))


def test_a_context_holds_profile_conversation_and_what_was_found_within_its_budget(loaded: Database, ann: UUID) -> None:
    talk = find_conversation(loaded, ann, "c2")
    with loaded.user_session(ann) as session:
        context = assemble(session, Query("q", ann, "where is the spare key?"), conversation_id=talk, budget_tokens=300)
    shown = "\n".join(block.text for block in context.blocks)
    assert context.tokens <= 300
    for text in ("Ann is a translator.", KEY, SHED):
        assert text in shown


def test_what_is_written_is_found_at_once_and_no_longer_once_it_is_deleted(loaded: Database, ann: UUID) -> None:
    talk = find_conversation(loaded, ann, "c1")
    query = Query("q", ann, "gyrocopter")
    with loaded.user_session(ann) as session:
        said = write_message(session, talk, "user", "The gyrocopter is parked in the barn.")
        assert search(session, strategies.load("bm25"), query, 5).sources() == [said.id]
        assert delete_message(session, said.id)
        assert search(session, strategies.load("bm25"), query, 5).sources() == []


def test_who_is_forgotten_leaves_nothing_and_the_other_everything(loaded: Database) -> None:
    bob = find_user(loaded, "bob")
    forgotten = forget_user(loaded.owner, bob)
    assert forgotten.rows["carmenta.messages"] == 1
    assert rows(loaded, "SELECT count(*) FROM search.passages WHERE user_id = :u", u=bob) == [0]
    assert rows(loaded, "SELECT count(*) FROM carmenta.messages WHERE deleted_at IS NULL") == [3]
