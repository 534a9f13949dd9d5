"""Searching: what every strategy promises, what each kind adds, and what no question may do."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector
from psycopg import sql
from sqlalchemy import Select, TextualSelect, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.errors import DimensionMismatch, UnknownName, UsageError
from carmenta_lab.experiment.plans import fixed
from carmenta_lab.indexing import approximate, words
from carmenta_lab.indexing.kinds import HNSW, Kind
from carmenta_lab.indexing.kinds import KINDS as INDEXES
from carmenta_lab.indexing.token_codes import encode_lacking
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.lab import Way, prepare
from carmenta_lab.postgres.late import late_connection
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import routing, search
from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.retriever import APPROXIMATE, KINDS, OWN, Retriever, exactly
from carmenta_lab.retrieval.search import understand
from carmenta_lab.retrieval.signals import Words
from carmenta_lab.retrieval.trigram import TrigramSearch
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.retrieval.zscore import ZScoreFusion
from carmenta_lab.schema.vector import Vector

DAY = datetime(2025, 3, 1, tzinfo=UTC)
TABLE = table_name(DEFAULT_MODEL)
DIM = 384
NAMES = strategies.names()
WORDS_ONLY = ("bm25", "fulltext", "fulltext_or", "trigram")

EXACT = VectorSearch()
GRAPH = VectorSearch(index="hnsw", exact_up_to=100)
ROUTES = {kind: VectorSearch(index=kind, exact_up_to=100) for kind in INDEXES}

SOURCES = {"turn": "message_id", "memory": "memory_id", "section": "document_id"}

SAID = [  # text, day; in the order of their ids
    ("turn", "Where did we put the lighthouse keys?", 1),
    ("turn", "The lighthouse keys hang in the kitchen.", 2),
    ("turn", "My sister's wedding is in June.", 3),
    ("turn", "Book a table for the wedding dinner.", 4),
    ("turn", "The invoice number is INV-2041/b.", 5),
    ("turn", "Wir haben die Häuser gestrichen.", None),
    ("memory", "Prefers tea over coffee.", 6),
    ("memory", "The lighthouse is being repainted.", 7),
    ("section", "How to bleed a radiator: open the valve.", 8),
    ("section", "Recipes: bread, soup and the wedding cake.", None),
]


def unit(vectors: Any) -> Any:
    """Rows at unit length."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def add_user(database: Database, name: str) -> UUID:
    """A user with one conversation, whose ids are the same."""
    key = uuid4()
    with database.owner.begin() as connection:
        connection.execute(text("INSERT INTO carmenta.users (id, name) VALUES (:u, :n)"), {"u": key, "n": name})
        connection.execute(text("INSERT INTO carmenta.conversations (user_id, id) VALUES (:u, :u)"), {"u": key})
    return key


def add(
    database: Database,
    user: UUID,
    unit: str,
    said: list[str],
    vectors: Any,
    days: list[int | None],
    source: UUID | None = None,
    language: str = "en",
) -> list[UUID]:
    """Passages with their vectors, each of a source of its own or all of one; returns the sources."""
    table = register(database.owner, DEFAULT_MODEL, DIM)
    sources = [source or UUID(int=uuid4().int) for _ in said]
    times = [None if day is None else DAY + timedelta(days=day) for day in days]
    head = {
        "turn": "messages (user_id, id, conversation_id, position, role, content) SELECT :u, s, :u, 0, 'user', 'x'",
        "memory": "memories (user_id, id, category, content) SELECT :u, s, 'personal', 'x'",
        "section": "documents (user_id, id, path, name, content) "
        "SELECT :u, s, replace(s::text, '-', '_')::ltree, 'x', 'x'",
    }[unit]
    keys = [uuid4() for _ in said]
    with database.owner.begin() as connection:
        connection.execute(text(UNNOTED.replace("%s", "true")))
        connection.execute(
            text(f"INSERT INTO carmenta.{head} FROM (SELECT DISTINCT unnest(CAST(:s AS uuid[])) AS s) AS given"),
            {"u": user, "s": sources},
        )
        connection.execute(
            text(
                f"INSERT INTO search.passages (user_id, id, unit, ordinal, content, {SOURCES[unit]}, language, "
                "created_at) SELECT :u, p.id, :unit, 0, p.content, p.source, :l, p.at FROM unnest(CAST(:k AS uuid[]), "
                "CAST(:c AS text[]), CAST(:s AS uuid[]), CAST(:t AS timestamptz[])) AS p(id, content, source, at)"
            ),
            {"u": user, "unit": unit, "k": keys, "c": said, "s": sources, "t": times, "l": language},
        )
        raw: Any = connection.connection.driver_connection
        raw.execute(f"CREATE TEMP TABLE given ON COMMIT DROP AS SELECT * FROM search.{table} WITH NO DATA")
        names = ("user_id uuid", "passage_id uuid", "source_id uuid", "created_at timestamptz", "unit text")
        columns = [(name, kind) for name, kind in (pair.split() for pair in (*names, "embedding halfvec"))]
        rows = (
            (user, key, of, when, unit, HalfVector(vector))
            for key, of, when, vector in zip(keys, sources, times, vectors, strict=True)
        )
        copy(raw, sql.Identifier("given"), columns, rows)
        raw.execute(f"INSERT INTO search.{table} SELECT * FROM given")
        words.add(raw, user, keys)
    return sources


