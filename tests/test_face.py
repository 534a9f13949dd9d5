"""The public face: names, values and paths alike; one sentence for what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.orm import Session

import carmenta_lab as cl
from carmenta_lab.context import assemble as assemble_below
from carmenta_lab.errors import UnknownName, UsageError
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.postponed import PostponingConnection
from carmenta_lab.records import Query
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.schema.product.conversations import messages

ASKED = "Where did we park the bikes?"


@pytest.fixture
def nora(sample: Database) -> cl.User:
    return cl.user(sample, "nora")


def test_a_user_is_a_small_frozen_value(sample: Database, nora: cl.User) -> None:
    assert (nora.name, nora.dataset, nora.lab) == ("nora", "sample", sample)
    assert repr(nora) == "<User 'nora' of 'sample'>"
    assert cl.user(sample, nora) is nora
    assert cl.user(sample, nora.id) == cl.user(sample, str(nora.id)) == cl.user(sample, "nora", "sample") == nora
    with pytest.raises(AttributeError):
        nora.name = "other"  # type: ignore[misc]
    with nora.session() as session:
        assert set(session.scalars(messages.select().with_only_columns(messages.c.user_id))) == {nora.id}


def test_a_user_is_found_or_refused_in_a_sentence(sample: Database, nora: cl.User) -> None:
    with pytest.raises(UnknownName, match=r"unknown user 'norah'. Did you mean 'nora'\?"):
        cl.user(sample, "norah")
    with pytest.raises(UnknownName, match=r"unknown loaded dataset 'sample_ed'\..* Known: .*sample"):
        cl.user(sample, "nora", "sample_ed")
    with pytest.raises(UsageError, match=r"the database that open_lab.. gives, not in 'nora'"):
        cl.user("nora", sample)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a user is given by name, by uuid or as a User, not as 7\."):
        cl.user(sample, 7)  # type: ignore[arg-type]
    other = Database("other", sample.owner, sample.app)
    with pytest.raises(
        UsageError, match=r"<User 'nora' of 'sample'> is a user of <Database .*, not of <Database 'other'"
    ):
        cl.search(other, nora, ASKED)


def test_a_search_takes_names_values_paths_and_functions(sample: Database, nora: cl.User, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from carmenta_lab.retrieval.vector import VectorSearch\nSTRATEGY = VectorSearch()\n")
    found = cl.search(sample, nora, ASKED, k=3, strategy="vector_exact")
    assert [hit.rank for hit in found.hits] == [1, 2, 3]
    assert set(found.texts) == {hit.passage_id for hit in found.hits}
    for strategy in (file, str(file), VectorSearch(), cl.strategy("vector_exact")):
        for person in (nora, "nora", nora.id):
            assert cl.search(sample, person, ASKED, k=3, strategy=strategy).hits == found.hits
    with nora.session() as session:
        assert cl.search(session, ASKED, k=3, strategy="vector_exact") == found

    def backwards(session: Session, query: Query, k: int) -> list[tuple[UUID, float]]:
        return [(hit.source_id, hit.rank) for hit in found.hits]

    turned = cl.search(sample, nora, ASKED, k=3, strategy=backwards)
    assert turned.sources() == found.sources()[::-1]


def test_the_best_strategy_and_policy_that_the_data_allow_are_the_defaults(sample: Database, nora: cl.User) -> None:
    assert cl.search(sample, nora, ASKED, k=5) == cl.search(sample, nora, ASKED, k=5, strategy="evidence")
    assert cl.assemble(sample, nora, ASKED, budget_tokens=500, mark=False).policy == "retrieved_first"
    with nora.session() as session:
        assert cl.search(session, ASKED, k=5).hits == cl.search(sample, nora, ASKED, k=5).hits


def test_a_question_of_the_past_sees_nothing_later(sample: Database, nora: cl.User) -> None:
    moment = datetime(2025, 6, 1, tzinfo=UTC)
    found = cl.search(sample, nora, ASKED, strategy="vector_exact", asked_at=moment)
    said = [text.created_at for text in found.texts.values() if text.created_at is not None]
    assert said
    assert max(said) <= moment
    assert cl.assemble(sample, nora, ASKED, budget_tokens=800, asked_at=moment).blocks
    with pytest.raises(UsageError, match=r"asked_at is a datetime with a time zone, not datetime.datetime\(2025"):
        cl.search(sample, nora, ASKED, asked_at=datetime(2025, 6, 1))
    with pytest.raises(UsageError, match=r"asked_at is a datetime with a time zone, not '2025-06-01'"):
        cl.assemble(sample, nora, ASKED, asked_at="2025-06-01")  # type: ignore[call-overload]


def test_a_context_takes_the_same(sample: Database, nora: cl.User, tmp_path: Path) -> None:
    with nora.session() as session:
        query = Query(ASKED, nora.id, ASKED)
        below = assemble_below(session, query, policy="retrieved_first", budget_tokens=800, mark=False)
    file = tmp_path / "retrieved_first.py"
    file.write_text("from carmenta_lab.context.policies import load\nPOLICY = load('retrieved_first')\n")
    for policy in ("retrieved_first", file):
        assert cl.assemble(sample, "nora", ASKED, policy=policy, budget_tokens=800, mark=False) == below
    value = cl.policy("retrieved_first", budget_tokens=800)
    assert cl.assemble(sample, nora, ASKED, policy=value, mark=False).blocks == below.blocks
    with nora.session() as session:
        assert cl.assemble(session, ASKED, policy="retrieved_first", budget_tokens=800, mark=False) == below
    by_words = cl.assemble(
        sample, nora, ASKED, policy="retrieved_first", budget_tokens=800, strategy="fulltext_or", mark=False
    )
    assert by_words.blocks != below.blocks
    with pytest.raises(UsageError, match="the policy recent_only searches for nothing: leave the strategy out"):
        cl.assemble(sample, nora, ASKED, policy="recent_only", strategy="bm25")


def test_a_context_is_asked_in_a_conversation_by_its_name(sample: Database, nora: cl.User) -> None:
    here = cl.assemble(
        sample, nora, ASKED, policy="recent_only", conversation="nora-c01", budget_tokens=800, mark=False
    )
    there = cl.assemble(sample, nora, ASKED, policy="recent_only", budget_tokens=800, mark=False)
    assert {source.rpartition("-")[0] for block in here.blocks for source in block.sources if "-m" in source} == {
        "nora-c01"
    }
    assert here.blocks != there.blocks
    with pytest.raises(UnknownName, match="unknown conversation 'nora-c99'"):
        cl.assemble(sample, nora, ASKED, conversation="nora-c99")


def test_a_strategy_and_a_policy_are_values_with_other_parameters() -> None:
    assert cl.strategy("hybrid_bm25", depth=80) == cl.strategy("hybrid_bm25(depth=80)")
    assert cl.strategy("vector_hnsw(ef_search=7)") == cl.strategy("vector_hnsw", ef_search=7)
    assert cl.policy("mission_order", compression="stored", k=9).k == 9
    with pytest.raises(UnknownName, match=r"unknown parameter of hybrid_bm25 'dept'\. Did you mean 'depth'"):
        cl.strategy("hybrid_bm25", dept=80)
    for wrong in ("80", True, 8.5):
        with pytest.raises(UsageError, match="depth of hybrid_bm25 must be of the type int, not"):
            cl.strategy("hybrid_bm25", depth=wrong)
    with pytest.raises(UsageError, match=r"compression of mission_order must be of the type Literal\[.*not 'none'"):
        cl.policy("mission_order", compression="none")
    with pytest.raises(UnknownName, match="unknown strategy 'bm52'"):
        cl.strategy("bm52")
    with pytest.raises(UnknownName, match="unknown policy 'mission'"):
        cl.policy("mission")
    with pytest.raises(UsageError, match="a strategy is named by a text or a path here, not by None"):
        cl.strategy(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a policy is named by a text or a path here, not by 5"):
        cl.policy(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named", "sentence"),
    [
        (("LAB", "nora", ""), {}, "the query is empty"),
        (("LAB", "nora", 7), {}, "a question is a text, not 7."),
        (("LAB", "nora"), {}, "give a lab, a user and a text, or a session of a user and a text; found Database, str."),
        (("nora", ASKED), {}, "give a lab, a user and a text, or a session of a user and a text; found str, str."),
        (("LAB", "hybrid_rrf", "x"), {}, "unknown user 'hybrid_rrf'"),
        (("LAB", "nora", ASKED), {"k": 0}, "k must be 1 to 1000, not 0."),
        (("LAB", "nora", ASKED), {"k": "5"}, "k is a whole number, not '5'."),
        (
            ("LAB", "nora", ASKED),
            {"strategy": 5},
            "the strategy is no retriever but of the type int: expected",
        ),
        (("LAB", "nora", ASKED), {"language": "english"}, "a language is a code of two small letters (ISO 639-1)"),
        (("LAB", "nora", ASKED), {"language": None}, "such as 'en', not None."),
        (("LAB", "nora", ASKED), {"strategy": VectorSearch}, "the strategy is the class VectorSearch"),
        (("LAB", "nora", ASKED), {"strategy": "vector_exakt"}, "unknown strategy 'vector_exakt'"),
    ],
)
def test_what_is_wrong_with_a_search_is_said_in_a_sentence(
    sample: Database, arguments: tuple[Any, ...], named: dict[str, Any], sentence: str
) -> None:
    given = [sample if one == "LAB" else one for one in arguments]
    with pytest.raises(UsageError) as error:
        cl.search(*given, **named)
    assert sentence in str(error.value)


def test_what_is_wrong_with_a_context_is_said_in_a_sentence(sample: Database, nora: cl.User) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        cl.assemble(sample, nora, " ")
    with pytest.raises(UsageError, match="budget_tokens is a whole number, not '500'"):
        cl.assemble(sample, nora, ASKED, budget_tokens="500")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="a policy is given by name, by path or as a Policy, not as 5"):
        cl.assemble(sample, nora, ASKED, policy=5)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"a counter has name, overhead, additive and count\(texts\); found <built-in"):
        cl.assemble(sample, nora, ASKED, counter=len)  # type: ignore[call-overload]


def test_a_session_that_is_over_or_of_nobody_says_so(sample: Database, nora: cl.User) -> None:
    with nora.session() as session:
        pass
    with pytest.raises(UsageError, match="the session is over"):
        cl.search(session, ASKED)
    with sample.app_session() as session, pytest.raises(UsageError, match="the session acts for nobody"):
        cl.search(session, ASKED)
    with (
        pytest.raises(UsageError, match="a session is opened for the id of a user, a UUID, not for 'nora'"),
        (
            sample.user_session("nora")  # type: ignore[arg-type]
        ),
    ):
        pass


@contextmanager
def _statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Each round trip: a statement alone, or a pipeline."""
    seen: list[str] = []
    alone, execute = PostponingConnection.alone, psycopg.Cursor.execute

    def noted_alone(self: PostponingConnection, *given: Any) -> Any:
        with monkeypatch.context() as inner:
            inner.setattr(psycopg.Cursor, "execute", execute)
            seen.append("alone")
            return alone(self, *given)

    def noted(self: Any, query: Any, *given: Any, **named: Any) -> Any:
        seen.append(str(query))
        return execute(self, query, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(PostponingConnection, "alone", noted_alone)
        patched.setattr(psycopg.Cursor, "execute", noted)
        yield seen


def test_a_search_that_opens_its_own_session_is_one_round_trip(
    sample: Database, nora: cl.User, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = cl.strategy("vector_exact")
    cl.search(sample, nora, ASKED, strategy=strategy)
    with _statements(monkeypatch) as seen:
        cl.search(sample, nora, ASKED, strategy=strategy)
    assert seen[0] == "alone"
    assert not any("<=>" in statement for statement in seen)
    with _statements(monkeypatch) as seen, nora.session() as session:
        cl.search(session, ASKED, strategy=strategy)
    assert "alone" not in seen


def test_a_question_is_explained_by_its_id_or_in_words(sample: Database, nora: cl.User) -> None:
    found = cl.explain(sample, "nora-q15", strategies=["vector_exact", "bm25"], k=2)
    assert found.judged
    assert list(found.tops) == ["vector_exact", "bm25"]
    assert "evidence, and its ranks among the first 200" in str(found)
    assert all(shown.source in found._repr_html_() for tops in found.tops.values() for shown in tops)
    assert found.evidence[0].source in str(found)
    words = cl.explain(sample, ASKED, nora)
    assert (words.judged, list(words.tops)) == (False, ["vector_exact", "evidence"])
    assert words.query.text == ASKED
    with pytest.raises(UsageError, match="no loaded question has the id 'x': for a question in words, name its user"):
        cl.explain(sample, "x")
    with pytest.raises(UsageError, match="no strategy to explain"):
        cl.explain(sample, "nora-q15", strategies=[])
    for question, person in (("nora-q15", None), (ASKED, nora)):
        with pytest.raises(UsageError, match="k must be 1 to 1000, not 0"):
            cl.explain(sample, question, person, k=0)


def test_a_person_and_a_conversation_are_forgotten(own_sample: Database) -> None:
    nora = cl.user(own_sample, "nora")
    gone = cl.forget(own_sample, nora, "nora-c02")
    assert gone.rows["carmenta.conversations"] == 1
    assert "carmenta.messages" in str(gone)
    with pytest.raises(UnknownName, match="unknown conversation 'nora-c02'"):
        cl.forget(own_sample, "nora", "nora-c02")
    assert cl.forget(own_sample, nora.id).rows["carmenta.users"] == 1
    with pytest.raises(UnknownName, match="unknown user 'nora'"):
        cl.forget(own_sample, "nora")
    with pytest.raises(UsageError, match="there is no user"):
        cl.forget(own_sample, uuid4())


def test_the_face_offers_the_public_names_and_no_others() -> None:
    assert dir(cl) == cl.__all__ == sorted(cl.__all__, key=lambda name: (name.islower(), name))
    for name in cl.__all__:
        assert getattr(cl, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'find_user'"):
        cl.find_user  # noqa: B018


@pytest.mark.parametrize("jedi", [False, True])
def test_tab_completes_exactly_the_public_names(jedi: bool) -> None:
    from IPython.core.completer import IPCompleter, provisionalcompleter

    completer = IPCompleter(namespace={"cl": cl}, use_jedi=jedi)
    completer.use_jedi = jedi
    with provisionalcompleter():
        found = {each.text.removeprefix(".") for each in completer.completions("cl.", 3)}
    assert {name for name in found if not name.startswith("_")} == set(cl.__all__)
    with provisionalcompleter():
        parts = {each.text.removeprefix(".") for each in completer.completions("cl.app.", 7)}
    assert {name for name in parts if not name.startswith("_")} == set(cl.app.__all__)
