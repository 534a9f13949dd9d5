"""What an assistant asks all day: the answers, and the index behind each, as the application role at 100,000 rows."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import insert, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from carmenta_lab.app import artifacts, conversations, identity, knowledge, memory, operations
from carmenta_lab.app.identity import Keys, Tokens, TokenUnreadable
from carmenta_lab.bench.crowd import fill, number
from carmenta_lab.errors import UsageError
from carmenta_lab.postgres import Database, as_user, prepare
from carmenta_lab.schema.product import artifacts as made
from carmenta_lab.schema.product import conversations as said
from carmenta_lab.schema.product import knowledge as kept
from carmenta_lab.schema.product import memory as learned
from carmenta_lab.schema.product.identity import service_connections, users
from carmenta_lab.schema.product.operations import background_queries

DAY = datetime(2026, 1, 1, tzinfo=UTC)
A_MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def crowd(cluster: Any) -> Iterator[Database]:
    """50 users, 100,000 messages in 5,000 conversations, 20,000 memories, 5,000 documents, artifacts and queries."""
    way = cluster.clone(cluster.template("empty", None))
    database = prepare(way)
    fill(database, 100_000)
    yield database
    database.dispose()
    cluster.drop(way)


LINE = conversations.ConversationLine(number(4000), None, "active", DAY + timedelta(days=1))
UNDATED = conversations.ConversationLine(number(4001), None, "active", None)
SEEN = conversations.MessageLine(number(1), 3, "user", None, "x", None, DAY)
ME = number(1)
PLANS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "the first page": (lambda: conversations.page_statement(ME, 20), {"ix_conversations_recent"}),
    "a later page": (lambda: conversations.page_statement(ME, 20, LINE), {"ix_conversations_recent"}),
    "a page of the undated": (lambda: conversations.page_statement(ME, 20, UNDATED), {"ix_conversations_recent"}),
    "messages from a point": (
        lambda: conversations.messages_statement(ME, number(50), 20, SEEN),
        {"ix_messages_conversation", "pk_conversations"},
    ),
    "delete messages from a moment": (
        lambda: conversations.delete_messages_from_statement(ME, number(50), DAY), {"ix_messages_conversation"},
    ),
    "count messages": (
        lambda: conversations.count_messages_statement(ME, DAY + timedelta(seconds=99_000)), {"ix_messages_recent"},
    ),
    "vote": (lambda: conversations.vote_statement(ME, number(50), True), {"pk_messages"}),
    "history of an artifact": (lambda: artifacts.history_statement(ME, number(50), 10), {"pk_artifacts"}),
    "delete versions": (lambda: artifacts.delete_versions_from_statement(ME, number(50), DAY), set()),
    "relations of an artifact": (
        lambda: artifacts.relations_statement(ME, number(50), 10),
        {"ix_artifact_references_artifact", "ix_artifact_references_target_artifact"},
    ),
    "facts now": (lambda: memory.facts_statement(ME, None, 20), {"ix_memories_recent"}),
    "facts at a date": (lambda: memory.facts_statement(ME, DAY, 20), {"ix_memories_recent"}),
    "memories used": (lambda: memory.mark_used_statement(ME, [number(50)]), {"pk_memories"}),
    "tree of documents": (lambda: knowledge.tree_statement(ME, None, 1000), {"uq_documents_path"}),
    "branch of the tree": (lambda: knowledge.tree_statement(ME, "a1", 1000), {"uq_documents_path"}),
    "take a query": (lambda: operations.take_statement(ME, "w", A_MINUTE), {"ix_background_queries_due"}),
    "finish a query": (lambda: operations.finish_statement(ME, number(50), "w", 1, "s"), {"pk_background_queries"}),
    "fail a query": (lambda: operations.fail_statement(ME, number(50), "w", "e", A_MINUTE), {"pk_background_queries"}),
    "come back": (lambda: operations.come_back_statement(ME), {"ix_background_queries_unseen"}),
    "tokens of a service": (
        lambda: identity.tokens_statement(ME, "p", ""), {"uq_service_connections_user_id_provider_account_label"},
    ),
}  # fmt: skip


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


@pytest.mark.parametrize(("statement", "indexes"), PLANS.values(), ids=PLANS)
def test_each_statement_uses_its_index_as_the_application(
    crowd: Database, statement: Callable[[], Any], indexes: set[str]
) -> None:
    compiled = statement().compile(dialect=postgresql.psycopg.dialect(), compile_kwargs={"render_postcompile": True})
    with crowd.user_session(ME) as session:
        connection = session.connection()
        if "service_connections" in str(compiled):  # empty: the plan that it would have with rows
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}", _bound(compiled)).scalar_one()
    nodes = list(_nodes(explained[0]["Plan"]))
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert used, explained
    assert indexes <= used, explained  # none named: several would do as well
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []


def _bound(compiled: Any) -> Any:
    processors = compiled._bind_processors
    return {k: processors[k](v) if k in processors else v for k, v in compiled.params.items()}


def test_every_statement_of_the_package_has_a_plan_to_show() -> None:
    named = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (artifacts, conversations, identity, knowledge, memory, operations)
        for name in vars(module)
        if name.endswith("_statement")
    }
    by_function = {"identity.user_of_token_statement", "operations.users_with_work_statement"}
    tested = {function.__code__.co_names for function, _ in PLANS.values()}
    found = {f"{names[0]}.{name}" for names in tested for name in names if name.endswith("_statement")}
    assert named == found | by_function


def test_what_the_owner_answers_uses_an_index_too(crowd: Database) -> None:
    with crowd.owner_session() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "EXPLAIN SELECT user_id FROM carmenta.background_queries WHERE status IN ('pending', 'running') AND run_after <= now()"  # noqa: E501
        assert "ix_background_queries_all_due" in str(session.scalars(text(plan)).all())
        plan = "EXPLAIN SELECT user_id FROM carmenta.sessions WHERE token_sha256 = 'x'"
        assert "ix_sessions_token" in str(session.scalars(text(plan)).all())


def test_pages_give_every_conversation_once_in_order(crowd: Database) -> None:
    for user in (number(1), number(20)):
        with crowd.user_session(user) as session:
            whole = conversations.page(session, user, 1000)
            paged: list[conversations.ConversationLine] = []
            while found := conversations.page(session, user, 7, paged[-1] if paged else None):
                paged += found
        assert len(whole) == 100
        assert {line.last_message_at is None for line in whole} == {True, False}
        assert paged == whole


@pytest.fixture
def ann(crowd: Database) -> Iterator[tuple[Session, UUID]]:
    """A session of the application for a new user; rolled back."""
    user = uuid4()
    with crowd.owner.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.execute(insert(users).values(id=user))
            with as_user(session, user):
                yield session, user
        outer.rollback()


def _conversation(session: Session, user: UUID, messages: int) -> tuple[UUID, list[UUID]]:
    conversation, ids = uuid4(), [uuid4() for _ in range(messages)]
    session.execute(insert(said.conversations).values(user_id=user, id=conversation))
    row = {"user_id": user, "conversation_id": conversation, "role": "user"}
    for place, id in enumerate(ids):
        values = {"id": id, "position": place, "content": str(place), "created_at": DAY + place * A_MINUTE}
        session.execute(insert(said.messages).values(**row, **values))
    return conversation, ids


def _delete_softly(session: Session, table: Any, id: UUID) -> None:
    session.execute(update(table).where(table.c.id == id).values(deleted_at=DAY))


def test_messages_are_read_from_a_point_on(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, ids = _conversation(session, user, 5)
    first = conversations.messages(session, user, conversation, 2)
    assert [line.id for line in first] == ids[:2]
    _delete_softly(session, said.messages, ids[3])
    assert [line.id for line in conversations.messages(session, user, conversation, 9, first[-1])] == [ids[2], ids[4]]
    _delete_softly(session, said.conversations, conversation)
    assert conversations.messages(session, user, conversation, 9) == []
    assert conversations.page(session, user, 9) == []


def test_messages_from_a_moment_on_are_deleted(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, ids = _conversation(session, user, 5)
    other, _ = _conversation(session, user, 5)
    assert conversations.delete_messages_from(session, user, conversation, DAY + 3 * A_MINUTE) == 2
    assert [line.id for line in conversations.messages(session, user, conversation, 9)] == ids[:3]
    assert len(conversations.messages(session, user, other, 9)) == 5


def test_messages_are_counted_since_a_moment_deleted_or_not(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    _, ids = _conversation(session, user, 5)
    _delete_softly(session, said.messages, ids[4])
    assert conversations.count_messages(session, user, DAY + 2 * A_MINUTE) == 3


def test_the_later_vote_replaces_the_earlier(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    _, (message, gone) = _conversation(session, user, 2)
    assert conversations.vote(session, user, message, True)
    assert conversations.vote(session, user, message, False)
    assert session.execute(said.votes.select()).one().is_upvoted is False
    _delete_softly(session, said.messages, gone)
    assert not conversations.vote(session, user, gone, True)


def _artifact(session: Session, user: UUID, versions: int) -> UUID:
    id = uuid4()
    for version in range(1, versions + 1):
        row = {"user_id": user, "id": id, "created_at": DAY + version * A_MINUTE, "version": version}
        session.execute(insert(made.artifacts).values(**row, kind="text", title="t", content=str(version)))
    return id


def test_versions_are_read_newest_first_and_taken_back(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = _artifact(session, user, 3)
    assert [version.version for version in artifacts.history(session, user, id)] == [3, 2, 1]
    assert artifacts.delete_versions_from(session, user, id, DAY + 2 * A_MINUTE) == 2
    newest = artifacts.newest(session, user, id)
    assert newest is not None
    assert newest.content == "1"
    _delete_softly(session, made.artifacts, id)
    assert artifacts.newest(session, user, id) is None


def test_a_reference_is_found_from_both_of_its_artifacts(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    one, two = _artifact(session, user, 2), _artifact(session, user, 1)
    row = {"user_id": user, "id": uuid4(), "artifact_id": one, "target_artifact_id": two, "relation": "cites"}
    session.execute(insert(made.artifact_references).values(**row))
    assert artifacts.relations(session, user, one) == [("artifact", two, "cites", "refers")]
    assert artifacts.relations(session, user, two) == [("artifact", one, "cites", "referred")]
    _delete_softly(session, made.artifacts, one)
    assert artifacts.relations(session, user, two) == []
    assert artifacts.relations(session, user, one) == []


def test_facts_hold_from_their_beginning_until_their_end_or_replacement(ann: tuple[Session, UUID]) -> None:
    session, user = ann

    def learn(content: str, day: int, **values: Any) -> UUID:
        id = uuid4()
        row = {
            "user_id": user,
            "id": id,
            "category": "personal",
            "content": content,
            "created_at": DAY + timedelta(day),
        }
        session.execute(insert(learned.memories).values(row | values))
        return id

    new = learn("lives in Ghent", 10)
    learn("lives in Bruges", 0, superseded_by=new)
    learn("on holiday", 2, valid_from=DAY + timedelta(4), valid_to=DAY + timedelta(6))
    learn("never true", 0, review_status="rejected")
    learn("taken back", 0, deleted_at=DAY)
    session.execute(insert(learned.memories).values(user_id=user, id=uuid4(), category="personal", content="always"))

    def at(day: int) -> set[str]:
        return {fact.content for fact in memory.facts(session, user, DAY + timedelta(day))}

    assert at(-1) == {"always"}
    assert at(3) == {"lives in Bruges", "always"}
    assert at(5) == {"lives in Bruges", "on holiday", "always"}
    assert at(6) == {"lives in Bruges", "always"}
    assert at(10) == {"lives in Ghent", "always"}
    assert {fact.content for fact in memory.facts(session, user)} == {"lives in Ghent", "always"}
    assert memory.mark_used(session, user, [new]) == 1
    _delete_softly(session, learned.memories, new)
    assert {fact.content for fact in memory.facts(session, user)} == {"lives in Bruges", "always"}
    assert memory.mark_used(session, user, [new]) == 0


def test_the_tree_puts_parents_before_children(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    ids = {}
    for path in ("work.plans", "work", "home", "work.plans.old"):
        ids[path] = uuid4()
        row = {"user_id": user, "id": ids[path], "path": path, "name": path, "content": "x"}
        session.execute(insert(kept.documents).values(row))
    lines = knowledge.tree(session, user)
    assert [line.path for line in lines] == ["home", "work", "work.plans", "work.plans.old"]
    assert [line.depth for line in lines] == [1, 1, 2, 3]
    assert [line.path for line in knowledge.tree(session, user, "work.plans")] == ["work.plans", "work.plans.old"]
    _delete_softly(session, kept.documents, ids["work.plans"])
    assert [line.path for line in knowledge.tree(session, user, "work.plans")] == ["work.plans.old"]


def _ask(session: Session, user: UUID, attempts: int = 2) -> UUID:
    id = uuid4()
    row = {"user_id": user, "id": id, "kind": "research", "input": {"q": 1}, "max_attempts": attempts}
    session.execute(insert(background_queries).values(row))
    return id


def _let_leases_end(session: Session) -> None:
    past = datetime(2000, 1, 1, tzinfo=UTC)
    session.execute(update(background_queries).where(background_queries.c.status == "running").values(lease_until=past))
    session.execute(update(background_queries).values(run_after=past))


def test_a_query_is_taken_finished_and_handed_over_once(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = _ask(session, user)
    work = operations.take(session, user, "one", A_MINUTE)
    assert work is not None
    assert (work.id, work.input, work.attempt) == (id, {"q": 1}, 1)
    assert operations.take(session, user, "two", A_MINUTE) is None
    assert not operations.finish(session, user, id, "two", "theirs")
    assert operations.finish(session, user, id, "one", {"answer": 42}, "it is 42")
    assert [(f.id, f.status, f.result) for f in operations.come_back(session, user)] == [
        (id, "completed", {"answer": 42})
    ]
    assert operations.come_back(session, user) == []


def test_a_failed_attempt_is_retried_until_they_are_used_up(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = _ask(session, user)
    for attempt in (1, 2):
        work = operations.take(session, user, "w", A_MINUTE)
        assert work is not None
        assert work.attempt == attempt
        assert operations.fail(session, user, id, "w", "no network", timedelta(0))
    assert operations.take(session, user, "w", A_MINUTE) is None
    assert [(f.status, f.error) for f in operations.come_back(session, user)] == [("failed", "no network")]


def test_a_retry_waits_as_long_as_it_is_told(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = _ask(session, user)
    operations.take(session, user, "w", A_MINUTE)
    operations.fail(session, user, id, "w", "busy", A_MINUTE)
    assert operations.take(session, user, "w", A_MINUTE) is None


def test_a_dead_worker_loses_its_query_and_the_last_one_fails_it(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    id = _ask(session, user)
    operations.take(session, user, "dead", A_MINUTE)
    _let_leases_end(session)
    work = operations.take(session, user, "heir", A_MINUTE)
    assert work is not None
    assert (work.id, work.attempt) == (id, 2)
    assert not operations.finish(session, user, id, "dead", "too late")
    _let_leases_end(session)
    assert operations.take(session, user, "third", A_MINUTE) is None
    assert [(f.status, f.error) for f in operations.come_back(session, user)] == [
        ("failed", "no worker finished it within its lease")
    ]


def test_two_workers_never_take_the_same_query(database: Database) -> None:
    user = uuid4()
    with database.owner_session() as session:
        session.execute(insert(users).values(id=user))
        ids = {_ask(session, user) for _ in range(2)}
    with Session(database.app) as here, Session(database.app) as there, as_user(here, user), as_user(there, user):
        taken = [operations.take(session, user, "w", A_MINUTE) for session in (here, there, here, there)]
    assert {work.id for work in taken if work} == ids
    assert [work is None for work in taken] == [False, False, True, True]


def test_a_worker_learns_for_whom_to_act_and_no_more(database: Database) -> None:
    waiting, idle = uuid4(), uuid4()
    with database.owner_session() as session:
        session.execute(insert(users), [{"id": waiting}, {"id": idle}])
        _ask(session, waiting)
    with database.app_session() as session:
        assert operations.users_with_work(session, 10) == [waiting]
        with as_user(session, waiting):
            assert operations.take(session, waiting, "w", A_MINUTE) is not None
        assert operations.users_with_work(session, 10) == []


def test_a_token_signs_in_and_is_not_in_the_database(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    token = identity.sign_in(session, user, A_MINUTE)
    assert identity.user_of_token(session, token) == user
    assert identity.user_of_token(session, token + "x") is None
    assert token not in str(session.execute(text("SELECT s::text FROM carmenta.sessions s")).all())


OLD, NEW = (Fernet.generate_key() for _ in range(2))


def test_tokens_are_kept_encrypted_and_rotated_to_the_current_key(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    row = {"user_id": user, "id": uuid4(), "provider": "mail", "status": "revoked"}
    session.execute(insert(service_connections).values(row))
    old, both, new = Keys("a", {"a": OLD}), Keys("b", {"a": OLD, "b": NEW}), Keys("b", {"b": NEW})
    given = Tokens("the access token", "the refresh token", DAY)
    assert identity.tokens(session, old, user, "mail") is None
    assert identity.keep_tokens(session, old, user, "mail", given)
    assert not identity.keep_tokens(session, old, user, "elsewhere", given)
    assert identity.tokens(session, old, user, "mail") == given
    stored = session.execute(service_connections.select()).one()
    assert b"access token" not in stored.access_token_encrypted
    assert stored.key_id == "a"
    with pytest.raises(TokenUnreadable, match="the key 'a', which is not at hand"):
        identity.tokens(session, new, user, "mail")
    assert identity.rotate(session, both) == 1
    assert identity.rotate(session, both) == 0
    assert identity.tokens(session, new, user, "mail") == given
    with pytest.raises(TokenUnreadable, match="does not open"):
        identity.tokens(session, Keys("b", {"b": OLD}), user, "mail")


def test_the_current_key_must_be_at_hand() -> None:
    with pytest.raises(UsageError, match="'c' is not among the keys: a"):
        Keys("c", {"a": OLD})
    assert OLD.decode() not in repr(Keys("a", {"a": OLD}))
