"""One peer, in an environment of its own: `python peer_run.py NAME FOLDER` loads rows and answers questions.

Prints a line of JSON when it has loaded and chosen its breadth, and another for each line it reads: the milliseconds
of every question, asked once. The variable PEER_URL names a PostgreSQL database.
Imports nothing of this package, for the peer's environment does not have it.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

import numpy as np

M, EF_CONSTRUCTION, K = 32, 200, 10
"""A graph in which pgvector's own breadth, 40, or less finds 95 % over 100,000 clustered vectors. Those of 16 links,
made with breadth 64, differ so much from build to build that one needs twice the breadth of another."""
BREADTHS = (10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 115, 130, 145, 160, 180, 200, 230, 260, 320)
RECALL = 0.95
MARK = "peer: "
"""Begins a line of the answer."""


def _id(row: int) -> str:
    return str(UUID(int=row))


class Hnswlib:
    """A graph in this process."""

    package = "hnswlib"

    def load(self, vectors: Any, texts: list[str], folder: Path, url: str) -> None:
        """Nothing: rows go into the graph."""
        self.vectors = vectors

    def build(self) -> None:
        """Build the graph with one thread a core."""
        import hnswlib

        vectors = self.vectors
        self.index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
        self.index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=7)
        self.index.add_items(vectors, np.arange(len(vectors)))

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        self.index.set_ef(breadth)
        return [int(row) for row in self.index.knn_query(vector, k=K, num_threads=1)[0][0]]


class Vecs:
    """Supabase's client: SQLAlchemy over psycopg2."""

    package = "vecs"

    def load(self, vectors: Any, texts: list[str], folder: Path, url: str) -> None:
        """Upsert; a text is metadata."""
        import vecs

        client = vecs.create_client(url.replace("postgresql://", "postgresql+psycopg2://"))
        self.collection = client.get_or_create_collection(name="peer", dimension=vectors.shape[1])
        rows = zip(vectors, texts, strict=True)
        self.collection.upsert(records=[(_id(row), vector, {"text": said}) for row, (vector, said) in enumerate(rows)])

    def build(self) -> None:
        """Build the graph."""
        import vecs

        arguments = vecs.IndexArgsHNSW(m=M, ef_construction=EF_CONSTRUCTION)
        self.collection.create_index(method=vecs.IndexMethod.hnsw, index_arguments=arguments)

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        return [UUID(str(key)).int for key in self.collection.query(data=vector, limit=K, ef_search=breadth)]