class Corpus:
    """A few passages of two users, who said the same, and a document of sixty chunks that match one question best."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.users = [add_user(database, name) for name in ("nora", "omar")]
        self.sources: list[set[UUID]] = []
        vectors = load_embedder().embed([said for _, said, _ in SAID])
        self.by_text: dict[str, UUID] = {}
        for user in self.users:
            found: set[UUID] = set()
            for (kind, said, day), vector in zip(SAID, vectors, strict=True):
                language = "de" if "Häuser" in said else "en"
                source = add(database, user, kind, [said], [vector], [day], language=language)[0]
                self.by_text.setdefault(said, source)
                found.add(source)
            self.sources.append(found)
        chunked = "How is the harbour pilot paid?"
        self.chunked = Query("chunked", self.users[0], chunked)
        question = load_embedder().embed_query(chunked)
        noise = np.random.default_rng(7).normal(size=(60, DIM)).astype(np.float32) * 0.001
        chunks = [f"harbour pilot paid, harbour pilot paid, chunk {n}" for n in range(60)]
        self.long = add(database, self.users[0], "section", chunks, unit(question + noise), [9] * 60, uuid4())[0]
        self.sources[0].add(self.long)
        with database.owner.begin() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            encode_lacking(raw, load_embedder(), self.users, lambda: None, print)

    def ask(self, asked: str, user: int = 0, **more: Any) -> Query:
        """A question of one of the users."""
        return Query("q", self.users[user], asked, **more)

    def search(self, retriever: Retriever, query: Query, k: int = 10, vector: Vector | None = None) -> Ranking:
        """A search as that user."""
        with self.database.user_session(query.user_id) as session:
            return search(session, retriever, query, k, vector)

    def texts(self, ranking: Ranking) -> list[str]:
        """What the hits of the first user say."""
        names = {source: said for said, source in self.by_text.items()}
        return [names.get(source, "chunk") for source in ranking.sources()]


@pytest.fixture(scope="module")
def place(cluster: Any) -> Iterator[Way]:
    """The way to a database of this file."""
    way = cluster.clone(cluster.template("empty", None))
    yield way
    cluster.drop(way)


@pytest.fixture(scope="module")
def database(place: Way) -> Iterator[Database]:
    """That database."""
    found = prepare(place)
    yield found
    found.dispose()


@pytest.fixture(scope="module")
def corpus(database: Database) -> Corpus:
    """The few passages; tests leave them as they are."""
    return Corpus(database)


# What every strategy promises


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_keeps_the_contract(corpus: Corpus, name: str) -> None:
    strategy = strategies.load(name)
    query = corpus.ask("lighthouse keys")

    ranking = corpus.search(strategy, query, k=4)

    hits = ranking.hits
    assert 2 <= len(hits) <= 4
    assert [hit.rank for hit in hits] == [*range(1, len(hits) + 1)]
    assert len({hit.source_id for hit in hits}) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert {hit.source_kind for hit in hits} <= {KINDS[unit] for unit in strategy.units}
    assert set(corpus.texts(ranking)[:2]) == {SAID[0][1], SAID[1][1]}
    assert ranking.route
    assert corpus.search(strategy, query, k=4) == ranking
    assert corpus.search(strategy, query, k=2).hits == hits[:2]


@pytest.mark.parametrize("name", NAMES)
def test_a_search_returns_the_rows_of_its_user_alone(corpus: Corpus, name: str) -> None:
    for user in (0, 1):
        found = corpus.search(strategies.load(name), corpus.ask("wedding cake", user), k=100).sources()
        assert found
        assert set(found) <= corpus.sources[user]


@pytest.mark.parametrize("name", NAMES)
def test_the_owner_too_finds_the_rows_of_the_querys_user_alone(corpus: Corpus, name: str) -> None:
    with corpus.database.owner_session() as session:
        found = search(session, strategies.load(name), corpus.ask("wedding cake", 1), k=100)
    assert found.hits == corpus.search(strategies.load(name), corpus.ask("wedding cake", 1), k=100).hits


@pytest.mark.parametrize("name", NAMES)
def test_what_was_said_after_the_question_is_invisible_and_what_has_no_time_is_seen(corpus: Corpus, name: str) -> None:
    said = "the or of wedding or lighthouse or harbour"
    query = corpus.ask(said, asked_at=DAY + timedelta(days=3))
    everything = corpus.search(strategies.load(name), corpus.ask(said), k=100)

    found = corpus.texts(corpus.search(strategies.load(name), query, k=100))

    early = {said for _, said, day in SAID if day is None or day <= 3}
    assert set(found) == {said for said in corpus.texts(everything) if said in early}
    assert "My sister's wedding is in June." in found  # said at that very moment
    assert "Recipes: bread, soup and the wedding cake." in found
    assert "chunk" in corpus.texts(everything)


@pytest.mark.parametrize("name", NAMES)
def test_sixty_chunks_of_one_document_are_one_hit_and_leave_room_for_others(corpus: Corpus, name: str) -> None:
    ranking = corpus.search(strategies.load(name), replace(corpus.chunked, text="harbour or pilot or wedding"), k=5)
    if name in ("fulltext", "fulltext_or", "trigram") or name.startswith("vector"):
        assert corpus.texts(ranking)[0] == "chunk"  # to BM25 a word of sixty passages is a common one
    assert len(ranking.hits) == (4 if name in WORDS_ONLY else 5)
    assert len(set(ranking.sources())) == len(ranking.hits)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_more_than_there_is_returns_all_that_was_found(corpus: Corpus, name: str) -> None:
    ranking = corpus.search(strategies.load(name), corpus.ask("wedding or harbour"), k=1000)
    assert len(ranking.hits) == (4 if name in WORDS_ONLY else 11)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_k_out_of_range_is_refused(corpus: Corpus, name: str, k: int) -> None:
    with pytest.raises(UsageError, match=f"k must be 1 to 1000, not {k}"):
        corpus.search(strategies.load(name), corpus.ask("wedding"), k=k)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", ["", " \n\t ", "\0", "\0 \0"])
def test_an_empty_question_is_refused(corpus: Corpus, name: str, asked: str) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        corpus.search(strategies.load(name), corpus.ask(asked))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", ["the of and", "-wedding", "-wedding -cake", "wedding or -cake", "?!", '""', "or"])
def test_a_question_without_a_searchable_word_finds_no_words_and_says_so(corpus: Corpus, name: str, asked: str) -> None:
    ranking = corpus.search(strategies.load(name), corpus.ask(asked), k=3)
    if name == "fulltext":
        assert (ranking.hits, ranking.note) == ((), "the query has no searchable word")
    elif name in ("fulltext_or", "trigram", "bm25"):  # reads no syntax: a word that is there is searched
        assert bool(ranking.hits) == ("wedding" in asked)
    else:
        assert len(ranking.hits) == 3


WEIRD = [
    *("o'clock \" wedding", "wedding \\ \\' \\\\", "wedding & | ! ( ) <-> :*", "'; DROP TABLE x; --"),
    *("%s %(a)s %% wedding", ":text :b $1 $$", "{} {0}", "wedding 💒 👨‍👩‍👧", "a \0wedding", "half \ud800 wedding"),
    *("wedding:AB*", "((((", "''", "'", "wedding <2> cake", "\u200b wedding", "x" * 5_000, "ж" * 3_000, "𠀀" * 2_500),
    *("a-b-c.d/e@f.g", "\U0010ffff \ue000 wedding", "wedding\u2028cake\r\n", "https://a.b/c?d=e&f='g'"),
]


@pytest.mark.parametrize("name", NAMES)
def test_no_character_of_a_question_breaks_a_search(corpus: Corpus, name: str) -> None:
    with corpus.database.user_session(corpus.users[0]) as session:
        for asked in WEIRD:
            ranking = search(session, strategies.load(name), corpus.ask(asked), k=3)
            if "wedding" in asked and name in ("fulltext_or", "trigram"):
                assert "wedding" in " ".join(corpus.texts(ranking)), asked
            elif "vector" in name or "hybrid" in name:
                assert len(ranking.hits) == 3, asked


@pytest.mark.parametrize("name", NAMES)
def test_of_a_question_of_a_hundred_thousand_words_the_beginning_is_searched(corpus: Corpus, name: str) -> None:
    asked = "wedding or " + " ".join(f"or w{n}" for n in range(100_000))
    ranking = corpus.search(strategies.load(name), corpus.ask(asked), k=3)

    assert "wedding" in " ".join(corpus.texts(ranking)) or "late" in name  # a word like no other outweighs it
    assert ranking.note == "the query is long: only its beginning was searched"


def test_a_long_question_is_cut_between_words_and_in_the_middle_of_an_endless_one() -> None:
    searchable, spelled = BM25().shortened, TrigramSearch().shortened
    assert searchable("w " * 100_000) == ("w " * 100_000, False)
    assert searchable("w " * 100_001) == ("w " * 100_000, True)
    assert spelled("w " * 64) == (" ".join(["w"] * 64), False)
    assert spelled("w " * 65) == (" ".join(["w"] * 64), True)
    assert spelled("x" * 2_001) == ("x" * 2_000, True)


def settings(session: Session) -> dict[str, str]:
    known = "SELECT '[1]'::vector, similarity('a', 'b'), carmenta.lexemes('en', 'a-b')"
    session.execute(text(known))  # settings of extensions and of plpgsql are known once they are used
    return {row[0]: row[1] for row in session.execute(text("SELECT name, setting FROM pg_settings"))}


@pytest.mark.parametrize("name", [*NAMES, *ROUTES])
def test_a_search_leaves_no_setting_behind(graph: "Graph", name: str) -> None:
    strategy = ROUTES[name] if name in ROUTES else strategies.load(name)  # type: ignore[index]
    if "tokens" in strategy.needs:  # the many vectors have no codes
        strategy = replace(strategy, signals=(Words(),))
    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        ranking = search(session, strategy, graph.query, 5, graph.questions[0])
        assert settings(session) == before
        assert (ranking.route in APPROXIMATE) == (name in ROUTES)


def test_searches_in_a_row_set_their_settings_once_and_the_next_statement_sees_none(graph: "Graph") -> None:
    strategy = ROUTES["halfvec"]
    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        first = search(session, strategy, graph.query, 5, graph.questions[0])
        raw = late_connection(session.connection())
        held = raw.in_force
        assert held is not None
        assert search(session, strategy, graph.query, 5, graph.questions[0]) == first
        assert raw.in_force is held
        search(session, replace(strategy, ef_search=50), graph.query, 5, graph.questions[0])
        assert raw.in_force not in (None, held)
        assert settings(session) == before
        assert raw.in_force is None


def test_a_search_that_comes_first_is_a_transaction_of_its_own(graph: "Graph") -> None:
    expected = graph.search(ROUTES["halfvec"], 0)
    with graph.database.user_connection(graph.user, late=True) as connection:
        raw = late_connection(connection)
        for status in ("IDLE", "INTRANS"):  # a second one begins it, for those that follow
            assert search(connection, ROUTES["halfvec"], graph.query, 10, graph.questions[0]) == expected
            assert raw.info.transaction_status.name == status
    with (
        graph.database.user_connection(graph.other, late=True) as connection,
        pytest.raises(UsageError, match="does not act for"),
    ):
        search(connection, ROUTES["halfvec"], graph.query, 10, graph.questions[0])


def test_a_search_that_fails_leaves_no_setting_behind(graph: "Graph") -> None:
    class Broken(VectorSearch):
        def settings(self, route: str) -> Mapping[str, str]:
            return {"enable_sort": "off", "hnsw.ef_search": "0"}

    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        with pytest.raises(DBAPIError, match="outside the valid range"), session.begin_nested():
            search(session, Broken(index="hnsw", exact_up_to=10), graph.query, 5, graph.questions[0])
        assert settings(session) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_search_outside_as_user_is_refused(corpus: Corpus, name: str) -> None:
    with corpus.database.app_session() as session, pytest.raises(UsageError, match=r"search within as_user"):
        search(session, strategies.load(name), corpus.ask("wedding"))


@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_another_user_is_refused(corpus: Corpus, name: str) -> None:
    with (
        corpus.database.app_session() as session,
        as_user(session, corpus.users[1]),
        pytest.raises(UsageError, match=r"does not act for the query's user"),
    ):
        search(session, strategies.load(name), corpus.ask("wedding", user=0))


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_compiles_without_a_database_and_is_printed_as_its_configuration(name: str) -> None:
    strategy = strategies.load(name)
    for limit in (None, 7):
        statement = strategy.statement("exact+fulltext" if "hybrid" in name else "exact", limit)
        assert isinstance(statement, Select | TextualSelect)
        assert "user_id = " in str(statement)
        assert [column.name for column in statement.selected_columns][:4] == [
            *("passage_id", "source_id", "unit", "score"),
        ]
    named = vars(import_module("carmenta_lab.retrieval.signals")) | {"BM25": BM25, "Evidence": Evidence}
    assert eval(repr(strategy), globals() | named | {"ZScoreFusion": ZScoreFusion}) == strategy


# Vectors


def test_an_exact_search_ranks_by_cosine_and_breaks_ties_by_id(database: Database) -> None:
    user = add_user(database, "ties")
    question = unit(np.ones(DIM))
    other = unit(np.concatenate([np.ones(DIM // 2), np.zeros(DIM // 2)]))
    near = add(database, user, "turn", ["a"] * 9, [question] * 9, [1] * 9)
    far = add(database, user, "turn", ["b"] * 9, [other] * 9, [1] * 9)
    with database.user_session(user) as session:
        ranking = search(session, EXACT, Query("q", user, "?"), 15, question)

    assert set(ranking.sources()[:9]) == set(near)
    assert set(ranking.sources()[9:]) < set(far)
    assert [hit.score for hit in ranking.hits[:9]] == pytest.approx([1.0] * 9, abs=1e-3)
    assert [hit.score for hit in ranking.hits[9:]] == pytest.approx([0.5**0.5] * 6, abs=1e-3)
    for group in (ranking.hits[:9], ranking.hits[9:]):
        assert [hit.passage_id for hit in group] == sorted(hit.passage_id for hit in group)


@pytest.mark.parametrize("units", [("memory",), ("section",), ("turn", "memory")])
def test_a_strategy_searches_the_units_it_names(corpus: Corpus, units: tuple[str, ...]) -> None:
    for retriever in (VectorSearch(units=units), FullTextSearch(match="any", units=units)):
        found = corpus.search(retriever, corpus.ask("lighthouse wedding tea radiator"), k=50)
        kinds = {hit.source_kind for hit in found.hits}
        assert kinds == {KINDS[unit] for unit in units}


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        (np.zeros(DIM, np.float32), "must be one row of finite numbers"),
        (np.full(DIM, np.nan, np.float32), "must be one row of finite numbers"),
        (np.full(DIM, np.inf, np.float32), "must be one row of finite numbers"),
        (np.ones((1, DIM), np.float32), "must be one row of finite numbers"),
        (np.ones(3, np.float32), "the query's vector produced 3 dimensions; 384 are expected"),
    ],
)
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("vector", "hybrid_rrf"))])
def test_a_vector_that_cannot_be_compared_is_refused(corpus: Corpus, name: str, vector: Any, error: str) -> None:
    with pytest.raises((UsageError, DimensionMismatch), match=error):
        corpus.search(strategies.load(name), corpus.ask("wedding"), vector=vector)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_the_length_of_a_vector_does_not_matter(corpus: Corpus, scale: float) -> None:
    vector = load_embedder().embed_query("wedding")
    expected = corpus.search(EXACT, corpus.ask("wedding"), vector=vector)
    found = corpus.search(EXACT, corpus.ask("wedding"), vector=(vector * scale).astype(np.float32))
    assert found.sources() == expected.sources()


@pytest.mark.parametrize("retriever", [VectorSearch(model="x/y"), VectorSearch(model="x/y", index="hnsw")], ids=repr)
def test_a_model_with_which_nothing_is_embedded_is_refused(corpus: Corpus, retriever: Retriever) -> None:
    with pytest.raises(UsageError, match="nothing is embedded with the model x/y: load a dataset"):
        corpus.search(retriever, corpus.ask("wedding"), vector=np.ones(DIM, np.float32))


def test_a_search_before_anything_was_embedded_is_refused(way: Way) -> None:
    empty = prepare(way)
    user = add_user(empty, "first")
    try:
        with (
            pytest.raises(UsageError, match="load a dataset"),
            empty.app_session() as session,
            as_user(session, user),
        ):
            search(session, strategies.load("hybrid_rrf"), Query("q", user, "wedding"))
    finally:
        empty.dispose()


@pytest.mark.parametrize("ef_search", [0, 1001])
def test_a_breadth_out_of_range_is_refused(ef_search: int) -> None:
    with pytest.raises(UsageError, match=f"ef_search must be 1 to 1000, not {ef_search}"):
        VectorSearch(index="hnsw", ef_search=ef_search)


def test_of_many_equal_hits_those_of_the_lowest_ids_are_kept(database: Database) -> None:
    user = add_user(database, "cut")
    question = unit(np.ones(DIM))
    add(database, user, "turn", ["same"] * 90, [question] * 90, [1] * 90)
    query = Query("q", user, "same")
    for retriever in (EXACT, FullTextSearch()):
        with database.user_session(user) as session:
            every = search(session, retriever, query, 90, question).hits
            few = search(session, retriever, query, 5, question).hits
        assert few == every[:5]
        assert [hit.passage_id for hit in every] == sorted(hit.passage_id for hit in every)


# The graph


class Graph:
    """Thousands of seeded vectors of two users in clusters, under an index of each kind."""

    def __init__(self, database: Database, admin: str) -> None:
        self.database, self.admin = database, admin
        self.user, self.other = add_user(database, "many"), add_user(database, "others")
        rng = np.random.default_rng(7)
        centres = rng.normal(size=(60, DIM))
        for user, size in ((self.user, 2_000), (self.other, 1_000)):
            vectors = unit(centres[rng.integers(0, 60, size)] + 0.7 * rng.normal(size=(size, DIM)))
            add(database, user, "turn", [f"note {n}" for n in range(size)], vectors, [n // 100 for n in range(size)])
        self.questions = unit(centres[rng.integers(0, 60, 30)] + 0.7 * rng.normal(size=(30, DIM)))
        self.query = Query("many", self.user, "note")
        for index in INDEXES.values():
            approximate.build(database.owner, TABLE, index)
        with database.owner.begin() as connection:
            connection.execute(text(f"ANALYZE search.{TABLE}"))

    def search(self, retriever: Retriever, question: int, k: int = 10, query: Query | None = None) -> Ranking:
        """A search as the query's user."""
        query = query or self.query
        with self.database.user_session(query.user_id) as session:
            return search(session, retriever, query, k, self.questions[question])


