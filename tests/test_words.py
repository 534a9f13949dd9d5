"""The index of words: in step with passages whatever happens to them, and BM25 as others compute it."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import bm25s
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.records import Query
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.bm25 import BM25, View

SAYINGS = (
    "The boiler leaks again.",
    "Which boiler? The one in the cellar?",
    "Is it warm? It is warm enough.",
    "Call the plumber about the cellar tomorrow.",
    "No.",
)


def _index(session: Session, user: UUID) -> dict[str, Any]:
    """The index of a user by passage instead of by number, which depends on history."""
    values = {"u": user}
    entries = session.execute(
        text(
            "SELECT t.lexeme, f.passage_id, e & ((1::bigint << 38) - 1) AS rest FROM search.postings t "
            "CROSS JOIN unnest(t.entries) e LEFT JOIN search.passage_features f "
            "ON f.user_id = t.user_id AND f.slot = (e >> 38)::int WHERE t.user_id = :u"
        ),
        values,
    ).all()
    features = session.execute(
        text(
            "SELECT passage_id, unit, source_id, conversation_id, place, role, author, created_at, length, "
            "asked_length, asked::text FROM search.passage_features WHERE user_id = :u"
        ),
        values,
    ).all()
    statistics = session.execute(text("SELECT * FROM search.lexical_statistics WHERE user_id = :u"), values).all()
    return {
        "entries": Counter(map(tuple, entries)),
        "features": set(map(tuple, features)),
        "statistics": set(statistics),
    }


def _rebuilt(session: Session, user: UUID) -> dict[str, Any]:
    with session.begin_nested() as kept:
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": user})
        found = _index(session, user)
        kept.rollback()
    return found


@pytest.fixture
def person(database: Database) -> Iterator[tuple[Session, UUID]]:
    """A user with two conversations, acted for by the application role."""
    user = uuid4()
    with database.owner_session() as session:
        session.execute(text("INSERT INTO carmenta.users (id) VALUES (:u)"), {"u": user})
        for conversation in (user, uuid4()):
            session.execute(
                text("INSERT INTO carmenta.conversations (user_id, id) VALUES (:u, :c)"), {"u": user, "c": conversation}
            )
    with database.user_session(user) as session:
        yield session, user


def _say(session: Session, user: UUID, conversation: UUID, position: int, said: str) -> UUID:
    message = uuid4()
    values = {"u": user, "m": message, "c": conversation, "p": position, "t": said}
    session.execute(
        text(
            "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, author, content) "
            "VALUES (:u, :m, :c, :p, 'user', 'Ann', :t)"
        ),
        values,
    )
    session.execute(
        text(
            "INSERT INTO search.passages (user_id, id, unit, ordinal, content, message_id, author) "
            "VALUES (:u, gen_random_uuid(), 'turn', 0, 'Ann: ' || :t, :m, 'Ann')"
        ),
        values,
    )
    return message


@pytest.mark.parametrize("seed", range(4))
def test_the_index_stays_in_step_through_any_history(person: tuple[Session, UUID], seed: int) -> None:
    """Messages appended, put between others, deleted alone and many at once: as if all were indexed anew."""
    session, user = person
    draw = random.Random(seed)
    homes = list(
        session.scalars(text("SELECT id FROM carmenta.conversations WHERE user_id = :u ORDER BY id"), {"u": user})
    )
    said: list[UUID] = []
    for _ in range(25):
        if said and draw.random() < 0.35:
            gone = draw.sample(said, min(len(said), draw.choice((1, 1, 3))))
            said = [message for message in said if message not in gone]
            session.execute(
                text("DELETE FROM carmenta.messages WHERE user_id = :u AND id = ANY (:m)"), {"u": user, "m": gone}
            )
        else:
            said.append(_say(session, user, draw.choice(homes), draw.randrange(1000), draw.choice(SAYINGS)))
        assert _index(session, user) == _rebuilt(session, user)
    session.execute(text("DELETE FROM carmenta.messages WHERE user_id = :u"), {"u": user})
    assert _index(session, user) == {"entries": Counter(), "features": set(), "statistics": set()}


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
        session.execute(text("SELECT set_config('search.index_later', 'on', true)"))
        for statement in fill:
            session.execute(text(statement), {"u": UUID(int=1)})
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": UUID(int=1)})
        session.execute(text("ANALYZE"))
    with database.owner_session() as session:
        session.execute(text("SELECT set_config('search.index_later', 'on', true)"))
        for statement in fill:
            session.execute(text(statement), {"u": UUID(int=2)})
        before = session.scalars(text(counts)).one()
        session.execute(text("SELECT search.rebuild_words(:u)"), {"u": UUID(int=2)})
        assert session.scalars(text(counts)).one() - before < 5 * 1000


def test_what_is_loaded_is_indexed_as_the_triggers_would(own_sample: Database) -> None:
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
                "SELECT q.query_id, q.user_id, q.content, tsvector_to_array(to_tsvector('english', q.content)) "
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


@pytest.mark.parametrize("view", ["own", "answer", "window", "conversation"])
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


def test_a_conversation_gives_its_score_to_all_its_messages(person: tuple[Session, UUID]) -> None:
    session, user = person
    said = [_say(session, user, user, n, words) for n, words in enumerate(("The boiler leaks.", "Oh dear.", "Yes."))]
    ranking = search(session, BM25(view="conversation"), Query("q", user, "boiler"))
    assert set(ranking.sources()) == set(said)
    assert len({hit.score for hit in ranking.hits}) == 1
    near = search(session, BM25(view="window"), Query("q", user, "boiler")).sources()
    assert set(near) == set(said[:2])


def test_the_index_of_words_is_not_much_larger_than_a_gin_index(own_sample: Database) -> None:
    """Three times was the aim; an entry for every user and word costs more than one for every word."""
    with own_sample.owner_session() as session:
        session.execute(text("CREATE INDEX gin_words ON search.passages USING gin (text_search)"))
        gin, ours = session.execute(
            text("SELECT pg_relation_size('carmenta.gin_words'), pg_total_relation_size('search.postings')")
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
