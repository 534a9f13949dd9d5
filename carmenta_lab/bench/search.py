"""What does a search cost beyond its bare prepared statement, and a strategy beyond the searches it is made of?

- `search`, `filtered`: the nearest vectors, exact and through a graph, alone and among other users, in sessions.
- `bm25`, `hybrid`: by words, and fused, against `ts_rank_cd` of the same words.
- `evidence`: the strategies of that name against the two searches that find their candidates, and through a graph.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector
from psycopg import sql
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.bench.measure import Bench, Result, alternate
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.experiment.searching import fixed
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.statement import Rows, driver
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.prepared import prepared
from carmenta_lab.retrieval.question import Question
from carmenta_lab.retrieval.retriever import END_OF_TIME, SEARCHED, PythonRetriever, Retriever, SqlRetriever
from carmenta_lab.retrieval.search import search, understand
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.scale.filling import MeasuredUser, asked, empty, filled, measured_user, questions
from carmenta_lab.scale.generate import DIM, texts, vectors, write_folder, write_vectors

SEARCHES = 20
"""Searches a measurement."""
MEMORY_MB = 512
"""For building a graph."""

Work = Callable[[], None]
Opening = Callable[[UUID], AbstractContextManager[Session | Connection]]


# Vectors

EXACT = VectorSearch()
GRAPH = VectorSearch(index="halfvec", ef_search=100, exact_up_to=0)

_NEAREST = """
    SELECT passage_id, source_id, unit, {distance} AS distance FROM search.{table}
    WHERE user_id = %(user_id)s AND unit = ANY(%(units)s) AND (created_at IS NULL OR created_at <= %(asked_at)s)
    ORDER BY distance, passage_id LIMIT 10
"""

_SAME = "the same question as a prepared statement on psycopg, binary, its transaction open"


def nearest(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The 10 nearest of a user's `rows` vectors, exact and through a graph, against the bare statement; and of 600."""
    found = []
    with filled(database, [(0, 600), (1, rows)], seed) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=MEMORY_MB)
        for number, size, name, retriever in (
            (0, 600, "search_600", EXACT),
            (1, rows, "search_exact", EXACT),
            (1, rows, "search_index", GRAPH),
        ):
            one = measured_user(database, number, SEARCHES, seed)
            with _bare_vectors(one, table, retriever) as limit, _in_session(one, retriever) as ours:
                found.append(_result(name, alternate(limit, ours, repeats, warm_up=3), size, repeats))
                if retriever is GRAPH:
                    openings: tuple[tuple[str, Opening], ...] = (
                        ("search_connection", partial(database.user_connection, searches_first=True)),
                        ("search_session", partial(database.user_session, searches_first=True)),
                    )
                    for title, opening in openings:
                        pair = alternate(limit, partial(_opened, one, GRAPH, opening), repeats, warm_up=3)
                        found.append(_result(title, pair, size, repeats))
    return found