@pytest.fixture(scope="module")
def graph(database: Database, corpus: Corpus, place: Way) -> Graph:
    """The many vectors; after the corpus, whose ids come first."""
    return Graph(database, place.admin.url.set(drivername="postgresql").render_as_string(hide_password=False))


def plan(graph: Graph, retriever: VectorSearch, route: str, user: UUID | None = None) -> str:
    """How the server runs a search."""
    compiled = retriever.statement(route).compile(dialect=graph.database.app.dialect)
    values = {"user_id": user or graph.user, "asked_at": DAY + timedelta(days=99), "limit": 30}
    with graph.database.user_session(user or graph.user) as session:
        connection = session.connection()
        connection.execute(text("SELECT '[1]'::vector"))
        for name, value in retriever.settings(route).items():
            connection.execute(text("SELECT set_config(:n, :v, true)"), {"n": name, "v": value})
        parameters = compiled.construct_params(values | {"vector": HalfVector(graph.questions[0])})
        return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}", parameters))


@pytest.mark.parametrize("kind", ROUTES)
def test_a_route_uses_its_index_and_no_other_kind_and_the_exact_one_never_does(graph: Graph, kind: Kind) -> None:
    explained = plan(graph, ROUTES[kind], kind)
    assert f"Index Scan using {approximate.name(TABLE, kind)}" in explained
    assert explained.count("ann_") == 1
    assert "ann_" not in plan(graph, ROUTES[kind], "exact")
    assert "ann_" not in plan(graph, EXACT, "exact")


