"""The index of words: in step with passages whatever happens to them, and BM25 as others compute it."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bm25s
import numpy as np
import psycopg
import pytest
from factory import add_conversation, add_message, add_passage, add_user
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.indexing import words
from carmenta_lab.indexing.writing import at_once
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.bm25 import BM25, View
from carmenta_lab.schema.search.lexical import CAPACITY, TAIL, functions

SAYINGS = (
    "The boiler leaks again.",
    "Which boiler? The one in the cellar?",
    "Is it warm? It is warm enough.",
    "Call the plumber about the cellar tomorrow.",
    "No.",
)
QUESTION = "Is the boiler in the cellar warm, or did nobody call?"

_ENTRIES = """
    SELECT t.lexeme, f.passage_id, e & ((1::bigint << 38) - 1) AS rest FROM (
        SELECT lexeme, entries FROM search.postings WHERE user_id = :u
        UNION ALL SELECT w.all_words[u.n], u.entries FROM (
            SELECT array_agg(DISTINCT w.lexeme) AS all_words FROM search.passages p CROSS JOIN LATERAL (
                SELECT lexeme FROM unnest(p.text_search)
                UNION SELECT lexeme FROM search.passage_features f CROSS JOIN unnest(f.asked)
                WHERE f.user_id = p.user_id AND f.passage_id = p.id
            ) w WHERE p.user_id = :u
        ) w CROSS JOIN LATERAL search.unmerged_words(:u, w.all_words) u
    ) t CROSS JOIN unnest(t.entries) e
    LEFT JOIN search.passage_features f ON f.user_id = :u AND f.slot = (e >> 38)::int
"""
_MISPLACED = """
    SELECT t.lexeme, t.first_slot, cardinality(t.entries) FROM search.postings t CROSS JOIN unnest(t.entries) e
    WHERE t.user_id = :u AND (cardinality(t.entries) NOT BETWEEN 1 AND :most OR (e >> 38) < t.first_slot OR EXISTS (
        SELECT FROM search.postings o WHERE o.user_id = :u AND o.lexeme = t.lexeme
        AND o.first_slot > t.first_slot AND o.first_slot <= (e >> 38)))
"""
_FEATURES = """
    SELECT passage_id, unit, source_id, conversation_id, place, role, author, created_at, length, asked_length,
        asked::text FROM search.passage_features WHERE user_id = :u
"""
_CORPUS = """
    SELECT p.id, ARRAY(SELECT w.lexeme FROM unnest(p.text_search) w CROSS JOIN unnest(w.positions)),
        ARRAY(SELECT w.lexeme FROM unnest(f.asked) w CROSS JOIN unnest(w.positions))
    FROM search.passages p JOIN search.passage_features f ON f.user_id = p.user_id AND f.passage_id = p.id
    WHERE p.user_id = :u ORDER BY p.id
