"""What is searched in the tests of retrieval: a few passages of two users, and thousands of vectors."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import factory
import numpy as np
import psycopg
import pytest
from conftest import url_of
from pgvector import HalfVector
from psycopg import sql
from sqlalchemy import text

from carmenta_lab import strategies
from carmenta_lab.embedding import DEFAULT_MODEL, load_embedder
from carmenta_lab.indexing import approximate, words
from carmenta_lab.indexing.kinds import KINDS as INDEXES
from carmenta_lab.indexing.token_codes import encode_lacking
from carmenta_lab.indexing.vectors import register, table_name
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.copying import copy
from carmenta_lab.postgres.lab import Logins
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import search
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.vector import VectorSearch
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
    with database.owner.begin() as connection:
        user = factory.add_user(connection, name=name)
        return factory.add_conversation(connection, user, user)


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
def database(shared: Database) -> Database:
    """A database of this file."""
    return shared


@pytest.fixture(scope="module")
def corpus(database: Database) -> Corpus:
    """The few passages; tests leave them as they are."""
    return Corpus(database)


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
def graph(database: Database, corpus: Corpus, shared_logins: Logins) -> Graph:
    """The many vectors; after the corpus, whose ids come first."""
    return Graph(database, url_of(shared_logins))