def test_a_route_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="has no route 'graph': it is exact, or one of hnsw, halfvec, binary, ivfflat"):
        EXACT.statement("graph")


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_finds_nine_of_ten_neighbours_and_says_it_was_used(graph: Graph, kind: Kind) -> None:
    shares = []
    for question in range(len(graph.questions)):
        exact, near = graph.search(EXACT, question), graph.search(ROUTES[kind], question)
        assert (exact.route, near.route) == ("exact", kind)
        assert len(near.hits) == len(exact.hits) == 10
        shares.append(len({*exact.sources()} & {*near.sources()}) / 10)
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("kind", ROUTES)
def test_scores_and_order_of_an_index_are_those_of_the_stored_vectors(graph: Graph, kind: Kind) -> None:
    every = {hit.passage_id: hit.score for hit in graph.search(EXACT, 1, 1000).hits}
    hits = graph.search(ROUTES[kind], 1, 50).hits
    assert all(hit.score == every[hit.passage_id] for hit in hits)
    assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_returns_as_many_as_are_asked_for(graph: Graph, kind: Kind) -> None:
    for k in (1, 500, 1000):
        ranking = graph.search(ROUTES[kind], 0, k)
        assert len(ranking.hits) == k
        assert ranking.route == kind or ranking.note.endswith("so the search was made again without it")
        assert [hit.score for hit in ranking.hits] == sorted((hit.score for hit in ranking.hits), reverse=True)


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_returns_all_that_is_visible_when_more_is_asked_for(graph: Graph, kind: Kind) -> None:
    query = replace(graph.query, asked_at=DAY + timedelta(days=2))
    ranking = graph.search(ROUTES[kind], 0, 900, query)
    assert len(ranking.hits) == 300
    assert ranking.route == "exact"
    assert ranking.note.endswith("of 900, so the search was made again without it")
    assert ranking.hits == graph.search(EXACT, 0, 900, query).hits


