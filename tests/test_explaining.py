"""A hit's signals stand raw beside weighed; evidence is found wherever it is."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.explaining import Part, explain, loaded_query, parts_of, relevant_sources
from carmenta_lab.postgres import Database
from carmenta_lab.records import Hit
from carmenta_lab.strategies import load

A = UUID(int=1)


def test_a_signal_is_raw_weighed_or_both_in_the_order_of_the_strategy() -> None:
    parts = {"bm25": 12.5, "z:bm25": 0.5, "role": 1.0, "z:late": -0.25}
    assert parts_of(Hit(A, A, "message", 1, 0.25, parts)) == [
        Part("bm25", 12.5, 0.5),
        Part("role", 1.0, None),
        Part("late", None, -0.25),
    ]
    assert parts_of(Hit(A, A, "message", 1, 0.25)) == []


def test_every_relevant_source_is_listed_with_its_rank_or_without(sample: Database) -> None:
    with sample.owner_session() as session:
        query = loaded_query(session, "nora-q15", "sample")
        assert query is not None
        judged = relevant_sources(session, query)
        count = session.scalar(text("SELECT count(*) FROM lab.qrels WHERE query_id = 'nora-q15' AND relevance > 0"))
    assert len(judged) == count
    assert [relevance for _, _, relevance in judged] == sorted((r for _, _, r in judged), reverse=True)
    retrievers = {name: load(name) for name in ("vector_exact", "fulltext")}
    with sample.user_session(query.user_id) as session:
        found = explain(session, query, retrievers, 2, judged)
        assert explain(session, query, retrievers, 2).evidence == ()
    assert [e.source_id for e in found.evidence] == [source for source, _, _ in judged]
    assert all(e.text and e.source.startswith("nora-") for e in found.evidence)
    ranks = [hit.rank for e in found.evidence if (hit := e.hits["vector_exact"]) is not None]
    assert len(set(ranks)) == len(ranks) > 0
    assert all(hit is None or hit.source_id == e.source_id for e in found.evidence for hit in e.hits.values())


def test_an_unknown_question_is_none_and_one_of_several_datasets_is_refused(own_sample: Database) -> None:
    with own_sample.owner_session() as session:
        assert loaded_query(session, "nora-q0") is None
        assert loaded_query(session, "nora-q15", "other") is None
        known = loaded_query(session, "nora-q15")
        assert known == replace(known, category="multi-hop")  # type: ignore[type-var]
        session.execute(text("INSERT INTO lab.datasets (id, name, origin) VALUES (gen_random_uuid(), 'other', 'x')"))
        session.execute(
            text(
                "INSERT INTO lab.queries (dataset_id, query_id, user_id, content, position) SELECT d.id, q.query_id, "
                "q.user_id, q.content, 1 FROM lab.queries q, lab.datasets d WHERE q.query_id = 'nora-q15' "
                "AND d.name = 'other'"
            )
        )
        with pytest.raises(UsageError, match="several datasets have a question 'nora-q15': other, sample"):
            loaded_query(session, "nora-q15")