"""


def _raw(session: Session) -> psycopg.Connection[Any]:
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw


def _index(session: Session, user: UUID) -> dict[str, Any]:
    """The index of a user by passage instead of by number, which depends on history."""
    values = {"u": user}
    statistics = session.execute(text("SELECT * FROM search.lexical_statistics WHERE user_id = :u"), values).all()
    return {
        "entries": Counter(map(tuple, session.execute(text(_ENTRIES), values))),
        "features": set(map(tuple, session.execute(text(_FEATURES), values))),
        "statistics": set(statistics),
    }


def _rebuilt(session: Session, user: UUID) -> dict[str, Any]:
    with session.begin_nested() as kept:
        words.rebuild(_raw(session), user)
        found = _index(session, user)
        kept.rollback()
    return found


def _smaller(database: Database, capacity: int, tail: int) -> None:
    """Rows and a tail so small that a short history fills them."""
    with database.owner_session() as session:
        for statement in functions(capacity, tail):
            _raw(session).execute(statement)


def _ranked(session: Session, user: UUID, view: View, limit: int = 1000) -> list[tuple[UUID, float]]:
    values = {
        "user_id": user,
        "asked_at": datetime(9999, 12, 31, tzinfo=UTC),
        "text": QUESTION,
        "language": "en",
        "limit": limit,
    }
    statement = BM25(k1=1.2, b=0.6, view=view).statement("bm25")
    return [(row.passage_id, row.score) for row in session.execute(statement, values)]


def _expected(session: Session, user: UUID, view: View) -> dict[UUID, float]:
    """What bm25s gives every passage that shares a word with the question."""
    rows = session.execute(text(_CORPUS), {"u": user}).all()
    corpus = [[*own, *(asked if view == "answer" else ())] for _, own, asked in rows]
    if not any(corpus):
        return {}
    oracle = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
    oracle.index(corpus, show_progress=False)
    asked = session.scalars(text("SELECT unnest(tsvector_to_array(to_tsvector('english', :q)))"), {"q": QUESTION})
    known = [word for word in asked if word in oracle.vocab_dict]
    scores = oracle.get_scores(known) if known else np.zeros(len(rows))
    return {row[0]: float(score) for row, score in zip(rows, scores, strict=True) if score > 0}


@pytest.fixture
def person(database: Database) -> Iterator[tuple[Session, UUID]]:
    """A user with two conversations, acted for by the application role."""
    user = _person(database)
    with database.user_session(user) as session:
        yield session, user


def _person(database: Database) -> UUID:
    with database.owner_session() as session:
        user = add_user(session)
        add_conversation(session, user, user)
        add_conversation(session, user)
    return user


def _written(session: Session, user: UUID, message: UUID, said: str) -> list[UUID]:
    """The passages of a message, one a sentence; not indexed yet."""
    pieces = [piece for piece in said.replace("?", "?|").split("|") if piece.strip()]
    return [
        add_passage(session, user, "turn", f"Ann: {piece}", ordinal=n, message_id=message, author="Ann")
        for n, piece in enumerate(pieces)
    ]


def _say(session: Session, user: UUID, conversation: UUID, position: int, said: str) -> UUID:
    at_once(_raw(session))
    message = add_message(session, user, conversation, said, position=position, author="Ann")
    words.add(_raw(session), user, _written(session, user, message, said))
    return message


def _homes(session: Session, user: UUID) -> Sequence[UUID]:
    ids = text("SELECT id FROM carmenta.conversations WHERE user_id = :u ORDER BY id")
    return session.scalars(ids, {"u": user}).all()


@dataclass
class History:
    """What happens to a user's messages, drawn at random."""

    session: Session
    user: UUID
    draw: random.Random
    living: list[UUID] = field(default_factory=list)
    deleted: list[UUID] = field(default_factory=list)  # softly

    def step(self) -> str:
        """Something, as often as not another message."""
        ways: list[Callable[[], object]] = [self.say]
        if self.living:
            ways = [*[self.say] * 6, self.edit, self.hide, self.delete, self.lose, self.merge, self.rebuild]
        if self.deleted:
            ways.append(self.restore)
        way = self.draw.choice(ways)
        way()
        return way.__name__

    def say(self) -> None:
        """Anywhere in a conversation, positions of others included."""
        home = self.draw.choice(_homes(self.session, self.user))
        position = self.draw.randrange(40)
        self.living.append(_say(self.session, self.user, home, position, self.draw.choice(SAYINGS)))

    def edit(self) -> None:
        """Another text, in passages of its own."""
        message, said = self.draw.choice(self.living), self.draw.choice(SAYINGS)
        with words.removed(_raw(self.session), self.user, self.passages([message])):
            self.run("DELETE FROM search.passages WHERE user_id = :u AND message_id = ANY (:m)", [message])
            self.run(
                "UPDATE carmenta.messages SET content = :t WHERE user_id = :u AND id = ANY (:m)", [message], t=said
            )
            words.add(_raw(self.session), self.user, _written(self.session, self.user, message, said))

    def hide(self) -> None:
        """A soft deletion."""
        gone = self.some()
        with words.removed(_raw(self.session), self.user, self.passages(gone)):
            self.run("UPDATE carmenta.messages SET deleted_at = now() WHERE user_id = :u AND id = ANY (:m)", gone)
            self.run("DELETE FROM search.passages WHERE user_id = :u AND message_id = ANY (:m)", gone)
        self.deleted += gone

    def restore(self) -> None:
        """A soft deletion undone."""
        message = self.deleted.pop()
        self.run("UPDATE carmenta.messages SET deleted_at = NULL WHERE user_id = :u AND id = ANY (:m)", [message])
        said = self.session.scalars(text("SELECT content FROM carmenta.messages WHERE id = :m"), {"m": message}).one()
        words.add(_raw(self.session), self.user, _written(self.session, self.user, message, said))
        self.living.append(message)

    def delete(self) -> None:
        """A deletion by the code that keeps the index."""
        gone = self.some()
        with words.removed(_raw(self.session), self.user, self.passages(gone)):
            self.run("DELETE FROM carmenta.messages WHERE user_id = :u AND id = ANY (:m)", gone)

    def lose(self) -> None:
        """A deletion behind its back; the index learns of it afterwards."""
        gone = self.some()
        passages = set(self.passages(gone))
        self.run("DELETE FROM carmenta.messages WHERE user_id = :u AND id = ANY (:m)", gone)
        found = words.left_over(_raw(self.session), self.user)
        assert set(found) == passages
        with words.removed(_raw(self.session), self.user, found):
            pass

    def merge(self) -> None:
        """A merge before its time."""
        words.merge(_raw(self.session), self.user)

    def rebuild(self) -> None:
        """All anew."""
        words.rebuild(_raw(self.session), self.user)

    def some(self) -> list[UUID]:
        """One or several living messages, which do not live any longer."""
        gone = self.draw.sample(self.living, min(len(self.living), self.draw.choice((1, 1, 3))))
        self.living = [message for message in self.living if message not in gone]
        return gone

    def passages(self, messages: list[UUID]) -> list[UUID]:
        """Their passages."""
        rows = text("SELECT id FROM search.passages WHERE user_id = :u AND message_id = ANY (:m)")
        return list(self.session.scalars(rows, {"u": self.user, "m": messages}))

    def run(self, statement: str, messages: list[UUID], **values: Any) -> None:
        """A statement about messages."""
        self.session.execute(text(statement), {"u": self.user, "m": messages, **values})