@pytest.mark.parametrize("kind", ROUTES)
def test_what_an_index_finds_was_there_when_the_question_was_asked(graph: Graph, kind: Kind) -> None:
    query = replace(graph.query, asked_at=DAY + timedelta(days=4))
    visible = {*graph.search(EXACT, 3, 500, query).sources()}
    ranking = graph.search(ROUTES[kind], 3, 20, query)
    assert (ranking.route, len(ranking.hits)) == (kind, 20)
    assert {*ranking.sources()} <= visible


def test_the_route_is_chosen_by_the_vectors_that_the_question_may_see(graph: Graph) -> None:
    at_first = replace(graph.query, asked_at=DAY)
    assert graph.search(GRAPH, 0, 10, at_first).route == "exact"
    assert graph.search(replace(GRAPH, exact_up_to=99), 0, 10, at_first).route == "hnsw"
    assert graph.search(replace(GRAPH, exact_up_to=2_000), 0).route == "exact"
    assert graph.search(replace(GRAPH, exact_up_to=1_999), 0).route == "hnsw"
    assert graph.search(replace(GRAPH, units=("memory",)), 0).route == "exact"


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_returns_the_rows_of_its_user_alone(graph: Graph, kind: Kind) -> None:
    theirs = Query("q", graph.other, "note")
    mine, others = (graph.search(ROUTES[kind], 0, 1000, query).sources() for query in (graph.query, theirs))
    assert (len(mine), len(others)) == (1000, 1000)
    assert not {*mine} & {*others}


