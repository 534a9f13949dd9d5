"""Other tools on the same rows at the same recall, each in an environment of its own that this bench makes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any
from uuid import uuid5

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from carmenta_lab import indexes
from carmenta_lab.bench.filling import questions, user_id, vectors_of
from carmenta_lab.bench.measure import Result
from carmenta_lab.bench.peer_run import BREADTHS, RECALL, K
from carmenta_lab.bench.searching import filled
from carmenta_lab.indexes import KINDS
from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.postgres.lab import embedded_way, prepare
from carmenta_lab.postgres.roles import connect
from carmenta_lab.records import Query
from carmenta_lab.retrieval.search import search
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.settings import read_settings

PACKAGES: dict[str, tuple[str, ...]] = {
    "vecs": ("vecs", "numpy"),
    "langchain-postgres": ("langchain-postgres", "numpy"),
    "llama-index-vector-stores-postgres": ("llama-index-vector-stores-postgres", "psycopg2-binary", "numpy"),
    "qdrant-edge-py": ("qdrant-edge-py", "numpy"),
    "hnswlib": ("hnswlib", "numpy"),
}
"""Peer -> what is installed for it."""

ASKED = 50
INSTALL_SECONDS, RUN_SECONDS = 1_200, 3_600


@dataclass(frozen=True)
class Peer(Result):
    """A peer's median against ours, measured just before it; nan where the peer could not be run."""

    recall: float = float("nan")
    ours_recall: float = float("nan")
    load_s: float = float("nan")
    version: str = ""
    missing: str = ""  # why it could not be run

    def to_json(self) -> dict[str, object]:
        """As plain values; null where nothing was measured."""
        found = super().to_json() | {name: getattr(self, name) for name in ("recall", "ours_recall", "load_s")}
        plain = {key: None if value != value else value for key, value in found.items()}  # nan is no JSON
        return plain | {"version": self.version, "missing": self.missing}


def peers(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Top 10 of `rows` vectors through graphs of the same shape; the smallest breadth that finds 95 %.

    Peers in PostgreSQL use a database of their own on the same server, over its socket.
    """
    vectors = np.concatenate(list(vectors_of(0, rows, seed)))
    asked, _ = questions(0, ASKED, seed)
    true = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :K]
    home = read_settings().home_folder
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as place, filled(database, [(0, rows)], seed) as table:
        np.savez(Path(place) / "rows.npz", vectors=vectors, asked=asked, true=true)
        indexes.build(database.owner, table, KINDS["halfvec"], memory_mb=1_024)
        for name, wanted in PACKAGES.items():
            ours = _ours(database, asked, true, rows, repeats)
            try:
                python = _installed(home / "peers" / name, wanted)
                done = _run(python, name, Path(place), _empty_database(home))
            except _Missing as reason:
                found.append(_peer(name, rows, repeats, ours, None, str(reason)))
            else:
                found.append(_peer(name, rows, repeats, ours, done, ""))
    return found


class _Missing(Exception):
    """A peer that cannot be installed or run, and why."""


def _peer(
    name: str, rows: int, repeats: int, ours: tuple[float, float], done: dict[str, Any] | None, missing: str
) -> Peer:
    p50, recall = ours
    if done is None:
        return Peer(name, float("nan"), p50, rows, repeats, f"could not be run: {missing}", missing=missing)
    what = f"{done['version']}, recall {done['recall']:.3f} (ours {recall:.3f}), loaded in {done['load_s']:.1f} s"
    return Peer(name, done["p50_ms"], p50, rows, repeats, what, done["recall"], recall, done["load_s"], done["version"])


def _ours(
    database: Database, asked: NDArray[np.float32], true: NDArray[np.int64], rows: int, repeats: int
) -> tuple[float, float]:
    """Our median latency at the smallest breadth that finds 95 %, and the recall there."""
    user = user_id(0)
    places = {uuid5(user, str(row)): row for row in range(rows)}
    query = Query("peers", user, "peers")
    p50, recall = float("nan"), 0.0
    with database.app_session() as session, as_user(session, user):
        for breadth in BREADTHS:
            retriever = VectorSearch(index="halfvec", exact_up_to=0, ef_search=breadth)
            spent, shares = [], []
            for turn in range(repeats + 1):
                for vector, best in zip(asked, true, strict=True):
                    start = perf_counter()
                    ranking = search(session, retriever, query, K, vector)
                    if turn:
                        spent.append((perf_counter() - start) * 1000)
                    shares.append(len({places[s] for s in ranking.sources()} & set(best.tolist())) / K)
            p50, recall = median(spent), fmean(shares)
            if recall >= RECALL:
                break
    return p50, recall


def _installed(folder: Path, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has the packages, made where it is absent."""
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _Missing(f"pip took more than {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise _Missing(_last_line(error.stderr or error.stdout)) from None
    done.touch()
    return python


def _run(python: Path, name: str, folder: Path, url: str) -> dict[str, Any]:
    script = Path(__file__).with_name("peer_run.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CARMENTA_", "PYTHON"))}
    try:
        done = subprocess.run(
            [str(python), str(script), name, str(folder)],
            env=environment | {"PEER_URL": url},
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise _Missing(f"it took more than {RUN_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise _Missing(_last_line(error.stderr)) from None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["no reason given"])[-1][:200]


def _empty_database(home: Path) -> str:
    """The URL of an empty database with pgvector, by the server's socket."""
    way = embedded_way(home, "carmenta_peers")
    with connect(replace(way.admin, url=way.admin.url.set(database="postgres"))) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS carmenta_peers WITH (FORCE)"))
    prepare(way := embedded_way(home, "carmenta_peers")).dispose()
    return way.admin.url.set(drivername="postgresql").render_as_string(hide_password=False)
