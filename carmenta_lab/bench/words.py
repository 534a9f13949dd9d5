"""What do BM25 and fused strategies cost beyond their bare statement, and against `ts_rank_cd` of the same words?

A user among 99 others with as many passages each, so that tables, indexes and statistics of the planner are those of a
product, not of a single user. Texts are those of `generate.said`: 32 words on average, common and rare ones as frequent
as in English. Questions are 13 such words about the user's topics, of which eight are no stop words; they are joined by
OR on both sides. `ts_rank_cd` reads the user's rows by their primary key: row-level security keeps the operator `@@`
from an index.
"""

from collections.abc import Callable
from dataclasses import replace

import psycopg
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.bench.filling import asked, questions
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import SEARCHES, Asker, filled
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.postgres.connect import Database
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.prepared import prepared
from carmenta_lab.retrieval.retriever import END_OF_TIME, PythonRetriever, SqlRetriever
from carmenta_lab.retrieval.search import search, understand
from carmenta_lab.retrieval.vector import VectorSearch

COVER = FullTextSearch(match="any")
COVER_HYBRID = ReciprocalRankFusion(parts=(("vector", VectorSearch(index="halfvec")), ("fulltext", COVER)))
HYBRIDS = ("hybrid_bm25", "hybrid_rrf", "hybrid_zscore")

USERS = 100
ASKED = USERS // 2
"""The user who asks, by number."""


def bm25(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """BM25 of a user with `rows` passages against its bare statement, and against `ts_rank_cd`: searches, then bare."""
    with filled(database, [(number, rows) for number in range(USERS)], seed, words=True):
        found = _compared(_asker(database, ASKED, seed), "bm25", _statement("bm25"), COVER, rows, repeats)
        return [replace(found[0], what=f"{found[0].what}; {_sizes(database)}"), *found[1:]]


def hybrid(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The fused strategies that are there, of a user alone beside a graph, against it fused with `ts_rank_cd`."""
    with filled(database, [(0, rows)], seed, words=True) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=512)
        one = _asker(database, 0, seed)
        there = [name for name in HYBRIDS if name in strategies.names()]
        return [
            result for name in there for result in _compared(one, name, _statement(name), COVER_HYBRID, rows, repeats)
        ]


def _sizes(database: Database) -> str:
    """What the posting lists take on disk beside a GIN index on the same texts, which is made for that and dropped."""
    with database.owner.connect() as connection:
        connection.exec_driver_sql("CREATE INDEX bench_words ON search.passages USING gin (text_search)")
        sizes = "SELECT pg_total_relation_size('search.postings'), pg_relation_size('search.bench_words')"
        postings, gin = connection.exec_driver_sql(sizes).one()
        connection.rollback()
    return f"posting lists take {postings / gin:.1f} times a GIN index of the same texts"


def _asker(database: Database, number: int, seed: int) -> Asker:
    return Asker(database, number, questions(number, SEARCHES, seed)[0], asked(number, SEARCHES, seed))


def _statement(name: str) -> SqlRetriever:
    """A strategy that is one statement, and can be put bare."""
    found = strategies.load(name)
    assert not isinstance(found, PythonRetriever)
    return found


def _compared(
    one: Asker, name: str, retriever: SqlRetriever, cover: SqlRetriever, rows: int, repeats: int
) -> list[Result]:
    what = "the same with ts_rank_cd of any word in place of BM25"
    pairs = [
        (name, (_bare, retriever), (_through, retriever), "the same statement on psycopg, prepared, binary"),
        (f"{name}_against_ts_rank_cd", (_through, cover), (_through, retriever), what),
    ]
    if retriever.model is None:  # fused ones search under settings, without which the statement is another
        bare = f"{name}_bare_against_ts_rank_cd"
        pairs.append((bare, (_bare, cover), (_bare, retriever), f"{what}, both bare"))
    results = []
    for title, (limit, theirs), (ours, own), against in pairs:
        with one.database.user_session(one.query.user_id) as session:
            found = alternate(limit(session, one, theirs), ours(session, one, own), repeats, warm_up=3)
        results.append(Result(title, found[0] / SEARCHES, found[1] / SEARCHES, rows, repeats, against))
    return results


def _bare(session: Session, one: Asker, searched: SqlRetriever) -> Callable[[], None]:
    """The statement alone; what its route needs is set once, before."""
    raw = session.connection().connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    statement = prepared(searched, route := searched.route(session, one.query))  # type: ignore[arg-type]  # frozen
    fixed = {"user_id": one.query.user_id, "asked_at": END_OF_TIME, "language": "en"}
    raw.execute("SELECT '[1]'::vector")
    for setting, value in searched.settings(route).items():
        raw.execute("SELECT set_config(%s, %s, true)", (setting, value))

    def ask() -> None:
        for vector, text in zip(one.vectors, one.texts, strict=True):
            values = statement.values({**fixed, "vector": vector, "text": text}, 17)
            raw.execute(statement.text, values, prepare=True, binary=True).fetchall()

    return ask


def _through(session: Session, one: Asker, searched: SqlRetriever) -> Callable[[], None]:
    """By `search`; what a model makes of a question is at hand, be it a vector or more."""
    queries = [replace(one.query, text=text) for text in one.texts]
    read = [understand(session, searched, query) if "question" in searched.needs else None for query in queries]

    def ask() -> None:
        for query, vector, question in zip(queries, one.vectors, read, strict=True):
            search(session, searched, query, 10, vector, question)

    return ask