def test_the_bound_is_the_measured_one_unless_told(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("carmenta_lab.retrieval.vector")
    for kind in INDEXES:
        assert graph.search(VectorSearch(index=kind), 0).route == "exact"
        monkeypatch.setitem(module.EXACT_UP_TO, kind, 1_999)
        assert graph.search(VectorSearch(index=kind), 0).route == kind
        monkeypatch.setitem(module.EXACT_UP_TO, kind, 2_000)
        routing.forget_all()
        assert graph.search(VectorSearch(index=kind), 0).route == "exact"


def test_an_index_of_the_users_own_is_used_by_that_user_alone_and_sooner(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("carmenta_lab.retrieval.vector")
    monkeypatch.setattr(module, "EXACT_UP_TO_OWN", 1_999)
    measured = VectorSearch(index="halfvec")
    assert graph.search(measured, 0).route == "exact"
    approximate.build(graph.database.owner, TABLE, INDEXES["halfvec"], user=graph.user)
    try:
        own, shared = approximate.name(TABLE, "halfvec", graph.user), approximate.name(TABLE, "halfvec")
        assert own in plan(graph, measured, "own_halfvec")
        ranking = graph.search(measured, 0)
        assert ranking.route == "own_halfvec"
        assert len({*ranking.sources()} & {*graph.search(EXACT, 0).sources()}) >= 9
        theirs = Query("q", graph.other, "note")
        assert graph.search(measured, 0, 10, theirs).route == "exact"
        assert graph.search(ROUTES["halfvec"], 0, 10, theirs).route == "halfvec"
        assert shared in plan(graph, measured, "halfvec", graph.other)
        monkeypatch.setattr(module, "EXACT_UP_TO_OWN", 2_000)
        routing.forget_all()
        assert graph.search(measured, 0).route == "exact"
    finally:
        approximate.drop(graph.database.owner, TABLE, "halfvec", graph.user)


def test_a_strategy_that_names_another_dimension_than_the_table_has_is_refused(graph: Graph) -> None:
    with pytest.raises(DimensionMismatch, match="vectors of all-MiniLM-L6-v2 produced 100 dimensions; 384 are"):
        graph.search(replace(GRAPH, dim=100), 0)


@pytest.mark.parametrize("retriever", [EXACT, *ROUTES.values()], ids=["exact", *ROUTES])
def test_the_sixth_and_the_tenth_execution_answer_as_the_first(graph: Graph, retriever: Retriever) -> None:
    """Prepared after five executions; a plan made for any user would be another plan, and with it another answer."""
    others = Query("q", graph.other, "note")
    graph.database.app.dispose()  # a new connection has prepared nothing
    with graph.database.app_session() as session:
        rankings = []
        for _ in range(10):
            with as_user(session, graph.user):
                rankings.append(search(session, retriever, graph.query, 10, graph.questions[0]))
            with as_user(session, graph.other):
                search(session, retriever, others, 10, graph.questions[1])
        prepared = session.execute(
            text(
                "SELECT generic_plans, custom_plans FROM pg_prepared_statements "
                "WHERE statement LIKE '%<=>%' AND NOT from_sql"
            )
        ).all()
    assert prepared
    if retriever != EXACT:
        assert all(custom == 0 for _, custom in prepared)
    assert all(ranking == rankings[0] for ranking in rankings)


def test_the_rows_are_counted_once_in_a_hundred_searches_of_a_user(graph: Graph) -> None:
    retriever = replace(GRAPH, ef_search=41)  # decided by no other test
    counted: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counted.extend([statement] if "count(*)" in statement else [])

    event.listen(graph.database.app, "before_cursor_execute", note)
    try:
        rankings = [graph.search(retriever, 0) for _ in range(101)]
        assert len(counted) == 1
        graph.search(retriever, 0)
        assert len(counted) == 2
    finally:
        event.remove(graph.database.app, "before_cursor_execute", note)
    assert all(ranking == rankings[0] for ranking in rankings)


def test_a_lost_connection_is_raised_as_sqlalchemy_does_and_the_next_search_has_another(graph: Graph) -> None:
    def cut_off() -> None:
        with graph.database.user_session(graph.user) as session:
            search(session, EXACT, graph.query, 5, graph.questions[0])
            backend = session.scalar(text("SELECT pg_backend_pid()"))
            with psycopg.connect(graph.admin, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (backend,))
            search(session, EXACT, graph.query, 5, graph.questions[0])

    with pytest.raises(OperationalError, match="terminat"):
        cut_off()
    assert graph.search(EXACT, 0, 5).hits


def test_evidence_takes_its_candidates_from_the_graph_where_vectors_are_many(graph: Graph) -> None:
    """The route says so, and what is found is what exact search finds; a user with few vectors is searched exactly."""
    lean = strategies.load("evidence_lean")
    assert isinstance(lean, Evidence)
    near = replace(lean, vector=ROUTES["halfvec"])
    shares = []
    with graph.database.user_session(graph.user) as session:
        asked = understand(session, near, graph.query)
        for vector in graph.questions[:10]:
            question = replace(asked, vector=vector)
            found = [
                search(session, strategy, graph.query, 10, question=question)
                for strategy in (near, fixed(near, "exact"))
            ]
            assert [ranking.route for ranking in found] == ["halfvec", "exact"]
            shares.append(len({*found[0].sources()} & {*found[1].sources()}) / 10)
        assert lean.vector.index == "halfvec"
        assert search(session, lean, graph.query, 10).route == "exact"
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("kind", ROUTES)
def test_any_retriever_can_be_searched_exactly(graph: Graph, kind: Kind) -> None:
    fusion = ReciprocalRankFusion((("vector", ROUTES[kind]), ("words", FullTextSearch(match="any"))))
    expected = ReciprocalRankFusion((("vector", EXACT), ("words", FullTextSearch(match="any"))))
    assert graph.search(fixed(ROUTES[kind], "exact"), 0) == graph.search(EXACT, 0)
    assert graph.search(fusion, 0).route == f"{kind}+fulltext"
    assert graph.search(fixed(fusion, "exact+fulltext"), 0) == graph.search(expected, 0)


def test_every_kind_of_index_is_an_approximate_route() -> None:
    assert {*APPROXIMATE} == {*INDEXES} | {OWN + kind for kind in INDEXES}
    assert exactly("binary+fulltext+halfvec") == "exact+fulltext+exact"


def test_without_a_finished_index_the_search_is_exact(graph: Graph) -> None:
    name = f"search.{approximate.name(TABLE, 'hnsw')}"
    owner = graph.database.owner
    called, definition = f"{approximate.name(TABLE, 'hnsw')} ON search.{TABLE}", HNSW().definition(3_000, DIM)
    approximate.drop(owner, TABLE, "hnsw")
    try:
        assert graph.search(GRAPH, 0).route == "exact"
        with owner.connect() as writer, owner.connect() as connection:
            writer.execute(text(f"LOCK TABLE search.{TABLE} IN ROW EXCLUSIVE MODE"))
            builder = connection.execution_options(isolation_level="AUTOCOMMIT")
            builder.exec_driver_sql("SET ROLE carmenta_owner")
            builder.exec_driver_sql("SET lock_timeout = '100ms'")
            with pytest.raises(OperationalError, match="lock timeout"):
                builder.exec_driver_sql(f"CREATE INDEX CONCURRENTLY {called} {definition}")
            builder.exec_driver_sql("RESET lock_timeout")
            builder.exec_driver_sql("RESET ROLE")
        with graph.database.app_session() as session:
            assert session.scalar(text("SELECT to_regclass(:n) IS NOT NULL"), {"n": name})
            assert not approximate.present(session, TABLE, "hnsw")
        assert graph.search(GRAPH, 0).route == "exact"
    finally:
        approximate.build(owner, TABLE, HNSW(), concurrently=True)
    with graph.database.app_session() as session:
        assert approximate.present(session, TABLE, "hnsw")
        assert approximate.size_bytes(session, TABLE, "hnsw") > 100_000
    assert graph.search(GRAPH, 0).route == "hnsw"
    approximate.build(owner, TABLE, HNSW())  # there already


def test_an_index_over_a_table_that_is_not_there_is_refused(database: Database) -> None:
    with pytest.raises(UsageError, match=r"there is no table search\.nothing to index"):
        approximate.build(database.owner, "nothing", HNSW())
    with database.app_session() as session:
        assert (
            approximate.present(session, "nothing", "hnsw"),
            approximate.size_bytes(session, "nothing", "hnsw"),
        ) == (
            False,
            0,
        )


@pytest.mark.parametrize(("m", "ef_construction"), [(1, 64), (101, 400), (16, 31), (16, 1001)])
def test_an_index_with_parameters_out_of_range_is_refused(m: int, ef_construction: int) -> None:
    with pytest.raises(UsageError, match=f"found m={m}, ef_construction={ef_construction}"):
        HNSW(m, ef_construction)


@pytest.mark.parametrize(("parameter", "most"), [("ef_search", 1000), ("probes", 32_768), ("candidates", 100)])
def test_a_parameter_of_a_search_out_of_range_is_refused(parameter: str, most: int) -> None:
    for value in (0, most + 1):
        with pytest.raises(UsageError, match=f"{parameter} must be 1 to {most}, not {value}"):
            VectorSearch(**{parameter: value})
        VectorSearch(**{parameter: most})


def test_an_index_of_no_known_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"index must be one of hnsw, halfvec, binary, ivfflat, or None; found 'flat'"):
        VectorSearch(index="flat")  # type: ignore[arg-type]


# Words


def test_a_question_is_read_in_its_language(corpus: Corpus) -> None:
    found = {
        code: corpus.texts(corpus.search(FullTextSearch(), corpus.ask("Häusern", language=code)))
        for code in ("de", "en", "xx")
    }
    assert found["de"] == ["Wir haben die Häuser gestrichen."]
    assert found["en"] == found["xx"] == []


def test_web_search_syntax_is_understood(corpus: Corpus) -> None:
    def texts(asked: str) -> set[str]:
        return set(corpus.texts(corpus.search(FullTextSearch(), corpus.ask(asked))))

    assert texts("wedding dinner") == {"Book a table for the wedding dinner."}
    assert texts("wedding -dinner -cake") == {"My sister's wedding is in June."}
    assert texts('"keys lighthouse"') == set()
    assert len(texts('"lighthouse keys"')) == 2
    assert texts("INV-2041/b") == {"The invoice number is INV-2041/b."}


def test_equal_scores_of_words_are_ordered_by_id(database: Database) -> None:
    user = add_user(database, "equal")
    add(database, user, "turn", ["same words"] * 20, unit(np.ones((20, DIM))), [1] * 20)
    with database.user_session(user) as session:
        ranking = search(session, FullTextSearch(), Query("q", user, "words"), 20)
    assert len({hit.score for hit in ranking.hits}) == 1
    assert [hit.passage_id for hit in ranking.hits] == sorted(hit.passage_id for hit in ranking.hits)


# Spelling


def test_a_word_spelled_otherwise_is_found_and_ranks_below_the_word_itself(database: Database) -> None:
    user = add_user(database, "spelling")
    said = ["The lighthouse is closed.", "The lighthoose is closed.", "Lighten the load.", "The radiator drips."]
    right, wrong, _, _ = add(database, user, "turn", said, unit(np.ones((4, DIM))), [1] * 4)
    for asked in ("lighthouse", "LIGHTHOUSES!", "lighthous"):
        with database.user_session(user) as session:
            ranking = search(session, TrigramSearch(), Query("q", user, asked), 10)
        assert ranking.sources() == [right, wrong], asked
        assert ranking.hits[0].score > ranking.hits[1].score


def test_a_score_of_spelling_is_as_computed_by_hand(database: Database) -> None:
    user = add_user(database, "trigrams")
    said = ["cat", "cat dog", "cab", "fog"]
    cat, both, cab, _ = add(database, user, "turn", said, unit(np.ones((4, DIM))), [1] * 4)
    with database.user_session(user) as session:
        ranking = search(session, TrigramSearch(threshold=0.25), Query("q", user, "cat dog"), 10)
    scores = {hit.source_id: hit.score for hit in ranking.hits}
    # "cat" has the trigrams "  c", " ca", "cat", "at ": cab shares 2 of 4; (0.5 - 0.25) / 0.75 over two words. "dog"
    # shares one of four, "og ", with fog: 0.25 is the threshold, and counts for nothing
    assert scores == pytest.approx({both: 1.0, cat: 0.5, cab: 0.25 / 0.75 / 2}, abs=1e-6)


def test_equal_spelling_is_ordered_by_id(database: Database) -> None:
    user = add_user(database, "spelled alike")
    add(database, user, "turn", ["same words"] * 20, unit(np.ones((20, DIM))), [1] * 20)
    with database.user_session(user) as session:
        ranking = search(session, TrigramSearch(), Query("q", user, "wordz"), 20)
        few = search(session, TrigramSearch(), Query("q", user, "wordz"), 3)
    assert [hit.passage_id for hit in ranking.hits] == sorted(hit.passage_id for hit in ranking.hits)
    assert len(ranking.hits) == 20
    assert few.hits == ranking.hits[:3]


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=f"threshold must be at least 0 and below 1, not {threshold}"):
        TrigramSearch(threshold=threshold)