def filtered(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """The same of a user with 1 % of `rows`, against the bare statement and against an iterative scan of the graph."""
    size = max(10, rows // 100)
    with filled(database, [(number, size) for number in range(100)], seed) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=MEMORY_MB)
        one = measured_user(database, 50, SEARCHES, seed)
        with _bare_vectors(one, table, EXACT) as limit, _in_session(one, EXACT) as ours, _in_session(one, GRAPH) as g:
            first = _result("filtered", alternate(limit, ours, repeats, warm_up=3), size, repeats)
            against = alternate(g, ours, max(3, repeats // 3), warm_up=1)
    return [first, _result("filtered_against_index", against, size, repeats, "an iterative scan of the graph index")]


@contextmanager
def _bare_vectors(one: MeasuredUser, table: str, retriever: VectorSearch) -> Iterator[Work]:
    """The nearest vectors as a prepared statement; what the index needs is set once, before."""
    distance = "embedding <=> %(vector)s" if retriever.index else "(embedding <=> %(vector)s) + 0"
    statement = _NEAREST.format(table=table, distance=distance).encode()
    user = one.query.user_id
    values = {"user_id": user, "units": list(SEARCHED), "asked_at": END_OF_TIME}
    with one.database.user_session(user) as session:
        raw = driver(session)
        _set(session, retriever, retriever.index or "exact")

        def ask() -> None:
            for vector in one.vectors:
                given = values | {"vector": HalfVector(vector)}
                raw.execute(statement, given, prepare=True, binary=True).fetchall()

        yield ask


@contextmanager
def _in_session(one: MeasuredUser, retriever: Retriever) -> Iterator[Work]:
    """The same through `search`, in one session."""
    with one.database.user_session(one.query.user_id) as session:

        def ask() -> None:
            for vector in one.vectors:
                search(session, retriever, one.query, 10, vector)

        yield ask


def _opened(one: MeasuredUser, retriever: Retriever, opening: Opening) -> None:
    """The same with a transaction opened for each search."""
    for vector in one.vectors:
        with opening(one.query.user_id) as session:
            search(session, retriever, one.query, 10, vector)


def _set(session: Session, retriever: SqlRetriever, route: str) -> None:
    """What a search by that route needs set, for the rest of the transaction."""
    raw = driver(session)
    raw.execute("SELECT '[1]'::vector")
    for name, value in retriever.settings(route).items():
        raw.execute("SELECT set_config(%s, %s, true)", (name, value))


def _result(name: str, pair: tuple[float, float], rows: int, repeats: int, what: str = _SAME) -> Result:
    limit, ours = pair
    return Result(name, limit / SEARCHES, ours / SEARCHES, rows, repeats, what)


# Words
#
# A user among 99 others with as many passages each, so that tables, indexes and statistics of the planner are those of
# a product, not of a single user. Texts are those of `generate.said`: 32 words on average, common and rare ones as
# frequent as in English. Questions are 13 such words about the user's topics, of which eight are no stop words; they
# are joined by OR on both sides. `ts_rank_cd` reads the user's rows by their primary key: row-level security keeps the
# operator `@@` from an index.

COVER = FullTextSearch(match="any")
COVER_HYBRID = ReciprocalRankFusion(parts=(("vector", VectorSearch(index="halfvec")), ("fulltext", COVER)))
HYBRIDS = ("hybrid_bm25", "hybrid_rrf", "hybrid_zscore")

USERS = 100
WHO_ASKS = USERS // 2
"""The user who asks, by number."""


def bm25(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """BM25 of a user with `rows` passages, against its bare statement and `ts_rank_cd`; 99 others have as many."""
    with filled(database, [(number, rows) for number in range(USERS)], seed, words=True):
        one = _word_asker(database, WHO_ASKS, seed)
        first, *others = _against_words(one, "bm25", _one_statement("bm25"), COVER, rows, repeats)
        return [replace(first, what=f"{first.what}; {_sizes(database)}"), *others]


def hybrid(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Each fused strategy over `rows` passages, against its bare statement and against a fusion with `ts_rank_cd`."""
    with filled(database, [(0, rows)], seed, words=True) as table:
        approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=MEMORY_MB)
        one = _word_asker(database, 0, seed)
        found = []
        for name in HYBRIDS:
            if name in strategies.names():
                found += _against_words(one, name, _one_statement(name), COVER_HYBRID, rows, repeats)
        return found


def _sizes(database: Database) -> str:
    """What the posting lists take on disk beside a GIN index on the same texts, which is made for that and dropped."""
    with database.owner.connect() as connection:
        connection.exec_driver_sql("CREATE INDEX bench_words ON search.passages USING gin (text_search)")
        sizes = "SELECT pg_total_relation_size('search.postings'), pg_relation_size('search.bench_words')"
        postings, gin = connection.exec_driver_sql(sizes).one()
        connection.rollback()
    return f"posting lists take {postings / gin:.1f} times a GIN index of the same texts"


def _word_asker(database: Database, number: int, seed: int) -> MeasuredUser:
    vectors, _ = questions(number, SEARCHES, seed)
    return MeasuredUser(database, number, vectors, asked(number, SEARCHES, seed))


def _one_statement(name: str) -> SqlRetriever:
    """A strategy that is one statement, and can be put bare."""
    found = strategies.load(name)
    assert not isinstance(found, PythonRetriever)
    return found


def _against_words(
    one: MeasuredUser, name: str, retriever: SqlRetriever, cover: SqlRetriever, rows: int, repeats: int
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
        results.append(_result(title, found, rows, repeats, against))
    return results


def _bare(session: Session, one: MeasuredUser, searched: SqlRetriever) -> Work:
    """The statement alone; what its route needs is set once, before."""
    raw = driver(session)
    statement = prepared(searched, route := searched.route(session, one.query))  # type: ignore[arg-type]  # frozen
    fixed = {"user_id": one.query.user_id, "asked_at": END_OF_TIME, "language": "en"}
    _set(session, searched, route)

    def ask() -> None:
        for vector, text in zip(one.vectors, one.texts, strict=True):
            values = statement.values({**fixed, "vector": vector, "text": text}, 17)
            raw.execute(statement.text, values, prepare=True, binary=True).fetchall()

    return ask


def _through(session: Session, one: MeasuredUser, searched: SqlRetriever) -> Work:
    """By `search`; what a model makes of a question is at hand, be it a vector or more."""
    queries = [replace(one.query, text=text) for text in one.texts]
    read = [understand(session, searched, query) if "question" in searched.needs else None for query in queries]

    def ask() -> None:
        for query, vector, question in zip(queries, one.vectors, read, strict=True):
            search(session, searched, query, 10, vector, question)

    return ask


# Evidence

CODES = 13
"""Codes a message: as many as short chat messages have after stop words."""
FEW = 600
"""Messages of a user whose search is as good as free."""
EVIDENCE_QUESTIONS = 10

EVIDENCE = ("evidence", "evidence_lean")
_COLUMNS = (("user_id", "uuid"), ("passage_id", "uuid"), ("codes", "bit[]"), ("question_codes", "bit[]"))


class _Key(NamedTuple):
    user_id: UUID
    id: UUID


_KEYS = Rows(_Key, "SELECT user_id, id FROM search.passages ORDER BY user_id, id")


@dataclass(frozen=True)
class _Reader:
    """The only user of a folder, with questions; their vectors are about the topics of the user's messages."""

    user_id: UUID
    queries: list[Query]
    vectors: NDArray[np.float32]

    def understood(self, session: Session, strategy: Retriever) -> list[tuple[Query, Question]]:
        """The questions as the strategy reads them, with the generated vectors."""
        pairs = zip(self.queries, self.vectors, strict=True)
        return [(query, replace(understand(session, strategy, query), vector=vector)) for query, vector in pairs]


def evidence(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """`evidence` and `evidence_lean` against one exact and one BM25 search, for users of 600 and of `rows` messages.

    Then for the larger one, under a graph, the strategy as it is against itself with exact candidates. Vectors and
    codes are generated, as they cost the same to compare; what the query's own vectors cost is left out.
    """
    return [result for size in (FEW, rows) for result in _evidence_of(database, size, repeats, seed)]


def _evidence_of(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    empty(database)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / f"bench-evidence-{rows}"
            write_folder(folder, rows, users=1, seed=seed)
            write_vectors(folder, rows, seed, DEFAULT_MODEL)
            load(database, folder, models=())
        _write_codes(database, seed)
        found = _against_candidates(database, rows, repeats, seed)
        if rows > FEW:
            table = table_name(DEFAULT_MODEL)
            approximate.build(database.owner, table, KINDS["halfvec"], memory_mb=MEMORY_MB)
            found += _through_the_graph(database, rows, repeats, seed)
        return found
    finally:
        empty(database)


def _write_codes(database: Database, seed: int) -> None:
    with database.owner.begin() as connection:
        raw = driver(connection)
        keys = _KEYS.all(connection, {})
        drawn = np.random.default_rng(seed).integers(0, 256, (len(keys), CODES, DIM // 8), np.uint8)
        raw.execute("CREATE TEMP TABLE drawn ON COMMIT DROP AS SELECT * FROM search.token_codes WITH NO DATA")

        def coded() -> Iterator[tuple[UUID, UUID, Sequence[Bit], Sequence[Bit]]]:
            for key, each in zip(keys, drawn, strict=True):
                codes = [Bit(code.tobytes()) for code in each]
                yield key.user_id, key.id, codes, codes[:2]

        copy(raw, sql.Identifier("drawn"), _COLUMNS, coded())
        raw.execute("INSERT INTO search.token_codes SELECT * FROM drawn")
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _reader(database: Database, seed: int) -> _Reader:
    with database.owner_session() as session:
        user: UUID = session.connection().exec_driver_sql("SELECT id FROM carmenta.users").scalar_one()
    said = [" ".join(words.split()[:8]) for words in texts(EVIDENCE_QUESTIONS, seed + 1)]
    queries = [Query(f"q{n}", user, words) for n, words in enumerate(said)]
    return _Reader(user, queries, vectors(EVIDENCE_QUESTIONS, DIM, seed, stream=1))


def _through_the_graph(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    reader = _reader(database, seed)
    found = []
    with database.user_session(reader.user_id) as session:
        for name in EVIDENCE:
            strategy = strategies.load(name)
            read = reader.understood(session, strategy)
            by_scan, by_graph = (partial(_rankings, session, s, read) for s in (fixed(strategy, "exact"), strategy))
            exact, graph = by_scan(), by_graph()
            shares = [len({*a.sources()} & {*b.sources()}) / len(a.hits) for a, b in zip(exact, graph, strict=True)]
            pair = alternate(by_scan, by_graph, repeats, warm_up=2)
            what = f"the same with exact candidates, of whose hits {graph[0].route} finds {fmean(shares):.3f}"
            found.append(_evidence_result(f"{name}_{rows}_near", pair, rows, repeats, what))
    return found


def _rankings(session: Session, searched: Retriever, read: Sequence[tuple[Query, Question]]) -> list[Ranking]:
    return [search(session, searched, query, 10, question=question) for query, question in read]


def _against_candidates(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    nearest, words = strategies.load("vector_exact"), strategies.load("bm25")
    reader = _reader(database, seed)
    found = []
    with database.user_session(reader.user_id) as session:
        for name in EVIDENCE:
            strategy = strategies.load(name)
            read = reader.understood(session, strategy)

            def limit(read: list[tuple[Query, Question]] = read) -> None:
                for query, question in read:
                    search(session, nearest, query, 10, question.vector)
                    search(session, words, query, 10)

            pair = alternate(limit, partial(_rankings, session, strategy, read), repeats, warm_up=2)
            what = "one exact vector search and one BM25 search of the same user"
            found.append(_evidence_result(f"{name}_{rows}", pair, rows, repeats, what))
    return found


def _evidence_result(name: str, pair: tuple[float, float], rows: int, repeats: int, what: str) -> Result:
    limit, ours = pair
    return Result(name, limit / EVIDENCE_QUESTIONS, ours / EVIDENCE_QUESTIONS, rows, repeats, what)


BENCHES = (
    Bench("search", nearest, rows=5_000, repeats=15),
    Bench("filtered", filtered, rows=20_000, repeats=9),
    Bench("bm25", bm25, rows=1_000, repeats=15),
    Bench("hybrid", hybrid, rows=5_000, repeats=9),
    Bench("evidence", evidence, rows=20_000, repeats=9),
)