@pytest.mark.parametrize(("capacity", "tail"), [(1, 1), (3, 5), (2, 1000), (CAPACITY, TAIL)])
@pytest.mark.parametrize("seed", range(3))
def test_the_index_stays_in_step_through_any_history(
    database: Database, person: tuple[Session, UUID], seed: int, capacity: int, tail: int
) -> None:
    """After every step it is as if all were indexed anew, and scores are those of bm25s."""
    _smaller(database, capacity, tail)
    session, user = person
    history = History(session, user, random.Random(seed))
    for _ in range(40):
        step = history.step()
        assert _index(session, user) == _rebuilt(session, user), step
        assert not session.execute(text(_MISPLACED), {"u": user, "most": capacity}).all(), step
        for view in ("own", "answer"):
            ranked = _ranked(session, user, view)
            assert dict(ranked) == pytest.approx(_expected(session, user, view), rel=1e-5), (step, view)
            assert ranked == sorted(ranked, key=lambda hit: (-hit[1], hit[0])), (step, view)
    with words.removed(_raw(session), user, history.passages(history.living)):
        history.run("DELETE FROM carmenta.messages WHERE user_id = :u AND id = ANY (:m)", history.living)
    assert _index(session, user) == {"entries": Counter(), "features": set(), "statistics": set()}


def test_of_equal_scores_those_with_the_lowest_ids_are_cut_off_last(
    database: Database, person: tuple[Session, UUID]
) -> None:
    """However they were indexed: a conversation written message by message ranks as the same one loaded."""
    _smaller(database, 3, 5)
    session, user = person
    for n in range(23):
        _say(session, user, user, n, SAYINGS[n % 2])
    written = [_ranked(session, user, "answer", n) for n in range(1, 20)]
    words.rebuild(_raw(session), user)
    assert [_ranked(session, user, "answer", n) for n in range(1, 20)] == written
    assert all(found == written[-1][: len(found)] for found in written)


