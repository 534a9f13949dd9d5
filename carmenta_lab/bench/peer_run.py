"""One peer, in an environment of its own: `python peer_run.py NAME FOLDER` reads vectors, prints one line of JSON.

The variable PEER_URL names a PostgreSQL database.
Imports nothing of this package, for the peer's environment does not have it.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Any
from uuid import UUID

import numpy as np

M, EF_CONSTRUCTION, K = 16, 64, 10
BREADTHS = (20, 40, 80, 160, 320)
RECALL = 0.95


def _id(row: int) -> str:
    return str(UUID(int=row))


class Hnswlib:
    """A graph in this process."""

    package = "hnswlib"

    def load(self, vectors: Any, folder: Path, url: str) -> None:
        """Build with one thread a core."""
        import hnswlib

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

    def load(self, vectors: Any, folder: Path, url: str) -> None:
        """Upsert, then build the graph."""
        import vecs

        client = vecs.create_client(url.replace("postgresql://", "postgresql+psycopg2://"))
        self.collection = client.get_or_create_collection(name="peer", dimension=vectors.shape[1])
        self.collection.upsert(records=[(_id(row), vector, {}) for row, vector in enumerate(vectors)])
        arguments = vecs.IndexArgsHNSW(m=M, ef_construction=EF_CONSTRUCTION)
        self.collection.create_index(method=vecs.IndexMethod.hnsw, index_arguments=arguments)

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        return [UUID(str(key)).int for key in self.collection.query(data=vector, limit=K, ef_search=breadth)]


class Langchain:
    """PGVectorStore: SQLAlchemy over psycopg, asynchronous inside."""

    package = "langchain-postgres"

    def load(self, vectors: Any, folder: Path, url: str) -> None:
        """Add embeddings, then build the graph."""
        from langchain_core.embeddings import DeterministicFakeEmbedding
        from langchain_postgres import PGEngine, PGVectorStore
        from langchain_postgres.v2.indexes import HNSWIndex

        self.engine = PGEngine.from_connection_string(url=url.replace("postgresql://", "postgresql+psycopg://"))
        self.engine.init_vectorstore_table("peer_langchain", vectors.shape[1], overwrite_existing=True)
        self.embedding = DeterministicFakeEmbedding(size=vectors.shape[1])
        self.stores: dict[int, Any] = {}
        self.create = PGVectorStore.create_sync
        keys = [_id(row) for row in range(len(vectors))]
        store = self.create(self.engine, self.embedding, "peer_langchain")
        store.add_embeddings(["-"] * len(keys), [vector.tolist() for vector in vectors], ids=keys)
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
    """PGVectorStore of llama-index: SQLAlchemy over psycopg2; the graph is there before the rows."""

    package = "llama-index-vector-stores-postgres"

    def load(self, vectors: Any, folder: Path, url: str) -> None:
        """Add nodes."""
        from llama_index.core.schema import TextNode
        from llama_index.vector_stores.postgres import PGVectorStore

        graph = {
            "hnsw_m": M,
            "hnsw_ef_construction": EF_CONSTRUCTION,
            "hnsw_ef_search": 40,
            "hnsw_dist_method": "vector_cosine_ops",
        }
        self.store = PGVectorStore.from_params(
            connection_string=url.replace("postgresql://", "postgresql+psycopg2://"),
            async_connection_string=url.replace("postgresql://", "postgresql+asyncpg://"),
            table_name="peer_llama",
            embed_dim=vectors.shape[1],
            hnsw_kwargs=graph,
        )
        for start in range(0, len(vectors), 1_000):
            some = enumerate(vectors[start : start + 1_000], start=start)
            self.store.add([TextNode(id_=_id(row), text="-", embedding=vector.tolist()) for row, vector in some])

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        from llama_index.core.vector_stores.types import VectorStoreQuery

        query = VectorStoreQuery(query_embedding=vector.tolist(), similarity_top_k=K)
        return [UUID(key).int for key in self.store.query(query, hnsw_ef_search=breadth).ids]


class QdrantEdge:
    """Qdrant in this process, on disk."""

    package = "qdrant-edge-py"

    def load(self, vectors: Any, folder: Path, url: str) -> None:
        """Upsert, then build the graph."""
        import qdrant_edge as q

        place = folder / "qdrant"
        place.mkdir()
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=vectors.shape[1], distance=q.Distance.Cosine),
            hnsw_config=q.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=10),
        )
        self.shard = q.EdgeShard.create(str(place), config)
        for start in range(0, len(vectors), 1_000):
            some = enumerate(vectors[start : start + 1_000], start=start)
            points = [q.Point(row, vector.tolist(), {}) for row, vector in some]
            self.shard.update(q.UpdateOperation.upsert_points(points))
        self.shard.optimize()

    def search(self, vector: Any, breadth: int) -> list[int]:
        """Rows, nearest first."""
        import qdrant_edge as q

        asked = q.QueryRequest(query=q.Query.Nearest(vector.tolist()), limit=K, params=q.SearchParams(hnsw_ef=breadth))
        return [int(point.id) for point in self.shard.query(asked)]


PEERS = {peer.package: peer for peer in (Vecs, Langchain, LlamaIndex, QdrantEdge, Hnswlib)}


def main(name: str, folder: Path, url: str) -> dict[str, Any]:
    """Load, then the smallest breadth that finds 95 % of the true neighbours, and its latency."""
    data = np.load(folder / "rows.npz")
    vectors, asked, true = data["vectors"], data["asked"], data["true"]
    peer = PEERS[name]()
    start = time.perf_counter()
    peer.load(vectors, folder, url)
    loaded = time.perf_counter() - start
    found: dict[str, Any] = {}
    for breadth in BREADTHS:
        spent, shares = [], []
        for turn in range(3):
            for vector, best in zip(asked, true, strict=True):
                start = time.perf_counter()
                rows = peer.search(vector, breadth)
                if turn:
                    spent.append((time.perf_counter() - start) * 1000)
                shares.append(len(set(rows) & set(best.tolist())) / K)
        found = {"breadth": breadth, "recall": fmean(shares), "p50_ms": median(spent)}
        if found["recall"] >= RECALL:
            break
    return {"version": version(name), "load_s": loaded, **found}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(sys.argv[1], Path(sys.argv[2]), os.environ["PEER_URL"])) + "\n")
    sys.stdout.flush()
