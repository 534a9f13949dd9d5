"""What is typed in a notebook or a script: one call each, that takes names, values and paths and calls what is below.

>>> nora = cl.user(lab, "nora")
>>> ranking = cl.search(lab, nora, "Where did we park the bikes?", k=5)
>>> context = cl.assemble(lab, nora, "What did we decide about the roof?", budget_tokens=2_000)
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.orm import Session

from carmenta_lab import strategies
from carmenta_lab.context import Context, Counter, Policy, policies
from carmenta_lab.context.assemble import assemble as assembled
from carmenta_lab.datasets.kinds import LANGUAGE
from carmenta_lab.embedding import DEFAULT_MODEL
from carmenta_lab.erasure import ErasureReport, forget_conversation, forget_user
from carmenta_lab.errors import UsageError
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS, IndexKind
from carmenta_lab.indexing.lacking import Indexed, repair
from carmenta_lab.indexing.vectors import table_name
from carmenta_lab.names import User, conversation_id, user
from carmenta_lab.postgres.connect import Database, acting_for
from carmenta_lab.records import Query, Ranking
from carmenta_lab.retrieval import with_texts
from carmenta_lab.retrieval.best import best_strategy
from carmenta_lab.retrieval.grid import adjusted
from carmenta_lab.retrieval.retriever import Retriever
from carmenta_lab.retrieval.search import search as searched

if TYPE_CHECKING:
    from carmenta_lab.experiment.explaining import Explanation
    from carmenta_lab.experiment.named import Strategy

Person = str | UUID | User
"""A user, by the name that the dataset gives, by uuid, or as `user` found them."""


@overload
def search(
    where: Session,
    text: str,
    /,
    *,
    k: int = 10,
    strategy: strategies.Given | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
) -> Ranking: ...
@overload
def search(
    where: Database,
    person: Person,
    text: str,
    /,
    *,
    k: int = 10,
    strategy: strategies.Given | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
) -> Ranking: ...
def search(
    where: Session | Database,
    *question: Any,
    k: int = 10,
    strategy: strategies.Given | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
) -> Ranking:
    """What a user's rows say about a question: the best sources, each once, as rank, score, who, when and text.

    `search(lab, user, text)` opens a transaction of its own; `search(session, text)` searches in one of the user's
    sessions, and finds what was written in it. Fewer than `k` hits come where no more is found; `note` says what
    the reader must know, such as that a question has no searchable word.

    Parameters:
        k: hits, 1 to 1000.
        strategy: a name, a path, a retriever or a function; the best measured one that the user's data allow.
        asked_at: a moment with a time zone; passages later than it are not seen. None: all are.
        language: of the question, ISO 639-1, such as "de".

    Raises:
        UsageError: for an empty text, k out of range, an unknown user or strategy, a moment without a zone, what is no
            language, a session that acts for nobody or is closed, and when nothing is embedded with the strategy's
            model.

    >>> ranking = cl.search(lab, "nora", "Where did we park the bikes?", k=3, strategy="vector_exact")
    >>> [hit.rank for hit in ranking.hits]
    [1, 2, 3]
    >>> [ranking.texts[hit.passage_id].source for hit in ranking.hits]
    ['nora-d24', 'nora-c06-m06', 'nora-c01-m28']
    """
    _whole("k", k)
    retriever = None if strategy is None else strategies.load(strategy)
    with _session(where, question, searches_first=retriever is not None) as (session, user_id, text):
        if retriever is None:
            retriever = strategies.load(best_strategy(session, user_id))
        return with_texts(session, searched(session, retriever, _query(user_id, text, asked_at, language), k))


@overload
def assemble(
    where: Session,
    text: str,
    /,
    *,
    budget_tokens: int | None = None,
    policy: policies.Given | None = None,
    strategy: strategies.Given | None = None,
    conversation: str | UUID | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
    counter: Counter | None = None,
    mark: bool = True,
) -> Context: ...
@overload
def assemble(
    where: Database,
    person: Person,
    text: str,
    /,
    *,
    budget_tokens: int | None = None,
    policy: policies.Given | None = None,
    strategy: strategies.Given | None = None,
    conversation: str | UUID | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
    counter: Counter | None = None,
    mark: bool = True,
) -> Context: ...
def assemble(
    where: Session | Database,
    *question: Any,
    budget_tokens: int | None = None,
    policy: policies.Given | None = None,
    strategy: strategies.Given | None = None,
    conversation: str | UUID | None = None,
    asked_at: datetime | None = None,
    language: str = "en",
    counter: Counter | None = None,
    mark: bool = True,
) -> Context:
    """What a language model would see for a question: profile, conversation, what was found, the question.

    `assemble(lab, user, text)` opens a transaction of its own; `assemble(session, text)` reads in one of the user's.
    The context never holds more tokens than its budget, and lists what was left out, with the reason.

    Parameters:
        budget_tokens: at least what the question takes; the policy's own when not given.
        policy: a name, a path or a `Policy`; the best measured one that the user's data allow.
        strategy: what is searched with, instead of the policy's.
        conversation: in which it is asked, as the dataset gives it or a uuid; the user's latest.
        asked_at: a moment with a time zone; nothing later is seen, but profiles, which have no history. None: all is.
        language: of the question, ISO 639-1.
        counter: counts tokens (`carmenta_lab.context.Counter`); that of the bundled model when not given.
        mark: whether memories that it holds are marked as used, from which their tier follows.

    Raises:
        UsageError: for an empty text, a budget too small for it, an unknown user, conversation, policy or strategy, a
            strategy for a policy that searches for nothing, what is no language or counter, and a session that acts for
            nobody or is closed.

    >>> context = cl.assemble(lab, "nora", "What did we decide about the roof?", budget_tokens=500)
    >>> context.tokens <= 500, context.as_messages()[-1]["role"]
    (True, 'user')
    """
    if budget_tokens is not None:
        _whole("budget_tokens", budget_tokens)
    if counter is not None and not all(
        hasattr(counter, member) for member in ("name", "overhead", "additive", "count")
    ):
        raise UsageError(f"a counter has name, overhead, additive and count(texts); found {counter!r}.")
    with _session(where, question) as (session, user_id, text):
        return assembled(
            session,
            _query(user_id, text, asked_at, language),
            conversation_id=None if conversation is None else conversation_id(session, user_id, conversation),
            policy=policy,
            strategy=strategy,
            budget_tokens=budget_tokens,
            counter=counter,
            mark=mark,
        )


def strategy(name: str | Path, /, **parameters: Any) -> Retriever:
    """A retrieval strategy as a value, to be given wherever a strategy is asked for.

    `name` is one of `carmenta-lab strategies`, with parameters in brackets or not, or the path of a file of your own;
    `parameters` stand in for its own. A value is frozen, and printed it is its configuration. UnknownName, which lists
    the known ones, for a name or a parameter that there is not; UsageError for a value of the wrong kind.

    >>> cl.strategy("hybrid_bm25", depth=80) == cl.strategy("hybrid_bm25(depth=80)")
    True
    """
    _named("strategy", name)
    return adjusted(os.fspath(name), strategies.load(name), parameters)  # type: ignore[no-any-return]


def policy(name: str | Path, /, **parameters: Any) -> Policy:
    """A context policy as a value, to be given wherever a policy is asked for; printed, it is its configuration.

    `name` is one of `carmenta-lab policies`, or the path of a file of your own; `parameters` are those of `Policy`.
    UnknownName, which lists the known ones, for a name or a parameter that there is not; UsageError for a value of the
    wrong kind.

    >>> cl.policy("retrieved_first", budget_tokens=2_000, k=30).k
    30
    """
    _named("policy", name)
    return adjusted(os.fspath(name), policies.load(name), parameters)  # type: ignore[no-any-return]


def explain(
    lab: Database,
    question: str,
    person: Person | None = None,
    *,
    strategies: "Strategy | Sequence[Strategy] | None" = None,
    k: int = 5,
    dataset: str | None = None,
) -> "Explanation":
    """What several strategies find for one question, which signals put it there, and at which ranks the evidence is.

    Parameters:
        question: the id of a loaded question, whose evidence is shown; else its text, and then `person` asks it.
        person: the user, by name, uuid or value; a loaded question has its own.
        strategies: names, paths or values, best two; vector_exact and the best measured one that the data allow.
        k: hits of each strategy, 1 to 1000.
        dataset: of the question or the user, where several fit.

    Raises:
        UsageError: when there is no such question and no user is named, and as `search` does.

    >>> found = cl.explain(lab, "nora-q15", strategies=["vector_exact", "hybrid_rrf"], k=3)
    >>> found.judged, list(found.tops)
    (True, ['vector_exact', 'hybrid_rrf'])
    """
    from carmenta_lab.experiment import explaining  # brings pandas, which a search goes without
    from carmenta_lab.experiment.named import strategies_of

    _whole("k", k)
    _worded(question)
    retrievers = strategies_of(strategies) if strategies is not None else {}
    if strategies is not None and not retrievers:
        raise UsageError("no strategy to explain: name one or two.")
    with lab.owner_session() as session:
        asked = explaining.loaded_query(session, question, dataset)
        judged = explaining.relevant_sources(session, asked) if asked is not None else None
    if asked is None and person is None:
        raise UsageError(f"no loaded question has the id {question!r}: for a question in words, name its user.")
    mine = user(lab, person, dataset).id if person is not None else None
    if asked is None or mine not in (None, asked.user_id):
        assert mine is not None
        asked, judged = Query("q", mine, question), None
    with lab.user_session(asked.user_id, searches_first=bool(retrievers)) as session:
        if not retrievers:
            retrievers = strategies_of(["vector_exact", best_strategy(session, asked.user_id)])
        return explaining.explain(session, asked, retrievers, k, judged)


def forget(
    lab: Database,
    person: Person,
    conversation: str | UUID | None = None,
    *,
    rejects_folder: Path | None = None,
) -> ErasureReport:
    """Erase a person with everything that is theirs, or one conversation with what came of it, in one transaction.

    Nothing brings it back but another load of the folder that it came from; what is removed, and where else the content
    may still be, is returned. Those deleted softly are erased by their uuid. `rejects_folder` is where loads wrote
    rejected lines: files there that may hold some of theirs are named, and left. UnknownName for a person or a
    conversation that there is not; UsageError while a load of their dataset is under way.

    >>> cl.forget(lab, "nora", "nora-c02").rows["carmenta.conversations"]
    1
    """
    user_id = person if isinstance(person, UUID) else user(lab, person).id
    if conversation is None:
        return forget_user(lab.owner, user_id, rejects_folder)
    if isinstance(conversation, str):
        with lab.user_session(user_id) as session:
            conversation = conversation_id(session, user_id, conversation)
    return forget_conversation(lab.owner, user_id, conversation, rejects_folder)


def build_index(
    lab: Database,
    kind: IndexKind = "halfvec",
    person: Person | None = None,
    *,
    model: str = DEFAULT_MODEL,
    concurrently: bool = False,
    memory_mb: int | None = None,
) -> approximate.BuiltIndex:
    """Build an approximate index over the vectors of a model, after a load; `vector_KIND` searches through it.

    Parameters:
        kind: halfvec (half precision, as stored), hnsw (as floats), binary (signs), or ivfflat.
        person: over this user's rows alone, for one who has many.
        concurrently: lets others write meanwhile, and takes about twice as long.
        memory_mb: maintenance_work_mem of the build, in MB; the server's own when not given.

    Raises:
        UsageError: when nothing is embedded with the model; UnknownName for another kind. GraphMemoryWarning says how
            much memory would hold a graph that does not fit.

    >>> cl.build_index(lab, "halfvec", "nora", memory_mb=64).finished
    True
    """
    if kind not in KINDS:
        raise UsageError(f"an index is of the kind {', '.join(KINDS)}; found {kind!r}.")
    owner = None if person is None else user(lab, person).id
    table = table_name(model)
    approximate.build(lab.owner, table, KINDS[kind], concurrently, owner, memory_mb)
    called = approximate.name(table, kind, owner)
    with lab.owner_session() as session:
        return next(found for found in approximate.listed(session) if found.name == called)


def index_lacking(lab: Database, person: Person, *, models: Sequence[str] = (DEFAULT_MODEL,)) -> Indexed:
    """Make searchable what of a user's rows is not yet, whatever client wrote it; returns how much came or went.

    Looks through all of the user's rows. A worker (`carmenta-lab worker`) follows the notes of what was written, which
    costs no such look. `models` are those whose vectors are written. UnknownName for a user that there is not.

    >>> cl.index_lacking(lab, "nora")
    Indexed(sources=0, passages=0)
    """
    return repair(lab, user(lab, person).id, tuple(models))


@contextmanager
def _session(
    where: Session | Database, question: Sequence[Any], searches_first: bool = False
) -> Iterator[tuple[Session, UUID, str]]:
    """The session to read in, for whom it acts, and the text; one sentence for what was called in another way."""
    if isinstance(where, Session) and len(question) == 1:
        [text] = question
        with _open(where):
            yield where, acting_for(where), _worded(text)
    elif isinstance(where, Database) and len(question) == 2:
        person, text = question
        one = user(where, person)
        with where.user_session(one.id, searches_first=searches_first) as session:
            yield session, one.id, _worded(text)
    else:
        given = ", ".join(type(one).__name__ for one in (where, *question))
        raise UsageError(f"give a lab, a user and a text, or a session of a user and a text; found {given}.")


@contextmanager
def _open(session: Session) -> Iterator[None]:
    """A session that was closed says so in one sentence."""
    try:
        yield
    except ResourceClosedError:
        raise UsageError("the session is over: search within the block of `with user.session()`.") from None


def _named(what: str, name: Any) -> None:
    if not isinstance(name, str | Path):
        raise UsageError(f"a {what} is named by a text or a path here, not by {name!r}.")


def _whole(name: str, number: Any) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise UsageError(f"{name} is a whole number, not {number!r}.")


def _worded(text: Any) -> str:
    if not isinstance(text, str):
        raise UsageError(f"a question is a text, not {text!r}.")
    return text


def _query(user_id: UUID, text: str, asked_at: datetime | None, language: str) -> Query:
    if asked_at is not None and (not isinstance(asked_at, datetime) or asked_at.tzinfo is None):
        raise UsageError(f"asked_at is a datetime with a time zone, not {asked_at!r}.")
    if not isinstance(language, str) or re.match(LANGUAGE, language) is None:
        raise UsageError(f"a language is a code of two small letters (ISO 639-1), such as 'en', not {language!r}.")
    return Query(text, user_id, text, asked_at=asked_at, language=language)
