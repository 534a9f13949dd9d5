"""Other tools on the same rows at the same recall, each in an environment of its own that this bench makes."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from uuid import uuid5

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from carmenta_lab.bench.measure import Bench, Result
from carmenta_lab.bench.peers.peer_process import Missing, installed, running
from carmenta_lab.bench.peers.peer_run import BREADTHS, EF_CONSTRUCTION, RECALL, K, M
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import HNSW
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_logins, open_migrated
from carmenta_lab.postgres.roles import connect
from carmenta_lab.records import Query
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.scale.filling import filled, questions, user_id, vectors_of
from carmenta_lab.scale.generate import texts, write_folder, write_vectors
from carmenta_lab.scale.scratch import scratch
from carmenta_lab.settings import read_settings

PACKAGES: dict[str, tuple[str, ...]] = {
    "vecs": ("vecs", "numpy"),
    "langchain-postgres": ("langchain-postgres", "numpy"),
    "llama-index-vector-stores-postgres": ("llama-index-vector-stores-postgres", "psycopg2-binary", "numpy"),
    "qdrant-edge-py": ("qdrant-edge-py", "numpy"),
    "hnswlib": ("hnswlib", "numpy"),
}
"""Peer -> what is installed for it."""
IN_POSTGRES = ("vecs", "langchain-postgres", "llama-index-vector-stores-postgres")
"""Those whose loading is compared: the others keep no rows that a statement can read."""

ASKED = 100
GRAPH = HNSW(m=M, ef_construction=EF_CONSTRUCTION, kind="halfvec")


@dataclass(frozen=True)
class Peer(Result):
    """A peer's median against ours, a round of each in turns; nan where the peer could not be run."""

    recall: float = float("nan")
    ours_recall: float = float("nan")
    breadth: float = float("nan")  # candidates kept while searching, the fewest that reach the recall
    ours_breadth: float = float("nan")
    version: str = ""
    missing: str = ""  # why it could not be run

    def to_json(self) -> dict[str, object]:
        """The result as plain values, for JSON; null where nothing was measured."""
        found = super().to_json() | {
            "recall": self.recall,
            "ours_recall": self.ours_recall,
            "breadth": self.breadth,
            "ours_breadth": self.ours_breadth,
            "version": self.version,
            "missing": self.missing,
        }
        return {key: None if value != value else value for key, value in found.items()}  # nan is no JSON


def peers(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Other tools on the same `rows` vectors at the same recall of 95 %: searching through a graph, and loading.

    Graphs have the same shape, and each side keeps the fewest candidates that reach the recall. Loading is that of
    texts with given vectors, without a graph and, here, without the statistics of words. Peers in PostgreSQL use a
    database of their own on the same server, over its socket.
    """
    vectors = np.concatenate(list(vectors_of(0, rows, seed)))
    asked, _ = questions(0, ASKED, seed)
    true = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :K]
    home = read_settings().home_folder
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as place:
        write_folder(folder := Path(place) / "peers", rows, seed=seed)
        write_vectors(folder, rows, seed, DEFAULT_MODEL)
        np.savez(Path(place) / "rows.npz", vectors=vectors, asked=asked, true=true)
        (Path(place) / "texts.json").write_text(json.dumps(list(texts(rows, seed))), encoding="utf-8")
        with filled(database, [(0, rows)], seed) as table:
            ours, breadth, recall = _chosen(database, table, asked, true, rows)
            for name, wanted in PACKAGES.items():
                try:
                    python = installed(home / "peers" / name, wanted)
                    load_ms = _load(f"{database.name}_load", folder) if name in IN_POSTGRES else float("nan")
                    with running(python, name, Path(place), _empty_database(home)) as peer:
                        done = peer.loaded()
                        spent = [(_warm(peer.round), _warm(ours)) for _ in range(repeats)]
                except Missing as reason:
                    what = f"could not be run: {reason}"
                    found.append(Peer(name, float("nan"), median(ours()), rows, repeats, what, missing=str(reason)))
                    continue
                theirs, own = (median(chain.from_iterable(times)) for times in zip(*spent, strict=True))
                reached = f"recall {done.recall:.3f} at {done.breadth} (ours {recall:.3f} at {breadth})"
                what = f"{done.version}, {reached}, graph in {done.build_s:.1f} s"
                found.append(
                    Peer(
                        name,
                        theirs,
                        own,
                        rows,
                        repeats,
                        what,
                        recall=done.recall,
                        ours_recall=recall,
                        breadth=done.breadth,
                        ours_breadth=breadth,
                        version=done.version,
                    )
                )
                if name in IN_POSTGRES:
                    what = "its loading of rows with given vectors, no graph"
                    found.append(Result(f"{name}_load", done.load_s * 1000, load_ms, rows, 1, what))
    return found


def _warm(asked: Callable[[], list[float]]) -> list[float]:
    """The second of two rounds: in the first, one side's pages take the place of the other's in the buffers."""
    asked()
    return asked()


def _load(name: str, folder: Path) -> float:
    """Milliseconds that loading the folder into an empty database takes."""
    with scratch(name) as database:
        start = perf_counter()
        load(database, folder, models=(), words=False)
        return (perf_counter() - start) * 1000


def _chosen(
    database: Database, table: str, asked: NDArray[np.float32], true: NDArray[np.int64], rows: int
) -> tuple[Callable[[], list[float]], int, float]:
    """A round of our searches, at the smallest breadth that finds 95 %; that breadth, and the recall there."""
    user = user_id(0)
    places = {uuid5(user, str(row)): row for row in range(rows)}
    query = Query("peers", user, "peers")

    def ask(breadth: int) -> tuple[list[float], list[set[int]]]:
        retriever = VectorSearch(index="halfvec", exact_up_to=0, ef_search=breadth)
        spent, found = [], []
        with database.user_session(user) as session:
            for vector in asked:
                start = perf_counter()
                ranking = search(session, retriever, query, K, vector)
                spent.append((perf_counter() - start) * 1000)
                found.append({places[source] for source in ranking.sources()})
        return spent, found

    approximate.build(database.owner, table, GRAPH, memory_mb=1_024)
    breadth, recall = 0, 0.0
    for breadth in BREADTHS:
        finds = [len(found & {*best}) / K for found, best in zip(ask(breadth)[1], true.tolist(), strict=True)]
        if (recall := fmean(finds)) >= RECALL:
            break
    return lambda: ask(breadth)[0], breadth, recall


def _empty_database(home: Path) -> str:
    """The URL of an empty database with pgvector, by the server's socket."""
    logins = embedded_logins(home, "carmenta_peers")
    with connect(replace(logins.admin, url=logins.admin.url.set(database="postgres"))) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS carmenta_peers WITH (FORCE)"))
    open_migrated(logins := embedded_logins(home, "carmenta_peers")).dispose()
    return logins.admin.url.set(drivername="postgresql").render_as_string(hide_password=False)


BENCHES = (Bench("peers", peers, rows=2_000, repeats=3, long=True),)