# Fusion


PARTS: tuple[tuple[str, Retriever], ...] = (("vector", EXACT), ("fulltext", FullTextSearch(match="any")))


def test_a_fused_score_is_the_sum_of_reciprocal_ranks_and_shows_its_parts(corpus: Corpus) -> None:
    query = corpus.ask("lighthouse wedding invoice")
    alone = {name: {hit.source_id: hit for hit in corpus.search(part, query, 100).hits} for name, part in PARTS}

    ranking = corpus.search(ReciprocalRankFusion(PARTS, depth=1000), query, 100)

    assert ranking.route == "exact+fulltext"
    assert {hit.source_id for hit in ranking.hits} == alone["vector"].keys() | alone["fulltext"].keys()
    assert 0 < len(alone["fulltext"]) < len(alone["vector"])
    for hit in ranking.hits:
        found = {name: hits[hit.source_id] for name, hits in alone.items() if hit.source_id in hits}
        assert hit.score == pytest.approx(sum(1 / (60 + part.rank) for part in found.values()), abs=1e-12)
        assert hit.parts == pytest.approx({name: part.score for name, part in found.items()})


def test_a_fused_score_is_as_computed_by_hand(database: Database) -> None:
    user = add_user(database, "by hand")
    axes = np.eye(3, DIM, dtype=np.float32)
    question = unit(axes[0] * 3 + axes[1] * 2 + axes[2])
    said = ["boat", "boat harbour boat harbour", "harbour"]  # by vector 1, 2, 3; by words 2, 1, -
    a, b, c = add(database, user, "turn", said, axes, [1, 1, 1])
    parts: tuple[tuple[str, Retriever], ...] = (("near", EXACT), ("words", FullTextSearch(normalization=0)))
    with database.user_session(user) as session:
        ranking = search(session, ReciprocalRankFusion(parts, constant=10), Query("q", user, "boat"), 3, question)

    scores = {hit.source_id: hit.score for hit in ranking.hits}
    assert scores == pytest.approx({a: 1 / 11 + 1 / 12, b: 1 / 12 + 1 / 11, c: 1 / 13})
    assert ranking.sources() == [*sorted((a, b)), c]
    assert [set(hit.parts) for hit in ranking.hits] == [{"near", "words"}, {"near", "words"}, {"near"}]