class Langchain:
    """PGVectorStore: SQLAlchemy over psycopg, asynchronous inside."""

    package = "langchain-postgres"

    def load(self, vectors: Any, texts: list[str], folder: Path, url: str) -> None:
        """Add embeddings."""
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from langchain_postgres import PGEngine, PGVectorStore

        self.engine = PGEngine.from_connection_string(url=url.replace("postgresql://", "postgresql+psycopg://"))
        self.engine.init_vectorstore_table("peer_langchain", vectors.shape[1], overwrite_existing=True)
        self.embedding = DeterministicFakeEmbedding(size=vectors.shape[1])
        self.stores: dict[int, Any] = {}
        self.create = PGVectorStore.create_sync
        keys = [_id(row) for row in range(len(vectors))]
        store = self.create(self.engine, self.embedding, "peer_langchain")
        store.add_embeddings(texts, [vector.tolist() for vector in vectors], ids=keys)

    def build(self) -> None:
        """Build the graph."""
        from langchain_postgres.v2.indexes import HNSWIndex

        store = self.create(self.engine, self.embedding, "peer_langchain")
        store.apply_vector_index(HNSWIndex(m=M, ef_construction=EF_CONSTRUCTION))

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first; the breadth belongs to a store."""
        from langchain_postgres.v2.indexes import HNSWQueryOptions

        if breadth not in self.stores:
            options = HNSWQueryOptions(ef_search=breadth)
            self.stores[breadth] = self.create(
                self.engine, self.embedding, "peer_langchain", index_query_options=options
            )
        found = self.stores[breadth].similarity_search_by_vector(vector.tolist(), k=K)
        return [UUID(str(document.id)).int for document in found]


class LlamaIndex:
    """PGVectorStore of llama-index: SQLAlchemy over psycopg2."""

    package = "llama-index-vector-stores-postgres"

    def load(self, vectors: Any, texts: list[str], folder: Path, url: str) -> None:
        """Add nodes to a table without a graph."""
        from llama_index.core.schema import TextNode

        self.url, self.dim = url, vectors.shape[1]
        store = self._store(None)
        for start in range(0, len(vectors), 1_000):
            some = enumerate(
                zip(vectors[start : start + 1_000], texts[start : start + 1_000], strict=True), start=start
            )
            store.add([TextNode(id_=_id(row), text=said, embedding=vector.tolist()) for row, (vector, said) in some])

    def build(self) -> None:
        """A store that has a graph builds it before its first question."""
        graph = {
            "hnsw_m": M,
            "hnsw_ef_construction": EF_CONSTRUCTION,
            "hnsw_ef_search": 40,
            "hnsw_dist_method": "vector_cosine_ops",
        }
        self.store = self._store(graph)
        self.search([1.0] * self.dim, 40)

    def _store(self, graph: dict[str, Any] | None) -> Any:
        from llama_index.vector_stores.postgres import PGVectorStore

        return PGVectorStore.from_params(
            connection_string=self.url.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=self.url.replace("postgresql://", "postgresql+asyncpg://"),
            table_name="peer_llama",
            embed_dim=self.dim,
            hnsw_kwargs=graph,
        )

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        from llama_index.core.vector_stores.types import VectorStoreQuery

        query = VectorStoreQuery(query_embedding=list(map(float, vector)), similarity_top_k=K)
        return [UUID(key).int for key in self.store.query(query, hnsw_ef_search=breadth).ids]


class QdrantEdge:
    """Qdrant in this process, on disk."""

    package = "qdrant-edge-py"

    def load(self, vectors: Any, texts: list[str], folder: Path, url: str) -> None:
        """Upsert."""
        import qdrant_edge as q

        place = folder / "qdrant"
        place.mkdir()
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=vectors.shape[1], distance=q.Distance.Cosine),
            hnsw_config=q.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=10),
        )
        self.shard = q.EdgeShard.create(str(place), config)
        for start in range(0, len(vectors), 1_000):
            some = enumerate(
                zip(vectors[start : start + 1_000], texts[start : start + 1_000], strict=True), start=start
            )
            points = [q.Point(row, vector.tolist(), {"text": said}) for row, (vector, said) in some]
            self.shard.update(q.UpdateOperation.upsert_points(points))

    def build(self) -> None:
        """Build the graph."""
        self.shard.optimize()

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        import qdrant_edge as q

        asked = q.QueryRequest(query=q.Query.Nearest(vector.tolist()), limit=K, params=q.SearchParams(hnsw_ef=breadth))
        return [int(point.id) for point in self.shard.query(asked)]


PEERS = {peer.package: peer for peer in (Vecs, Langchain, LlamaIndex, QdrantEdge, Hnswlib)}


def main(name: str, folder: Path, url: str) -> None:
    """Load, find the smallest breadth that finds 95 % of the true neighbours, then a round for each line read."""
    data = np.load(folder / "rows.npz")
    vectors, asked, true = data["vectors"], data["asked"], data["true"]
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    peer = PEERS[name]()
    started = time.perf_counter()
    peer.load(vectors, texts, folder, url)
    loaded = time.perf_counter()
    peer.build()
    breadth, found = 0, {"version": version(name), "load_s": loaded - started, "build_s": time.perf_counter() - loaded}
    for breadth in BREADTHS:
        answers = [peer.search(vector, breadth) for vector in asked]
        recall = fmean(len({*rows} & {*best}) / K for rows, best in zip(answers, true.tolist(), strict=True))
        found |= {"breadth": breadth, "recall": recall}
        if recall >= RECALL:
            break
    _say(found)
    for _ in sys.stdin:
        spent = []
        for vector in asked:
            start = time.perf_counter()
            peer.search(vector, breadth)
            spent.append((time.perf_counter() - start) * 1000)
        _say({"spent_ms": spent})


def _say(found: dict[str, Any]) -> None:
    """Begins a line of its own: libraries print as well."""
    sys.stdout.write("\n" + MARK + json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), os.environ["PEER_URL"])