def test_a_message_costs_the_same_after_a_long_history(person: tuple[Session, UUID]) -> None:
    session, user = person

    def read() -> int:
        tables = "('search.postings'::regclass, 'search.passage_features'::regclass, 'search.passages'::regclass)"
        rows = f"SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_xact_user_tables WHERE relid IN {tables}"
        return int(session.scalars(text(rows)).one())

    def cost(position: int) -> int:
        before = read()
        _say(session, user, user, position, "The boiler in the cellar leaks.")
        return read() - before

    early = [cost(n) for n in range(3)]
    for n in range(3, 3 * TAIL):
        _say(session, user, user, n, SAYINGS[n % 5])
    words.merge(_raw(session), user)
    assert max(cost(3 * TAIL + n) for n in range(3)) <= max(early) + 2


def test_a_passage_that_is_taken_out_costs_the_same_after_a_long_history(
    database: Database, person: tuple[Session, UUID]
) -> None:
    _smaller(database, 4, 16)
    session, user = person
    said = [_say(session, user, user, n, "The boiler in the cellar leaks.") for n in range(200)]
    words.merge(_raw(session), user)
    history = History(session, user, random.Random(0), said)
    rows = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relid = 'search.postings'::regclass"
    before = session.scalars(text(rows)).one()
    with words.removed(_raw(session), user, history.passages(said[100:101])):
        history.run("DELETE FROM carmenta.messages WHERE user_id = :u AND id = ANY (:m)", said[100:101])
    assert session.scalars(text(rows)).one() - before < 30


def test_adding_what_is_indexed_changes_nothing(person: tuple[Session, UUID]) -> None:
    session, user = person
    message = _say(session, user, user, 1, SAYINGS[1])
    before = _index(session, user)
    words.add(_raw(session), user, History(session, user, random.Random(0)).passages([message]))
    assert _index(session, user) == before


def test_a_user_whose_numbers_are_used_up_is_indexed_anew(person: tuple[Session, UUID]) -> None:
    session, user = person
    _say(session, user, user, 1, SAYINGS[0])
    session.execute(
        text("UPDATE search.word_index SET next_slot = 1 << 24, posted_slot = 1 << 24 WHERE user_id = :u"), {"u": user}
    )
    _say(session, user, user, 2, SAYINGS[1])
    assert _index(session, user) == _rebuilt(session, user)
    last = "SELECT max(slot) FROM search.passage_features WHERE user_id = :u"
    assert session.scalars(text(last), {"u": user}).one() < 10


def test_nobody_writes_the_index_of_another(database: Database, person: tuple[Session, UUID]) -> None:
    session, _ = person
    other = _person(database)
    with pytest.raises(DBAPIError, match="row-level security"):
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": other})


def test_two_who_write_one_users_index_wait_for_each_other(database: Database) -> None:
    """Each sees what the other has written, questions included; nothing is lost and no number given twice."""
    _smaller(database, 3, 7)
    user = _person(database)
    failed: list[BaseException] = []

    def write(first: int) -> None:
        try:
            for n in range(first, 60, 2):
                with database.user_session(user) as session:
                    _say(session, user, user, n, SAYINGS[n % 5])
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failed
    with database.user_session(user) as session:
        assert _index(session, user) == _rebuilt(session, user)
        assert session.scalar(text("SELECT count(DISTINCT place >> 16) FROM search.passage_features")) == 60


def test_two_who_write_for_two_users_do_not_wait(database: Database) -> None:
    users = [_person(database), _person(database)]
    with database.user_session(users[0]) as one, database.user_session(users[1]) as other:
        other.execute(text("SET LOCAL lock_timeout = '1s'"))
        _say(one, users[0], users[0], 1, SAYINGS[0])
        _say(other, users[1], users[1], 1, SAYINGS[0])
        assert _index(one, users[0])["entries"]
        assert _index(other, users[1])["entries"]


