"""Searching by vectors: exactly, by an index of each kind, and without leaving a setting behind."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from corpus import (
    DAY,
    DIM,
    EXACT,
    GRAPH,
    NAMES,
    ROUTES,
    TABLE,
    Corpus,
    Graph,
    add,
    add_user,
    corpus,
    database,
    graph,
    unit,
)
from pgvector import HalfVector
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.embedding import load_embedder
from carmenta_lab.errors import DimensionMismatch, UsageError
from carmenta_lab.experiment.searching import fixed
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import HNSW, IndexKind
from carmenta_lab.indexing.kinds import KINDS as INDEXES
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.lab import Logins, open_migrated
from carmenta_lab.postgres.postponed import postponing_connection
from carmenta_lab.records import Query
from carmenta_lab.retrieval import routing, search
from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.retriever import APPROXIMATE, KINDS, OWN, Retriever, exactly
from carmenta_lab.retrieval.search import understand
from carmenta_lab.retrieval.signals import Words
from carmenta_lab.retrieval.vector import VectorSearch

__all__ = ["corpus", "database", "graph"]  # fixtures


# What a search leaves behind


def settings(session: Session) -> dict[str, str]:
    known = "SELECT '[1]'::vector, similarity('a', 'b'), carmenta.lexemes('en', 'a-b')"
    session.execute(text(known))  # settings of extensions and of plpgsql are known once they are used
    return {row[0]: row[1] for row in session.execute(text("SELECT name, setting FROM pg_settings"))}


@pytest.mark.parametrize("name", [*NAMES, *ROUTES])
def test_a_search_leaves_no_setting_behind(graph: Graph, name: str) -> None:
    strategy = ROUTES[name] if name in ROUTES else strategies.load(name)  # type: ignore[index]
    if "tokens" in strategy.needs:  # the many vectors have no codes
        strategy = replace(strategy, signals=(Words(),))
    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        ranking = search(session, strategy, graph.query, 5, graph.questions[0])
        assert settings(session) == before
        assert (ranking.route in APPROXIMATE) == (name in ROUTES)


def test_searches_in_a_row_set_their_settings_once_and_the_next_statement_sees_none(graph: Graph) -> None:
    strategy = ROUTES["halfvec"]
    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        first = search(session, strategy, graph.query, 5, graph.questions[0])
        raw = postponing_connection(session.connection())
        held = raw.in_force
        assert held is not None
        assert search(session, strategy, graph.query, 5, graph.questions[0]) == first
        assert raw.in_force is held
        search(session, replace(strategy, ef_search=50), graph.query, 5, graph.questions[0])
        assert raw.in_force not in (None, held)
        assert settings(session) == before
        assert raw.in_force is None


def test_a_search_that_comes_first_is_a_transaction_of_its_own(graph: Graph) -> None:
    expected = graph.search(ROUTES["halfvec"], 0)
    with graph.database.user_connection(graph.user, searches_first=True) as connection:
        raw = postponing_connection(connection)
        for status in ("IDLE", "INTRANS"):  # a second one begins it, for those that follow
            assert search(connection, ROUTES["halfvec"], graph.query, 10, graph.questions[0]) == expected
            assert raw.info.transaction_status.name == status
    with (
        graph.database.user_connection(graph.other, searches_first=True) as connection,
        pytest.raises(UsageError, match="does not act for"),
    ):
        search(connection, ROUTES["halfvec"], graph.query, 10, graph.questions[0])


def test_a_search_that_fails_leaves_no_setting_behind(graph: Graph) -> None:
    class Broken(VectorSearch):
        def settings(self, route: str) -> Mapping[str, str]:
            return {"enable_sort": "off", "hnsw.ef_search": "0"}

    with graph.database.user_session(graph.user) as session:
        before = settings(session)
        with pytest.raises(DBAPIError, match="outside the valid range"), session.begin_nested():
            search(session, Broken(index="hnsw", exact_up_to=10), graph.query, 5, graph.questions[0])
        assert settings(session) == before


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


def test_a_search_before_anything_was_embedded_is_refused(logins: Logins) -> None:
    empty = open_migrated(logins)
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


@pytest.mark.everywhere
@pytest.mark.parametrize("kind", ROUTES)
def test_a_route_uses_its_index_and_no_other_kind_and_the_exact_one_never_does(graph: Graph, kind: IndexKind) -> None:
    explained = plan(graph, ROUTES[kind], kind)
    assert f"Index Scan using {approximate.name(TABLE, kind)}" in explained
    assert explained.count("ann_") == 1
    assert "ann_" not in plan(graph, ROUTES[kind], "exact")
    assert "ann_" not in plan(graph, EXACT, "exact")


def test_a_route_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="has no route 'graph': it is exact, or one of hnsw, halfvec, binary, ivfflat"):
        EXACT.statement("graph")


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_finds_nine_of_ten_neighbours_and_says_it_was_used(graph: Graph, kind: IndexKind) -> None:
    shares = []
    for question in range(len(graph.questions)):
        exact, near = graph.search(EXACT, question), graph.search(ROUTES[kind], question)
        assert (exact.route, near.route) == ("exact", kind)
        assert len(near.hits) == len(exact.hits) == 10
        shares.append(len({*exact.sources()} & {*near.sources()}) / 10)
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("kind", ROUTES)
def test_scores_and_order_of_an_index_are_those_of_the_stored_vectors(graph: Graph, kind: IndexKind) -> None:
    every = {hit.passage_id: hit.score for hit in graph.search(EXACT, 1, 1000).hits}
    hits = graph.search(ROUTES[kind], 1, 50).hits
    assert all(hit.score == every[hit.passage_id] for hit in hits)
    assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_returns_as_many_as_are_asked_for(graph: Graph, kind: IndexKind) -> None:
    for k in (1, 500, 1000):
        ranking = graph.search(ROUTES[kind], 0, k)
        assert len(ranking.hits) == k
        assert ranking.route == kind or ranking.note.endswith("so the search was made again without it")
        assert [hit.score for hit in ranking.hits] == sorted((hit.score for hit in ranking.hits), reverse=True)


@pytest.mark.parametrize("kind", ROUTES)
def test_an_index_returns_all_that_is_visible_when_more_is_asked_for(graph: Graph, kind: IndexKind) -> None:
    query = replace(graph.query, asked_at=DAY + timedelta(days=2))
    ranking = graph.search(ROUTES[kind], 0, 900, query)
    assert len(ranking.hits) == 300
    assert ranking.route == "exact"
    assert ranking.note.endswith("of 900, so the search was made again without it")
    assert ranking.hits == graph.search(EXACT, 0, 900, query).hits


@pytest.mark.parametrize("kind", ROUTES)
def test_what_an_index_finds_was_there_when_the_question_was_asked(graph: Graph, kind: IndexKind) -> None:
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
def test_an_index_returns_the_rows_of_its_user_alone(graph: Graph, kind: IndexKind) -> None:
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
def test_any_retriever_can_be_searched_exactly(graph: Graph, kind: IndexKind) -> None:
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


# Fusion


def test_a_fusion_finds_more_than_its_depth_when_more_is_asked_for(graph: Graph) -> None:
    for part in (EXACT, GRAPH):
        fusion = ReciprocalRankFusion((("vector", part), ("words", FullTextSearch(match="any"))), depth=40)
        assert len(graph.search(fusion, 0, 300).hits) == 300


def test_a_fusion_with_the_graph_uses_it(graph: Graph) -> None:
    fusion = ReciprocalRankFusion((("vector", GRAPH), ("words", FullTextSearch(match="any"))))
    ranking = graph.search(fusion, 0)
    assert ranking.route == "hnsw+fulltext"
    assert graph.search(fusion, 0) == ranking
