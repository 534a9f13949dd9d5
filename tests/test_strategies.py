"""A strategy of one's own: a function, a class, a file that is wrong, and what the READMEs show."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

import carmenta_lab
from carmenta_lab import strategies
from carmenta_lab.errors import UsageError
from carmenta_lab.experiment.ablation import ablate
from carmenta_lab.experiment.compare import compare
from carmenta_lab.experiment.explaining import explain
from carmenta_lab.experiment.searching import encode, fixed
from carmenta_lab.names import find_user
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import search, signals
from carmenta_lab.retrieval.bm25 import BM25
from carmenta_lab.retrieval.evidence import Evidence
from carmenta_lab.retrieval.fulltext import FullTextSearch
from carmenta_lab.retrieval.fusion import ReciprocalRankFusion
from carmenta_lab.retrieval.python import function
from carmenta_lab.retrieval.retriever import PythonRetriever, Retriever, Scored, Variant
from carmenta_lab.retrieval.signals import (
    AsksWhen,
    BestOfConversation,
    Context,
    Dates,
    Late,
    LateWindow,
    Nearness,
    Parameter,
    Signal,
    Speaker,
    Speaking,
    Words,
)
from carmenta_lab.retrieval.signals.signal import CANDIDATE, CARRIED, PARAMETERS, Stage
from carmenta_lab.retrieval.trigram import TrigramSearch
from carmenta_lab.retrieval.vector import VectorSearch
from carmenta_lab.retrieval.zscore import ZScoreFusion

PACKAGE = Path(carmenta_lab.__file__).parent
HERE = re.escape(__file__)


@pytest.fixture(scope="module")
def nora(sample: Database) -> UUID:
    return find_user(sample, "nora", "sample")


def newest(session: Session, query: Query, k: int) -> list[Any]:
    """Messages, the newest first, as rows of uuid and number."""
    statement = text(
        "SELECT id, extract(epoch FROM created_at) FROM carmenta.messages WHERE user_id = :user AND created_at <= "
        "coalesce(:at, now()) AND deleted_at IS NULL ORDER BY created_at DESC, id LIMIT :k"
    )
    return [*session.execute(statement, {"user": query.user_id, "at": query.asked_at, "k": k})]


@dataclass(frozen=True)
class Reader(PythonRetriever):
    """Shares of words in common, of texts that the given ids name."""

    longest: int = 100
    weighed: bool = True

    def rank(self, session: Session, query: Query, k: int) -> Iterator[Scored]:
        asked = {*query.text.lower().split()}
        then = "created_at <= coalesce(:at, now()) AND deleted_at IS NULL"
        every = text(f"SELECT external_id, content FROM carmenta.messages WHERE {then} ORDER BY id")
        rows = session.execute(every, {"at": query.asked_at}).all()
        shares = [(len(asked & {*row.content.lower().split()[: self.longest]}), row.external_id) for row in rows]
        for share, given in sorted(shares, reverse=True)[:k]:
            yield given, share / len(asked) if self.weighed else 1

    def variants(self) -> dict[str, Variant]:
        return {"weights": Variant(Reader(self.longest, weighed=False))}


def asked(database: Database, user: UUID, retriever: Retriever, k: int = 5, **more: Any) -> Ranking:
    with database.user_session(user) as session:
        return search(session, retriever, Query("q", user, "which allergy does Saga have", **more), k)


# A function


def test_a_function_is_a_strategy_and_its_hits_are_as_those_of_any(sample: Database, nora: UUID) -> None:
    found = asked(sample, nora, function(newest))

    assert (found.route, found.note, len(found.hits)) == ("python", "", 5)
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4, 5]
    assert {hit.source_kind for hit in found.hits} == {"message"}
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    with sample.user_session(nora) as session:
        passages = text("SELECT id, source_id FROM search.passages WHERE id = ANY(:ids)")
        stood_for = {
            row.id: row.source_id for row in session.execute(passages, {"ids": [h.passage_id for h in found.hits]})
        }
    assert all(stood_for[hit.passage_id] == hit.source_id for hit in found.hits)
    assert repr(function(newest, units=("turn",))) == "function(newest, units=('turn',))"
    assert function(newest) == function(newest)


def test_ids_may_be_those_of_the_dataset_or_uuids_as_text_or_not_and_kinds_are_looked_up(
    sample: Database, nora: UUID
) -> None:
    with sample.user_session(nora) as session:
        kinds = ("messages", "memories", "documents")
        rows = [
            session.execute(text(f"SELECT id, external_id FROM carmenta.{kind} ORDER BY id LIMIT 3")).all()
            for kind in kinds
        ]
    messages, memories, documents = rows
    given = [messages[0].id, str(messages[1].id), messages[2].external_id, memories[0].external_id, documents[0].id]

    found = asked(
        sample, nora, function(lambda session, query, k: zip(given, np.float32([1, 2, 3, 4, 5]), strict=True))
    )

    expected = [documents[0].id, memories[0].id, messages[2].id, messages[1].id, messages[0].id]
    assert found.sources() == expected
    assert [hit.source_kind for hit in found.hits] == ["document", "memory", "message", "message", "message"]


def test_equal_scores_are_ordered_by_id(sample: Database, nora: UUID) -> None:
    equal = function(lambda session, query, k: [(row[0], 0) for row in reversed(newest(session, query, k))])
    sources = asked(sample, nora, equal, 40).sources()
    assert sources == sorted(sources)
    assert len(sources) == 40


def test_a_function_sees_the_rows_of_its_user_alone_and_a_connection_will_do(sample: Database, nora: UUID) -> None:
    def every(session: Session, query: Query, k: int) -> list[Scored]:
        return [(row.id, 1.0) for row in session.execute(text(f"SELECT id FROM carmenta.messages LIMIT {k}"))]

    with sample.user_connection(nora) as connection:
        found = search(connection, function(every), Query("q", nora, "x"), 1000)
    with sample.owner_session() as session:
        mine = {*session.scalars(text("SELECT id FROM carmenta.messages WHERE user_id = :u"), {"u": nora})}
    assert {*found.sources()} <= mine


def test_a_session_that_acts_for_another_is_refused(sample: Database, nora: UUID) -> None:
    some = asked(sample, nora, function(newest)).sources()
    for result in ([], [(some[0], 1.0)]):
        with (
            sample.app_session() as session,
            as_user(session, uuid4()),
            pytest.raises(UsageError, match="does not act for the query's user"),
        ):
            search(session, function(lambda s, q, k, r=result: r), Query("q", nora, "x"))


NONSENSE = [
    (None, "returned None: expected pairs of a source's id and a score"),
    (7, "returned 7: expected pairs"),
    ("ab", "returned 'a' among its results: expected pairs of an id and a score"),
    ({"a": 1.0}, "returned 'a' among its results"),
    ([("a", 1.0, 2.0)], r"returned \('a', 1.0, 2.0\) among its results"),
    ([(3, 1.0)], "returned the id 3: expected a uuid, or a text"),
    ([("a", "high")], "returned the score 'high' for a: expected a finite number"),
    ([("a", float("nan"))], "returned the score nan for a"),
    ([("a", float("-inf"))], "returned the score -inf for a"),
    ([("a", None)], "returned the score None for a"),
    ([("a", True)], "returned the score True for a"),
    ([("nobody-m1", 1.0)], "returned nobody-m1, which is no message, memory or document of the query's user"),
    ([(UUID(int=5), 1.0)], "returned 00000000-0000-0000-0000-000000000005, which is no message"),
    ([(UUID(int=n), 1.0) for n in range(9)], "returned more than the 5 sources that it was asked for"),
]


@pytest.mark.parametrize(("result", "error"), NONSENSE)
def test_nonsense_is_told_in_a_sentence_with_file_and_line(
    sample: Database, nora: UUID, result: Any, error: str
) -> None:
    def odd(session: Session, query: Query, k: int) -> Any:
        return result

    line = odd.__code__.co_firstlineno
    with pytest.raises(UsageError, match=rf"^the strategy .*odd \({HERE}:{line}\) {error}.*\.$"):
        asked(sample, nora, function(odd))


def test_a_source_twice_or_of_an_undeclared_kind_or_of_later_is_refused(sample: Database, nora: UUID) -> None:
    one = asked(sample, nora, function(newest), 1).sources()[0]
    twice = function(lambda s, q, k: [(one, 1.0), (str(one), 2.0)])
    with pytest.raises(UsageError, match=f"returned {one} twice: rank each source once"):
        asked(sample, nora, twice)
    alone = function(lambda s, q, k: [(one, 1.0)], units=("memory",))
    with pytest.raises(UsageError, match=f"returned the message {one}, but declares the units memory alone"):
        asked(sample, nora, alone)
    with pytest.raises(
        UsageError, match=rf"returned {one}, which is later than the question, asked at 1999-.*leave out"
    ):
        asked(sample, nora, function(lambda s, q, k: [(one, 1.0)]), asked_at=datetime(1999, 1, 1, tzinfo=UTC))


def test_an_id_that_names_two_is_refused(own_sample: Database) -> None:
    user = find_user(own_sample, "nora", "sample")
    with own_sample.owner_session() as session:
        given = session.scalar(
            text("SELECT external_id FROM carmenta.messages WHERE user_id = :u LIMIT 1"), {"u": user}
        )
        session.execute(
            text("UPDATE carmenta.memories SET external_id = :g WHERE id = (SELECT id FROM carmenta.memories WHERE "
                 "user_id = :u LIMIT 1)"), {"g": given, "u": user}
        )  # fmt: skip
    with pytest.raises(UsageError, match=f"returned {given}, which names the message .* and the memory .*: return the"):
        asked(own_sample, user, function(lambda s, q, k: [(given, 1.0)]))


def test_what_a_function_raises_is_told_with_file_and_line(sample: Database, nora: UUID) -> None:
    def broken(session: Session, query: Query, k: int) -> Iterable[Scored]:
        yield from newest(session, query, 1)
        raise KeyError("weights")

    def leaves(session: Session, query: Query, k: int) -> Any:
        raise SystemExit(3)

    def wrong(session: Session, query: Query, k: int) -> Any:
        return session.execute(text("SELECT nothing_of_that_name FROM carmenta.messages"))

    for rank, raised, after in (
        (broken, "KeyError: 'weights'", 2),
        (leaves, "SystemExit: 3", 1),
        (wrong, r".*UndefinedColumn.*", 1),
    ):
        line = rank.__code__.co_firstlineno
        with pytest.raises(UsageError, match=rf"\({HERE}:{line}\) failed: {raised}, at {HERE}:{line + after}\.$"):
            asked(sample, nora, function(rank))


def test_what_takes_other_arguments_is_refused() -> None:
    def newest_of(query: Query) -> None: ...

    with pytest.raises(UsageError, match=r"newest_of .*takes \(query\D.*; a strategy function is called with"):
        function(newest_of)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'newest' cannot be called"):
        function("newest")  # type: ignore[arg-type]


def test_a_fusion_of_a_function_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"a fusion is one SQL statement, and its part new ranks in Python: function\("
    ):
        ReciprocalRankFusion((("new", function(newest)), ("words", BM25())))  # type: ignore[arg-type]


# A class, and the rest of the house


FILE = '''"""Is the newest what is wanted?"""

from dataclasses import dataclass

from sqlalchemy import text

from carmenta_lab.strategies import PythonRetriever, function


@dataclass(frozen=True)
class Newest(PythonRetriever):
    descending: bool = True
    units: tuple[str, ...] = ("turn",)

    def rank(self, session, query, k):
        found = session.scalars(
            text("SELECT id FROM carmenta.messages WHERE user_id = :u AND deleted_at IS NULL AND created_at <= "
                 "coalesce(:at, now()) ORDER BY created_at DESC, id LIMIT :k"),
            {"u": query.user_id, "at": query.asked_at, "k": k},
        )
        return [(each, -place if self.descending else place) for place, each in enumerate(found)]


STRATEGY = Newest()
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "newest.py"
    found.write_text(FILE)
    return found


def test_a_class_in_a_file_is_compared_like_any_other_and_has_parameters(sample: Database, file: Path) -> None:
    names = ["vector_exact", str(file), f"{file}(descending=false)"]
    result = compare(sample, "sample", names, ["recall@10"], keep=False)

    assert result.strategies == ("vector_exact", "newest", "newest(descending=false)")
    latency = result.latency.set_index("strategy")
    assert latency.routes["newest"] == "python"
    assert 0 < latency.coverage["newest"] < latency.coverage["vector_exact"] == 1
    share = f"the {100 * latency.coverage['newest']:.0f} % of the evidence"
    asked = result.scores[result.scores.strategy == "newest"].query_id.nunique()
    [note] = [note for note in result.tables()[0].notes if note.startswith("newest is measured")]
    assert share in note
    assert note.endswith(f"over {asked} of {result.queries} questions")
    assert asked < result.queries
    assert not any("vector_exact is measured" in note for note in result.tables()[0].notes)
    assert latency.recall_of_exact.isna().all()
    assert result.runs["newest"].routes["python"].indexes  # of its own statement
    assert "Newest(descending=True" in str(result.circumstances)


def test_a_class_says_what_can_be_switched_off(sample: Database, tmp_path: Path) -> None:
    mine = tmp_path / "reader.py"
    mine.write_text(
        f"import sys\nsys.path.append({str(Path(__file__).parent)!r})\n"
        "from test_strategies import Reader\nSTRATEGY = Reader()\n"
    )
    with pytest.raises(UsageError, match="has no part that can be switched off"):
        ablate(sample, "sample", "vector_exact", at_most=2)
    found = ablate(sample, "sample", str(mine), at_most=5)
    assert found.table.without.tolist() == ["weights"]
    assert found.sizes.table.tolist() == ["passages"]


def test_a_function_is_explained_beside_others(sample: Database, nora: UUID) -> None:
    with sample.user_session(nora) as session:
        query = Query("q", nora, "which allergy does Saga have")
        found = explain(session, query, {"mine": function(newest), "words": BM25()}, 3)
    assert found.notes["mine"] == "python"
    assert [shown.hit.rank for shown in found.tops["mine"]] == [1, 2, 3]
    assert all(shown.text for shown in found.tops["mine"])
    assert fixed(function(newest), "python") == function(newest)


# What a retriever needs


def test_a_fusion_of_texts_that_reads_the_question_asks_no_model(
    sample: Database, nora: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ZScoreFusion((("bm25", BM25()), ("any", FullTextSearch(match="any"))))
    assert words.needs == {"question"}

    def refuse(*_: object) -> None:
        raise AssertionError("a model was asked")

    for module in ("question", "search"):
        monkeypatch.setattr(import_module(f"carmenta_lab.retrieval.{module}"), "load_embedder", refuse)
    assert asked(sample, nora, words).hits
    encoded = encode(sample, {"words": words, "bm25": BM25()}, [Query("q", nora, "What did Saga say?")])
    assert encoded["bm25"] == {}
    assert encoded["words"]["q"]["question"].vector is None


def test_a_fusion_needs_what_its_parts_need_and_shortens_as_the_shortest() -> None:
    parts = (("vector", VectorSearch()), ("spelling", TrigramSearch()))
    fusion = ReciprocalRankFusion(parts)
    assert fusion.needs == {"vector"}
    assert fusion.shortened("w " * 65) == (" ".join(["w"] * 64), True)
    assert ReciprocalRankFusion(parts[1:]).needs == frozenset()
    assert strategies.load("evidence").needs == {"vector", "question", "tokens"}
    assert strategies.load("evidence_lean").needs == {"vector", "question"}
    with pytest.raises(UsageError, match="share one vector of the question"):
        ReciprocalRankFusion((*parts, ("other", VectorSearch(model="x/y"))))
    with pytest.raises(UsageError, match="each of a name of its own"):
        ReciprocalRankFusion((parts[0], parts[0]))


@pytest.mark.parametrize("route", ["exact", "halfvec", "own_hnsw"])
def test_a_fixed_route_changes_nothing_else(route: str) -> None:
    whole = strategies.load("evidence_lean")
    confined = fixed(whole, route)
    assert not isinstance(whole, PythonRetriever)
    assert not isinstance(confined, PythonRetriever)
    assert (confined.units, confined.model, confined.needs) == (whole.units, whole.model, whole.needs)
    assert confined.settings(route) == whole.settings(route)
    assert str(confined.statement(route)) == str(whole.statement(route))
    assert confined.shortened("a") == ("a", False)
    assert confined.tables() == whole.tables()
    assert confined.variants().keys() == whole.variants().keys()
    assert confined.route(Session(), Query("q", UUID(int=1), "?")) == route


# Files that are wrong


HEAD = (
    "from dataclasses import dataclass\nfrom carmenta_lab.strategies import *\n"
    "from carmenta_lab.retrieval.vector import VectorSearch\n"
)
WRONG = [
    ("x = 1\n1 / 0\n", r"cannot be executed: ZeroDivisionError: division by zero, at {file}:2\."),
    ("\n\nimport sys\nsys.exit('bye')", r"cannot be executed: SystemExit: bye, at {file}:4\."),
    ("exit()", r"cannot be executed: SystemExit.*, at {file}:1\."),
    ("raise ValueError('a.\\nb')", r"cannot be executed: ValueError: a, at {file}:1\."),
    ("raise ValueError", r"cannot be executed: ValueError, at {file}:1\."),
    ("x = 1\ndef broken(:", r"cannot be executed: SyntaxError: .*, at {file}:2\."),
    ("import nothing_of_that_name", r"cannot be executed: ModuleNotFoundError: .*, at {file}:1\."),
    ("\0", r"cannot be executed: .*, at {file}:?1?\."),
    ("x = 1\n", r"{file} defines no STRATEGY: assign a retriever to that name, or function\(rank\)\."),
    (HEAD + "STRATEGY = VectorSearch(ef_search=0)", r"UsageError: ef_search must be 1 to 1000, not 0, at {file}:4\."),
    (
        "STRATEGY = 1\nSTRATEGY = 'fulltext'",
        r"\({file}:2\) is no retriever but of the type str: .*function\(",
    ),
    (
        HEAD + "STRATEGY: type = VectorSearch",
        r"\({file}:4\) is the class VectorSearch: expected a value of it, Vect.*\.",
    ),
    (HEAD + "STRATEGY = VectorSearch(units=('paragraph',))", r"\({file}:4\) has the units \('paragraph',\): expected"),
    (HEAD + "STRATEGY = VectorSearch(units=['turn'])", r"\({file}:4\) has the units \['turn'\]: expected a tuple"),
    (HEAD + "STRATEGY = VectorSearch(model=None)", r"\({file}:4\) needs vector and names no model"),
    (HEAD + "STRATEGY = VectorSearch(model=3)", r"\({file}:4\) has the model 3: expected the name"),
    (
        HEAD + "class A(VectorSearch):\n needs = {{'vector'}}\nSTRATEGY = A()",
        r"\({file}:6\) has the needs {{'vector'}}",
    ),
    (
        HEAD + "class A(VectorSearch):\n needs = frozenset({{'x'}})\nSTRATEGY = A()",
        r"expected a frozenset of some of vec",
    ),
    (
        HEAD
        + "class A(PythonRetriever):\n needs = frozenset({{'vector'}})\n def rank(self, s, q, k): ...\nSTRATEGY = A()",
        r"\({file}:7\) needs vector: what ranks in Python is given the query alone",
    ),
    (
        HEAD + "class A(PythonRetriever):\n pass\nSTRATEGY = A()",
        r"executed: TypeError: .*abstract.*rank.*, at {file}:6\.",
    ),
    (
        HEAD + "class A(PythonRetriever):\n @property\n def units(self): 1 / 0\n rank = None\nSTRATEGY = A()",
        r"cannot be read: ZeroDivisionError: division by zero, at {file}:6\.",
    ),
    (
        "def rank(query): ...\nSTRATEGY = rank",
        r"the strategy rank \({file}:1\) takes \(query\); a strategy function is",
    ),
]


@pytest.mark.parametrize(("body", "error"), WRONG)
def test_a_wrong_file_is_told_in_a_sentence_with_file_and_line(tmp_path: Path, body: str, error: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(body.replace("{{", "{").replace("}}", "}"))
    with pytest.raises(
        UsageError, match=error.replace("{file}", re.escape(str(path))).replace("{{", r"\{").replace("}}", r"\}")
    ) as told:
        strategies.load(str(path))
    assert "\n" not in str(told.value)


def test_a_bare_function_is_a_strategy_too_and_a_line_of_a_function_is_that_of_its_file(
    sample: Database, nora: UUID, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def rank(session, query, k):\n    return [(query.nothing, 1.0)]\n\n\nSTRATEGY = rank\n")
    place = re.escape(str(path))
    with pytest.raises(
        UsageError, match=rf"the strategy rank \({place}:1\) failed: AttributeError: .*, at {place}:2\.$"
    ):
        asked(sample, nora, strategies.load(str(path)))


def test_a_parameter_that_breaks_a_strategy_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    body = "@dataclass(frozen=True)\nclass A(VectorSearch):\n of: int = 1\n def __post_init__(self):\n  1 // self.of\n"
    path.write_text(f"{HEAD}{body}STRATEGY = A()")
    assert strategies.load(f"{path}(of=2)").of == 2  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=rf"cannot be read: ZeroDivisionError: .*, at {re.escape(str(path))}:8\."):
        strategies.load(f"{path}(of=0)")


# Signals


SIGNALS = [
    Words(1.0),
    Nearness(1.0),
    Speaker(1.0),
    Speaking(1.0),
    Dates(1.0),
    AsksWhen(1.0),
    Context(1.0),
    Late(1.0),
    LateWindow(1.0),
]


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
@pytest.mark.parametrize("limit", [None, 5])
def test_a_signal_alone_declares_what_it_uses_and_gives_a_finite_number(
    sample: Database, nora: UUID, signal: Signal, limit: int | None
) -> None:
    strategy = Evidence(signals=(signal,))
    assert strategy.statement("exact", limit).selected_columns[signal.name] is not None
    for one in (strategy, replace(strategy, signals=(signal, BestOfConversation(0.5, of=signal.name)))):
        found = asked(sample, nora, one, 10)
        assert len(found.hits) == 10
        assert all(np.isfinite(hit.parts[signal.name]) for hit in found.hits)


def test_every_signal_of_the_folder_is_tested_alone() -> None:
    every = {value for value in vars(signals).values() if isinstance(value, type) and issubclass(value, Signal)}
    assert every == {type(signal) for signal in SIGNALS} | {BestOfConversation, Signal}


@dataclass(frozen=True)
class Probe(Signal):
    """Reads one column and nothing of the question."""

    name: ClassVar[str] = "probe"
    column: str = ""

    def sql(self) -> str:
        return f"num_nulls({self.column})"


@dataclass(frozen=True)
class ProbeAll(Probe):
    name: ClassVar[str] = "probe_all"
    stage: ClassVar[Stage] = "all"


@dataclass(frozen=True)
class Careless(Signal):
    name: ClassVar[str] = "careless"
    parameters: ClassVar[tuple[Parameter, ...]] = ("speaker", "years")

    def sql(self) -> str:
        return "CASE WHEN :speaker = ANY (CAST(:months AS text[])) THEN 1 END"


def test_a_signal_may_use_every_column_that_its_contract_names(sample: Database, nora: UUID) -> None:
    readme = (PACKAGE / "retrieval/signals/README.md").read_text()
    table = readme.split("Columns of `candidate`:")[1].split("Parameters.")[0]
    columns = re.findall(r"^\| `(\w+)`( \*)? \|", table, re.MULTILINE)
    assert {name for name, _ in columns} == {*CANDIDATE}
    assert {name for name, star in columns if star} == {*CARRIED}
    found = Probe(1.0, ", ".join([f"candidate.{name}" for name in CANDIDATE] + ["beside.before", "beside.after"]))
    every = ProbeAll(1.0, ", ".join([f"candidate.{name}" for name in (*CARRIED, "probe")]))
    assert asked(sample, nora, Evidence(signals=(found, every))).hits[0].parts["probe"] >= 0
    parameters = re.findall(r"^\| `(\w+)` \|", readme.split("Parameters.")[1], re.MULTILINE)
    assert parameters == list(PARAMETERS)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((), "needs a signal or more"),
        ((Careless(),), "careless declares the parameters speaker, years and uses the parameters months, speaker"),
        ((Words(), Words(2.0)), "needs a name of its own that is an identifier and not taken: 'words'"),
        ((Words(), BestOfConversation(of="late")), "conversation reads 'late', which is none of an earlier stage"),
        ((type("Odd", (Words,), {"name": "place"})(),), "not taken: 'place'"),
        (
            (type("Odd", (Words,), {"parameters": ("mood",)})(),),
            "declares the parameters mood: there are the parameters",
        ),
    ],
)
def test_signals_that_no_statement_can_hold_are_refused(wrong: tuple[Signal, ...], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        Evidence(signals=wrong)


# What the READMEs of the folders say


def examples() -> list[Any]:
    found = []
    for folder in ("strategies", "retrieval", "retrieval/signals"):
        for number, code in enumerate(
            re.findall(r"```python\n(.*?)```", (PACKAGE / folder / "README.md").read_text(), re.S)
        ):
            found.append(pytest.param(code, id=f"{folder}-{number}"))
    return found


@pytest.mark.parametrize("code", examples())
def test_an_example_of_a_readme_is_a_strategy_that_finds_something(
    sample: Database, nora: UUID, tmp_path: Path, code: str
) -> None:
    path = tmp_path / "example.py"
    path.write_text(code)
    strategy = strategies.load(str(path))
    found = asked(sample, nora, strategy)
    assert len(found.hits) == 5
    assert asked(sample, nora, strategy) == found
    assert asked(sample, nora, strategy, 3).hits[0] == found.hits[0]
    at = datetime(2025, 3, 1, tzinfo=UTC)
    early = asked(sample, nora, strategy, asked_at=at)
    with sample.user_session(nora) as session:
        times = session.scalars(
            text("SELECT created_at FROM search.passages WHERE id = ANY(:ids)"),
            {"ids": [h.passage_id for h in early.hits]},
        )
        assert all(time is None or time <= at for time in times)


def test_the_readmes_name_every_strategy_with_its_question_and_every_file() -> None:
    listed = (PACKAGE / "strategies/README.md").read_text()
    for name in strategies.names():
        assert f"| `{name}` | {import_module(f'carmenta_lab.strategies.{name}').__doc__} |" in listed
    for folder in ("retrieval", "retrieval/signals"):
        readme = (PACKAGE / folder / "README.md").read_text()
        files = {path.name for path in (PACKAGE / folder).glob("*.py")} - {"__init__.py"}
        assert files == {*re.findall(r"^\| `(\w+\.py)` \|", readme, re.MULTILINE)}