def test_indexing_a_user_whom_the_statistics_do_not_know_reads_each_message_a_few_times(database: Database) -> None:
    """By statistics of one other user a new one has a single row, and joins are planned for that."""
    counts = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'carmenta.messages'::regclass"
    fill = (
        "INSERT INTO carmenta.users (id) VALUES (:u)",
        "INSERT INTO carmenta.conversations (user_id, id) VALUES (:u, :u)",
        "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content) "
        "SELECT :u, gen_random_uuid(), :u, n, 'user', 'boiler ' || n FROM generate_series(1, 1000) n",
        "INSERT INTO search.passages (user_id, id, unit, ordinal, content, message_id) "
        "SELECT user_id, id, 'turn', 0, content, id FROM carmenta.messages WHERE user_id = :u",
    )
    with database.owner_session() as session:
        for statement in fill:
            session.execute(text(statement), {"u": UUID(int=1)})
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": UUID(int=1)})
        session.execute(text("ANALYZE"))
    with database.owner_session() as session:
        for statement in fill:
            session.execute(text(statement), {"u": UUID(int=2)})
        before = session.scalars(text(counts)).one()
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": UUID(int=2)})
        assert session.scalars(text(counts)).one() - before < 5 * 1000


def test_a_message_reads_few_others_however_the_statistics_look(database: Database) -> None:
    """By statistics of one long conversation, joins that read all of it look cheap."""
    counts = (
        "SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read) FROM pg_stat_xact_user_tables "
        "WHERE schemaname = 'search' OR relname = 'messages'"
    )
    with database.owner_session() as session:
        user = add_user(session)
        add_conversation(session, user, user)
        for n in range(1000):
            _say(session, user, user, n, SAYINGS[n % 5])
        session.execute(text("ANALYZE"))
        before = session.scalars(text(counts)).one()
        for n in range(10):
            _say(session, user, user, 1000 + n, "The boiler in the cellar leaks.")
        assert session.scalars(text(counts)).one() - before < 10 * 20


def test_what_is_loaded_is_indexed(own_sample: Database) -> None:
    with own_sample.owner_session() as session:
        users = session.scalars(text("SELECT user_id FROM lab.users")).all()
        for user in users:
            found = _index(session, user)
            assert found["entries"]
            assert found == _rebuilt(session, user)


def test_an_answer_is_found_by_the_words_of_its_question(person: tuple[Session, UUID]) -> None:
    session, user = person
    _say(session, user, user, 1, "Where is the spare key for the boathouse?")
    answer = _say(session, user, user, 2, "Under the third flower pot.")
    query = Query("q", user, "the boathouse key")
    assert answer not in search(session, BM25(view="own"), query).sources()
    assert answer in search(session, BM25(view="answer"), query).sources()


def _corpus(session: Session, user: UUID) -> tuple[list[UUID], list[list[str]]]:
    """Passages and their words, repeated as often as they stand there."""
    rows = session.execute(
        text(
            "SELECT id, ARRAY(SELECT w.lexeme FROM unnest(text_search) w CROSS JOIN unnest(w.positions)) "
            "FROM search.passages WHERE user_id = :u ORDER BY id"
        ),
        {"u": user},
    ).all()
    return [row[0] for row in rows], [row[1] for row in rows]


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (1.2, 0.0)])
def test_the_ranking_is_that_of_bm25s_with_the_same_words(sample: Database, k1: float, b: float) -> None:
    retriever = BM25(k1=k1, b=b, view="own")
    with sample.owner_session() as session:
        asked = session.execute(
            text(
                "SELECT q.query_id, q.user_id, q.content, tsvector_to_array(carmenta.lexemes('en', q.content)) "
                "FROM lab.queries q JOIN lab.datasets d ON d.id = q.dataset_id WHERE d.name = 'sample' "
                "AND q.asked_at IS NULL ORDER BY q.query_id LIMIT 40"
            )
        ).all()
        indexes = {}
        for user in {row.user_id for row in asked}:
            ids, corpus = _corpus(session, user)
            oracle = bm25s.BM25(method="lucene", k1=k1, b=b)
            oracle.index(corpus, show_progress=False)
            indexes[user] = (ids, oracle)
    with sample.app_session() as session:
        for query_id, user, content, words in asked:
            ids, oracle = indexes[user]
            known = [word for word in words if word in oracle.vocab_dict]
            expected = dict(zip(ids, oracle.get_scores(known), strict=True)) if known else {}
            with as_user(session, user):
                ranking = search(session, retriever, Query(query_id, user, content), 20)
            scores = [hit.score for hit in ranking.hits]
            assert scores == pytest.approx([expected[hit.passage_id] for hit in ranking.hits], rel=1e-5)
            best = np.sort(np.array(list(expected.values())))[::-1][: len(scores)] if expected else []
            sources_repeat = len(ranking.hits) < 20 or scores[-1] <= best[-1] + 1e-5
            assert sources_repeat
            assert not scores or scores[0] == pytest.approx(best[0], rel=1e-5)