def test_parts_of_one_kind_can_be_fused(corpus: Corpus) -> None:
    parts: tuple[tuple[str, Retriever], ...] = (
        ("all", FullTextSearch()),
        ("any", FullTextSearch(match="any")),
        ("memories", FullTextSearch(match="any", units=("memory",))),
        ("turns", VectorSearch(units=("turn",))),
        ("near", EXACT),
    )
    ranking = corpus.search(ReciprocalRankFusion(parts), corpus.ask("lighthouse keys"), 20)

    best = ranking.hits[0]
    assert set(best.parts) == {"all", "any", "turns", "near"}
    assert 4 / 62 <= best.score <= 4 / 61
    assert {name for hit in ranking.hits for name in hit.parts} == {name for name, _ in parts}


def test_a_fusion_finds_more_than_its_depth_when_more_is_asked_for(graph: Graph) -> None:
    for part in (EXACT, GRAPH):
        fusion = ReciprocalRankFusion((("vector", part), ("words", FullTextSearch(match="any"))), depth=40)
        assert len(graph.search(fusion, 0, 300).hits) == 300


def test_a_fusion_with_the_graph_uses_it(graph: Graph) -> None:
    fusion = ReciprocalRankFusion((("vector", GRAPH), ("words", FullTextSearch(match="any"))))
    ranking = graph.search(fusion, 0)
    assert ranking.route == "hnsw+fulltext"
    assert graph.search(fusion, 0) == ranking


# Strategies by name and by file


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'hybrid_rrf'\? Known: bm25, evidence, "):
        strategies.load("hybrid_rff")


OUTSIDE = '''"""Is this found?"""
from __future__ import annotations
from dataclasses import dataclass
from carmenta_lab.retrieval.fulltext import FullTextSearch

@dataclass(frozen=True)
class Mine(FullTextSearch):
    bonus: float = 1.0

STRATEGY = Mine(match="any", bonus=2.0)
'''


def test_a_strategy_outside_the_package_is_loaded_by_its_path(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "my_strategy.py"
    file.write_text(OUTSIDE)

    strategy = strategies.load(str(file))

    assert "bonus=2.0" in repr(strategy)
    assert strategies.title(str(file)) == "my_strategy"
    assert strategies.title("fulltext") == "fulltext"
    assert corpus.search(strategy, corpus.ask("lighthouse")).hits


def test_two_files_of_one_name_are_two_strategies(tmp_path: Path) -> None:
    files = []
    for folder, bonus in (("a", "2.0"), ("b", "3.0")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "mine.py")
        files[-1].write_text(OUTSIDE.replace("2.0", bonus))
    first, second = (strategies.load(str(file)) for file in files)
    assert type(first).__module__ != type(second).__module__


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("x = 1", "defines no STRATEGY: assign a retriever"),
        ("STRATEGY = None", "is no retriever but a NoneType without units, model"),
        ("STRATEGY = 'fulltext'", "is no retriever but a str without units, model, needs, "),
        ("def broken(:", "cannot be executed: SyntaxError"),
        ("import nothing_of_that_name", "cannot be executed: ModuleNotFoundError"),
        ("1 / 0", "cannot be executed: ZeroDivisionError: division by zero"),
        ("\0", "cannot be executed: "),
        (
            "from carmenta_lab.retrieval.fusion import ReciprocalRankFusion as RRF\n"
            "from carmenta_lab.retrieval.fulltext import FullTextSearch as Words\nSTRATEGY = RRF([('a', Words())])",
            "cannot be hashed: write its parameters as tuples and keep it frozen",
        ),
    ],
)
def test_a_broken_strategy_file_says_what_is_wrong(tmp_path: Path, body: str, error: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(body)
    with pytest.raises(UsageError, match=error):
        strategies.load(str(file))


def test_a_strategy_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(UsageError, match=r"there is no strategy file .*none\.py; give a name|unknown strategy"):
            strategies.load(str(path))


def test_every_strategy_says_its_hypothesis() -> None:
    for name in NAMES:
        module = import_module(f"carmenta_lab.strategies.{name}")
        assert (module.__doc__ or "").count("?") >= 1
