"""One user's questions through a retriever: how long each takes, what it finds, how many are answered a second."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from carmenta_lab.bench.searching import Asker
from carmenta_lab.records import Query
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search

BUDGET_SECONDS = 6.0
"""Of one method and one user; at least five questions are asked."""


def timed(one: Asker, retriever: Retriever) -> tuple[list[float], list[set[Any]]]:
    """Milliseconds and sources of each question, after three to warm up, in one session."""
    spent, found = [], []
    with one.database.user_session(one.query.user_id) as session:
        pairs = list(zip(one.vectors, one.texts, strict=True))
        begun = time.perf_counter()
        for place, (vector, text) in enumerate([*pairs[:3], *pairs]):
            query = Query("scale", one.query.user_id, text)
            start = time.perf_counter()
            sources = set(search(session, retriever, query, 10, vector).sources())
            if place >= 3:
                spent.append((time.perf_counter() - start) * 1000)
                found.append(sources)
            if len(spent) >= 5 and time.perf_counter() - begun > BUDGET_SECONDS:
                break
    return spent, found


def per_second(one: Asker, retriever: Retriever, clients: int, seconds: float) -> float:
    """Questions answered a second, all clients together, each in one session."""

    def work(_: int) -> int:
        done = 0
        with one.database.user_session(one.query.user_id) as session:
            query = Query("scale", one.query.user_id, one.texts[0])
            search(session, retriever, query, 10, one.vectors[0])
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                place = done % len(one.texts)
                asked = Query("scale", one.query.user_id, one.texts[place])
                search(session, retriever, asked, 10, one.vectors[place])
                done += 1
        return done

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(work, range(clients))) / seconds