@pytest.mark.parametrize("view", ["own", "answer"])
def test_a_view_sees_nothing_that_was_said_later(sample: Database, view: View) -> None:
    with sample.owner_session() as session:
        user = session.scalar(text("SELECT user_id FROM lab.users WHERE external_id = 'nora'"))
        first = session.scalar(
            text("SELECT min(created_at) + interval '30 days' FROM search.passages WHERE user_id = :u"), {"u": user}
        )
    with sample.user_session(user) as session:
        ranking = search(session, BM25(view=view), Query("q", user, "knee stairs work Saga", asked_at=first), 50)
        late = session.scalar(
            text("SELECT count(*) FROM search.passages WHERE id = ANY (:ids) AND created_at > :at"),
            {"ids": [hit.passage_id for hit in ranking.hits], "at": first},
        )
    assert ranking.hits
    assert late == 0


def test_the_index_of_words_is_not_much_larger_than_a_gin_index(own_sample: Database) -> None:
    """Three times was the aim; an entry for every user and word costs more than one for every word."""
    with own_sample.owner_session() as session:
        session.execute(text("CREATE INDEX gin_words ON search.passages USING gin (text_search)"))
        gin, ours = session.execute(
            text("SELECT pg_relation_size('search.gin_words'), pg_total_relation_size('search.postings')")
        ).one()
    assert ours < 8 * gin


@pytest.mark.parametrize("first", ["boiler", "Who called the plumber about a boiler, a cellar, a key and a pot?"])
@pytest.mark.parametrize("asked_at", [None, datetime(2030, 1, 1, tzinfo=UTC)])
def test_one_plan_serves_all_questions_whatever_the_first_were(
    sample: Database, first: str, asked_at: datetime | None
) -> None:
    """After five plans of their own questions share one, also on a connection that began with short questions."""
    sample.app.dispose()  # a new connection has prepared nothing
    with sample.owner_session() as session:
        user = session.scalar(text("SELECT user_id FROM lab.users WHERE external_id = 'nora'"))
    with sample.user_session(user) as session:
        for _ in range(12):
            search(session, BM25(view="answer"), Query("q", user, first, asked_at=asked_at))
        plans = session.execute(
            text(
                "SELECT generic_plans, custom_plans FROM pg_prepared_statements "
                "WHERE statement LIKE '%search.postings%' AND NOT from_sql"
            )
        ).all()
    assert plans
    assert all(custom == 5 and generic >= 7 for generic, custom in plans)


@pytest.mark.parametrize(("values", "reason"), [({"k1": -1}, "k1"), ({"b": 2}, "b"), ({"units": ("window",)}, "unit")])
def test_parameters_without_a_meaning_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        BM25(**values)


def test_loading_again_indexes_nobody_anew(own_sample: Database) -> None:
    with own_sample.owner_session() as session:
        before = session.scalars(text("SELECT xmin::text FROM search.passage_features ORDER BY passage_id")).all()
    load(own_sample, "sample")
    with own_sample.owner_session() as session:
        after = session.scalars(text("SELECT xmin::text FROM search.passage_features ORDER BY passage_id")).all()
    assert before == after
