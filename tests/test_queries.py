"""What an assistant asks all day: the answers, and the index behind each, as the application role at 100,000 rows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from factory import add_conversation, add_document, add_memory, add_message, add_user
from sqlalchemy import insert, text, update
from sqlalchemy.orm import Session

from carmenta_lab.app import (
    artifacts,
    assistants,
    concierge,
    conversations,
    filing,
    identity,
    knowledge,
    memory,
    operations,
)
from carmenta_lab.app.concierge import ModelChoice, Postprocessing, Preprocessing
from carmenta_lab.app.identity import AccountTaken, Keys, Tokens, TokenUnreadable
from carmenta_lab.errors import UsageError
from carmenta_lab.postgres import Database, as_user
from carmenta_lab.postgres.statement import compiled
from carmenta_lab.scale.filling import CROWD, crowd_id, fill_crowd
from carmenta_lab.schema.product import artifacts as made
from carmenta_lab.schema.product import conversations as said
from carmenta_lab.schema.product import knowledge as kept
from carmenta_lab.schema.product import memory as learned
from carmenta_lab.schema.product.identity import service_connections, users
from carmenta_lab.schema.product.knowledge import FOUND
from carmenta_lab.schema.product.operations import background_queries

DAY = datetime(2026, 1, 1, tzinfo=UTC)
A_MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def crowd(shared: Database) -> Database:
    """50 users, 100,000 messages in 5,000 conversations, 20,000 memories, 5,000 documents, artifacts and queries."""
    fill_crowd(shared, 100_000)
    with shared.owner.begin() as connection:
        for statement in BESIDE:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    with shared.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    return shared


_N = "lpad(to_hex({}), 32, '0')::uuid"
_ROW, _MINE = _N.format("i"), _N.format(f"i % {CROWD} + 1")
_OWN = f"SELECT {_MINE}, {_ROW}"
_FEW, _MANY, _EVERY = (f"generate_series(1, {n}) i" for n in (500, 5_000, 20_000))
BESIDE = (
    f"INSERT INTO carmenta.workspaces (user_id, id, name) {_OWN}, 'w' || i FROM {_FEW}",
    f"INSERT INTO carmenta.folders (user_id, id, path, name) {_OWN}, ('f.g' || i)::ltree, 'f' FROM {_FEW}",
    f"INSERT INTO carmenta.tags (user_id, id, name) {_OWN}, 't' || i / {CROWD} FROM {_FEW}",
    f"UPDATE carmenta.conversations c SET workspace_id = {_ROW}, folder_id = {_ROW} FROM {_FEW} "
    f"WHERE c.user_id = {_MINE} AND c.id = {_ROW}",
    "INSERT INTO carmenta.conversation_tags (user_id, conversation_id, tag_id) "
    f"SELECT {_MINE}, {_ROW}, {_N.format('(i - 1) % 500 + 1')} FROM {_MANY}",
    "INSERT INTO carmenta.artifact_tags (user_id, artifact_id, artifact_created_at, tag_id) "
    f"SELECT a.user_id, a.id, a.created_at, {_N.format('(i - 1) % 500 + 1')} "
    f"FROM {_MANY} JOIN carmenta.artifacts a ON a.id = {_ROW} WHERE date_part('hour', a.created_at) = 1",
    "INSERT INTO carmenta.artifact_folders (user_id, artifact_id, artifact_created_at, folder_id) "
    "SELECT user_id, artifact_id, artifact_created_at, tag_id FROM carmenta.artifact_tags",
    "UPDATE carmenta.artifacts SET conversation_id = id",
    "UPDATE carmenta.background_queries q SET conversation_id = q.id FROM carmenta.conversations c WHERE c.id = q.id",
    "INSERT INTO carmenta.suggestions (user_id, id, artifact_id, artifact_created_at, original_text, suggested_text) "
    "SELECT user_id, gen_random_uuid(), id, created_at, 'a', 'b' FROM carmenta.artifacts",
    f"UPDATE carmenta.memories m SET source_message_id = m.id FROM {_MANY} WHERE m.id = {_ROW}",
    f"UPDATE carmenta.memories m SET superseded_by = {_N.format(f'i + {CROWD}')} FROM {_EVERY} "
    f"WHERE m.id = {_ROW} AND i % 100 = 7 AND i < 19000",
    f"UPDATE carmenta.messages m SET parent_id = {_N.format('i - 5000')} FROM generate_series(5001, 20000) i "
    f"WHERE m.id = {_ROW}",
    f"INSERT INTO carmenta.attachments (user_id, id, message_id, name) {_OWN}, {_ROW}, 'a' FROM {_EVERY}",
    f"INSERT INTO carmenta.streams (user_id, id, conversation_id) {_OWN}, {_ROW} FROM {_MANY}",
    "INSERT INTO carmenta.document_links (user_id, document_id, target_id) "
    f"SELECT {_MINE}, {_ROW}, {_N.format(f'i + {CROWD}')} FROM generate_series(1, 4900) i",
    *(
        f"INSERT INTO carmenta.{table} (user_id, id, message_id{column}) {_OWN}, {_ROW}{value} FROM {_MANY}"
        for table, column, value in (
            ("preprocessing_logs", "", ""),
            ("postprocessing_logs", "", ""),
            ("model_selections", ", candidates, chosen", ", '[]', 'm'"),
        )
    ),
    "INSERT INTO carmenta.feedback_signals (user_id, id, kind, weight, message_id, conversation_id) "
    f"{_OWN}, 'copy', 1, {_ROW}, {_ROW} FROM {_MANY}",
    f"INSERT INTO carmenta.sessions (user_id, id, token_sha256, expires_at) {_OWN}, sha256(i::text::bytea), "
    f"now() + interval '1 day' FROM {_MANY}",
    "INSERT INTO carmenta.sign_ins (user_id, provider, provider_account_id) "
    f"SELECT {_MINE}, 'google', i::text FROM {_FEW}",
    "INSERT INTO carmenta.accounts (user_id, id, provider, provider_account_id) "
    "SELECT user_id, gen_random_uuid(), provider, provider_account_id FROM carmenta.sign_ins",
    f"INSERT INTO carmenta.assistants (user_id, id, name, role) {_OWN}, 'a' || i, 'r' FROM {_FEW}",
    f"INSERT INTO carmenta.profiles (user_id, id, content) {_OWN}, 'p' FROM generate_series(1, {CROWD}) i",
    f"INSERT INTO carmenta.settings (user_id, key, value) SELECT {_MINE}, 'k' || i, '1' FROM {_FEW}",
    f"INSERT INTO carmenta.service_connections (user_id, id, provider, status) {_OWN}, 'p' || i, 'revoked' FROM {_FEW}",
    f"INSERT INTO carmenta.events (user_id, id, created_at, name) {_OWN}, "
    f"'2026-01-01Z'::timestamptz + i * interval '1 h', 'e' FROM {_MANY}",
    "SELECT * FROM carmenta.make_event_partitions(0)",
    "UPDATE carmenta.documents d SET content = 'the roof leaks near chimney ' || d.name || (SELECT string_agg("
    f"'word' || (i * 7 + x) % 3000, ' ') FROM generate_series(1, 20) x) FROM {_MANY} WHERE d.id = {_ROW}",
)
"""Rows in the tables that `fill_crowd` leaves empty, by the same numbers."""

LINE = conversations.ConversationLine(crowd_id(4000), None, "active", DAY + timedelta(days=1))
UNDATED = conversations.ConversationLine(crowd_id(4001), None, "active", None)
SEEN = conversations.MessageLine(crowd_id(1), 3, "user", None, "x", None, DAY)
ME = crowd_id(1)
PLANS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "the first page": (lambda: conversations.page_statement(ME, 20), {"ix_conversations_recent"}),
    "a later page": (lambda: conversations.page_statement(ME, 20, LINE), {"ix_conversations_recent"}),
    "a page of the undated": (lambda: conversations.page_statement(ME, 20, UNDATED), {"ix_conversations_recent"}),
    "messages from a point": (
        lambda: conversations.messages_statement(ME, crowd_id(50), 20, SEEN),
        {"ix_messages_conversation", "pk_conversations"},
    ),
    "delete messages from a moment": (
        lambda: conversations.delete_messages_from_statement(ME, crowd_id(50), DAY), {"ix_messages_conversation"},
    ),
    "count messages": (
        lambda: conversations.count_messages_statement(ME, DAY + timedelta(seconds=99_000)), {"ix_messages_recent"},
    ),
    "vote": (lambda: conversations.vote_statement(ME, crowd_id(50), True), {"pk_messages"}),
    "history of an artifact": (lambda: artifacts.history_statement(ME, crowd_id(50), 10), {"pk_artifacts"}),
    "delete versions": (lambda: artifacts.delete_versions_from_statement(ME, crowd_id(50), DAY), set()),
    "relations of an artifact": (
        lambda: artifacts.relations_statement(ME, crowd_id(50), 10),
        {"ix_artifact_references_artifact", "ix_artifact_references_target_artifact"},
    ),
    "facts now": (lambda: memory.facts_statement(ME, None, 20), {"ix_memories_recent"}),
    "facts at a date": (lambda: memory.facts_statement(ME, DAY, 20), {"ix_memories_recent"}),
    "memories used": (lambda: memory.mark_used_statement(ME, [crowd_id(50)]), {"pk_memories"}),
    "tree of documents": (lambda: knowledge.tree_statement(ME, None, 1000), {"uq_documents_path"}),
    "branch of the tree": (lambda: knowledge.tree_statement(ME, "a1", 1000), {"uq_documents_path"}),
    "take a query": (lambda: operations.take_statement(ME, "w", A_MINUTE), {"ix_background_queries_due"}),
    "finish a query": (lambda: operations.finish_statement(ME, crowd_id(50), "w", 1, "s"), {"pk_background_queries"}),
    "fail a query": (
        lambda: operations.fail_statement(ME, crowd_id(50), "w", "e", A_MINUTE), {"pk_background_queries"},
    ),
    "come back": (lambda: operations.come_back_statement(ME), {"ix_background_queries_unseen"}),
    "tokens of a service": (
        lambda: identity.tokens_statement(ME, "p", ""), {"uq_service_connections_user_id_provider_account_label"},
    ),
    "accounts": (
        lambda: identity.accounts_statement(ME, 9), {"uq_accounts_user_id_provider_provider_account_id"},
    ),
    "a password": (
        lambda: identity.password_hash_statement(ME, "a@b.c"), {"uq_accounts_user_id_provider_provider_account_id"},
    ),
    "sign out": (lambda: identity.sign_out_statement(ME, "t"), {"ix_sessions_token"}),
    "open sessions": (lambda: identity.open_sessions_statement(ME, 9), {"pk_sessions"}),
    "assistants": (lambda: assistants.assistants_statement(ME, 9), {"uq_assistants_name"}),
    "a setting": (lambda: assistants.setting_statement(ME, "k"), {"pk_settings"}),
    "workspaces": (lambda: filing.workspaces_statement(ME, 9), {"uq_workspaces_name"}),
    "move to a workspace": (
        lambda: filing.put_statement(filing.WORKSPACE, ME, crowd_id(50), crowd_id(50)), {"pk_conversations"},
    ),
    "in a workspace": (
        lambda: filing.held_statement(filing.WORKSPACE, ME, crowd_id(50), 9), {"ix_conversations_workspace"},
    ),
    "clear a workspace": (
        lambda: filing.clear_statement(filing.WORKSPACE, ME, crowd_id(50)), {"ix_conversations_workspace"},
    ),
    "delete a workspace": (lambda: filing.delete_statement(filing.WORKSPACE, ME, crowd_id(50)), {"pk_workspaces"}),
    "folders": (lambda: filing.folders_statement(ME, 9), {"uq_folders_path"}),
    "file": (lambda: filing.put_statement(filing.FOLDER, ME, crowd_id(50), crowd_id(50)), {"pk_conversations"}),
    "in a folder": (lambda: filing.held_statement(filing.FOLDER, ME, crowd_id(50), 9), {"ix_conversations_folder"}),
    "clear a folder": (lambda: filing.clear_statement(filing.FOLDER, ME, crowd_id(50)), {"ix_conversations_folder"}),
    "delete a folder": (lambda: filing.delete_statement(filing.FOLDER, ME, crowd_id(50)), {"pk_folders"}),
    "tags": (lambda: filing.tags_statement(ME, 9), {"uq_tags_user_id_name"}),
    "tagged": (
        lambda: filing.tagged_statement(ME, "t1", 9), {"uq_tags_user_id_name", "ix_conversation_tags_tag"},
    ),
    "attachments": (lambda: conversations.attachments_statement(ME, [crowd_id(50)], 9), {"ix_attachments_message"}),
    "finish a stream": (lambda: conversations.finish_stream_statement(ME, crowd_id(50)), {"pk_streams"}),
    "open streams": (
        lambda: conversations.open_streams_statement(ME, crowd_id(50), 9), {"ix_streams_conversation"},
    ),
    "clear what was learned in a conversation": (
        lambda: conversations.clear_sources_statement(ME, conversations.said_in(ME, crowd_id(50))),
        {"ix_memories_source", "ix_messages_conversation"},
    ),
    "clear what was learned from a message": (
        lambda: conversations.clear_sources_statement(ME, conversations.said_by_id(ME, crowd_id(50))),
        {"ix_memories_source"},
    ),
    "clear what was learned since": (
        lambda: conversations.clear_sources_statement(ME, conversations.said_since(ME, crowd_id(50), DAY)),
        {"ix_memories_source", "ix_messages_conversation"},
    ),
    "clear answers": (
        lambda: conversations.clear_parents_statement(ME, conversations.said_in(ME, crowd_id(50))),
        {"ix_messages_parent", "ix_messages_conversation"},
    ),
    "clear queries": (
        lambda: conversations.clear_queries_statement(ME, crowd_id(50)), {"ix_background_queries_conversation"},
    ),
    "clear what was made": (
        lambda: conversations.clear_artifacts_statement(ME, crowd_id(50)), {"ix_artifacts_conversation"},
    ),
    "delete a conversation": (
        lambda: conversations.delete_conversation_statement(ME, crowd_id(50)), {"pk_conversations"},
    ),
    "delete a message": (lambda: conversations.delete_message_statement(ME, crowd_id(50)), {"pk_messages"}),
    "clear a successor": (
        lambda: memory.clear_successor_statement(ME, crowd_id(50)), {"ix_memories_superseded_by"},
    ),
    "delete a memory": (lambda: memory.delete_memory_statement(ME, crowd_id(50)), {"pk_memories"}),
    "tiers": (lambda: memory.tiers_statement(ME, [crowd_id(50)]), {"pk_memories"}),
    "profile": (lambda: memory.profile_statement(ME), {"uq_profiles_user_id"}),
    "links": (
        lambda: knowledge.links_statement(ME, crowd_id(50), 9), {"pk_document_links", "ix_document_links_target"},
    ),
    "delete a document": (lambda: knowledge.delete_document_statement(ME, crowd_id(50)), {"pk_documents"}),
    "recent artifacts": (lambda: artifacts.recent_statement(ME, 9), {"ix_artifacts_recent"}),
    "tagged artifacts": (
        lambda: artifacts.tagged_statement(ME, "t1", 9), {"uq_tags_user_id_name", "ix_artifact_tags_tag"},
    ),
    "artifacts in a folder": (
        lambda: artifacts.in_folder_statement(ME, crowd_id(50), 9), {"ix_artifact_folders_folder"},
    ),
    "suggestions": (
        lambda: artifacts.suggestions_statement(ME, crowd_id(50), DAY + 60 * A_MINUTE, 9), {"ix_suggestions_artifact"},
    ),
    "events": (
        lambda: operations.events_statement(ME, DAY, DAY + timedelta(days=9), 9), {"pk_events"},
    ),
    "log of what was understood": (
        lambda: concierge.log_statement(Preprocessing, ME, crowd_id(50), 9), {"ix_preprocessing_logs_message"},
    ),
    "log of what was drawn": (
        lambda: concierge.log_statement(Postprocessing, ME, crowd_id(50), 9), {"ix_postprocessing_logs_message"},
    ),
    "log of models": (
        lambda: concierge.log_statement(ModelChoice, ME, crowd_id(50), 9), {"ix_model_selections_message"},
    ),
}  # fmt: skip

BY_FUNCTION: dict[str, tuple[str, set[str]]] = {
    "identity.user_of_token_statement": (
        "SELECT user_id FROM carmenta.sessions WHERE token_sha256 = 'x'", {"ix_sessions_token"},
    ),
    "identity.user_of_account_statement": (
        "SELECT user_id FROM carmenta.sign_ins WHERE provider = 'google' AND provider_account_id = '7'",
        {"pk_sign_ins"},
    ),
    "operations.users_with_work_statement": (
        "SELECT user_id FROM carmenta.background_queries "
        "WHERE status IN ('pending', 'running') AND run_after <= '2020-01-01'", {"ix_background_queries_all_due"},
    ),
    "knowledge.search_documents_statement": (
        FOUND.format(query="'chimney word17'", language="'en'", at_most="20").replace(
            "carmenta.current_user_id()", f"'{crowd_id(1)}'"),
        {"ix_documents_text_search"},
    ),
}  # fmt: skip
"""Statements that ask a function of the owner, and what that function asks."""

CASCADES = {
    "ix_artifact_references_conversation": "artifact_references.conversation_id",
    "ix_artifact_references_message": "artifact_references.message_id",
    "ix_artifact_references_document": "artifact_references.document_id",
    "ix_feedback_signals_message": "feedback_signals.message_id",
    "ix_feedback_signals_conversation": "feedback_signals.conversation_id",
}
"""Indexes without which each deletion of what is referred to would read all of a user's rows."""

OTHERS = {
    "uq_sign_ins_user_id_provider_provider_account_id": "the key of accounts, and the erasure of a user",
    **{
        f"ix_{table}_deleted": "the bin of what was deleted softly, and its emptying"
        for table in ("conversations", "messages", "memories", "documents")
    },
}
"""Indexes that other parts than these helpers need, and what for."""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _used(explained: Any, session: Session) -> set[str]:
    """Names of the indexes in a plan; that of a partition is the parent's."""
    nodes = list(_nodes(explained[0]["Plan"]))
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == [], explained
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    parents = text("SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits")
    whole = {part.partition(".")[2]: parent.partition(".")[2] for part, parent in session.execute(parents)}
    return {whole.get(name, name) for name in used}


@pytest.mark.parametrize(("statement", "indexes"), PLANS.values(), ids=PLANS)
def test_each_statement_uses_its_index_as_the_application(
    crowd: Database, statement: Callable[[], Any], indexes: set[str]
) -> None:
    asked = compiled(statement())
    with crowd.user_session(ME) as session:
        connection = session.connection()
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked.text}", dict(asked.own)).scalar_one()
        used = _used(explained, session)
    assert used, explained
    assert indexes <= used, explained  # none named: several would do as well


@pytest.mark.parametrize(("asked", "indexes"), BY_FUNCTION.values(), ids=BY_FUNCTION)
def test_what_the_owner_answers_uses_an_index_too(crowd: Database, asked: str, indexes: set[str]) -> None:
    with crowd.owner_session() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        explained = session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked}").scalar_one()
        nodes = {node["Index Name"] for node in _nodes(explained[0]["Plan"]) if "Index Name" in node}
    assert indexes <= nodes, explained


@pytest.mark.parametrize(("index", "column"), CASCADES.items(), ids=CASCADES)
def test_a_deletion_finds_what_goes_with_it_by_an_index(crowd: Database, index: str, column: str) -> None:
    table, _, name = column.partition(".")
    with crowd.owner_session() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        asked = f"EXPLAIN DELETE FROM ONLY carmenta.{table} WHERE user_id = '{ME}' AND {name} = '{crowd_id(50)}'"
        assert index in str(session.scalars(text(asked)).all())


def test_every_index_has_a_statement_or_a_reason(crowd: Database) -> None:
    with crowd.owner_session() as session:
        indexes = session.scalars(
            text(
                "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                "WHERE c.relnamespace = 'carmenta'::regnamespace AND NOT c.relispartition AND NOT i.indisprimary"
            )
        ).all()
    asked = set().union(*(named for _, named in (*PLANS.values(), *BY_FUNCTION.values())))
    assert set(indexes) - asked - CASCADES.keys() - OTHERS.keys() == set()
    assert (CASCADES.keys() | OTHERS.keys()) - set(indexes) == set()
    assert (CASCADES.keys() | OTHERS.keys()) & asked == set()


def test_every_statement_of_the_package_has_a_plan_to_show() -> None:
    named = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (
            artifacts, assistants, concierge, conversations, filing, identity, knowledge, memory, operations,
        )
        for name in vars(module)
        if name.endswith("_statement")
    }  # fmt: skip
    tested = {function.__code__.co_names for function, _ in PLANS.values()}
    found = {f"{names[0]}.{name}" for names in tested for name in names if name.endswith("_statement")}
    assert named == found | BY_FUNCTION.keys()


def test_pages_give_every_conversation_once_in_order(crowd: Database) -> None:
    for user in (crowd_id(1), crowd_id(20)):
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
    with crowd.owner.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            user = add_user(session)
            with as_user(session, user):
                yield session, user
        outer.rollback()


def _conversation(session: Session, user: UUID, messages: int) -> tuple[UUID, list[UUID]]:
    conversation = add_conversation(session, user)
    return conversation, [
        add_message(session, user, conversation, str(n), position=n, created_at=DAY + n * A_MINUTE)
        for n in range(messages)
    ]


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
        row = {"user_id": user, "id": id, "created_at": DAY + version * A_MINUTE}
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
    artifacts.refer(session, user, one, "cites", artifact=two)
    assert artifacts.relations(session, user, one) == [("artifact", two, "cites", "refers")]
    assert artifacts.relations(session, user, two) == [("artifact", one, "cites", "referred")]
    _delete_softly(session, made.artifacts, one)
    assert artifacts.relations(session, user, two) == []
    assert artifacts.relations(session, user, one) == []


def test_facts_hold_from_their_beginning_until_their_end_or_replacement(ann: tuple[Session, UUID]) -> None:
    session, user = ann

    def learn(content: str, day: int, **values: Any) -> UUID:
        return add_memory(session, user, content, created_at=DAY + timedelta(day), **values)

    new = learn("lives in Ghent", 10)
    learn("lives in Bruges", 0, superseded_by=new)
    learn("on holiday", 2, valid_from=DAY + timedelta(4), valid_to=DAY + timedelta(6))
    learn("never true", 0, review_status="rejected")
    learn("taken back", 0, deleted_at=DAY)
    add_memory(session, user, "always")

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
    ids = {path: add_document(session, user, path) for path in ("work.plans", "work", "home", "work.plans.old")}
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
    with database.owner_session() as session:
        user = add_user(session)
        ids = {_ask(session, user) for _ in range(2)}
    with Session(database.app) as here, Session(database.app) as there, as_user(here, user), as_user(there, user):
        taken = [operations.take(session, user, "w", A_MINUTE) for session in (here, there, here, there)]
    assert {work.id for work in taken if work} == ids
    assert [work is None for work in taken] == [False, False, True, True]


def test_a_worker_learns_for_whom_to_act_and_no_more(database: Database) -> None:
    with database.owner_session() as session:
        waiting, _ = add_user(session), add_user(session)
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


def test_deleting_a_conversation_keeps_what_came_of_it(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, (first, second) = _conversation(session, user, 2)
    elsewhere, (answer,) = _conversation(session, user, 1)
    session.execute(update(said.messages).where(said.messages.c.id == answer).values(parent_id=second))
    session.execute(update(said.messages).where(said.messages.c.id == second).values(parent_id=first))
    add_memory(session, user, source_message_id=first)
    query = operations.ask(session, user, "research", {}, conversation)
    thing = _artifact(session, user, 1)
    session.execute(update(made.artifacts).where(made.artifacts.c.id == thing).values(conversation_id=conversation))
    assert conversations.delete_conversation(session, user, conversation)
    assert not conversations.delete_conversation(session, user, conversation)
    assert [line.id for line in conversations.messages(session, user, elsewhere, 9)] == [answer]
    assert session.scalar(said.messages.select().with_only_columns(said.messages.c.parent_id)) is None
    assert [f.content for f in memory.facts(session, user)] == ["x"]
    assert artifacts.newest(session, user, thing) is not None
    assert operations.take(session, user, "w", A_MINUTE)[0] == query  # type: ignore[index]


def test_deleting_messages_keeps_answers_and_memories(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, ids = _conversation(session, user, 4)
    for one, parent in ((1, 0), (2, 1), (3, 2)):
        session.execute(update(said.messages).where(said.messages.c.id == ids[one]).values(parent_id=ids[parent]))
    for source in ids:
        add_memory(session, user, source_message_id=source)
    assert conversations.delete_message(session, user, ids[0])
    assert not conversations.delete_message(session, user, ids[0])
    assert conversations.delete_messages_from(session, user, conversation, DAY + 2 * A_MINUTE) == 2
    left = session.execute(said.messages.select()).one()
    assert (left.id, left.parent_id) == (ids[1], None)
    sources = session.scalars(learned.memories.select().with_only_columns(learned.memories.c.source_message_id)).all()
    assert sorted(map(str, sources)) == sorted([str(ids[1]), *["None"] * 3])


def test_deleting_a_successor_lets_the_fact_before_hold_again(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    new = add_memory(session, user, "new", created_at=DAY)
    old = add_memory(session, user, "old", created_at=DAY, superseded_by=new)
    assert memory.tiers(session, user, [new, old])[old] == "historical"
    assert memory.delete_memory(session, user, new)
    assert not memory.delete_memory(session, user, new)
    assert [fact.content for fact in memory.facts(session, user)] == ["old"]


def test_conversations_are_filed_moved_and_tagged_and_survive_where_they_lay(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    (one, _), (two, _) = _conversation(session, user, 1), _conversation(session, user, 1)
    home, roof = filing.add_folder(session, user, "home", "Home"), filing.add_folder(session, user, "home.roof", "Roof")
    work = filing.add_workspace(session, user, "work")
    assert filing.file(session, user, one, roof)
    assert filing.move(session, user, one, work)
    assert not filing.file(session, user, uuid4(), roof)
    assert [line.id for line in filing.in_folder(session, user, roof, 9)] == [one]
    assert [line.id for line in filing.in_workspace(session, user, work, 9)] == [one]
    assert [(line.path, line.depth) for line in filing.folders(session, user)] == [("home", 1), ("home.roof", 2)]
    assert filing.keep_tag(session, user, "money", "red") == filing.keep_tag(session, user, "money")
    assert filing.tags(session, user)[0][1:] == ("money", "red")
    filing.tag(session, user, two, filing.keep_tag(session, user, "money"))
    filing.tag(session, user, two, filing.keep_tag(session, user, "money"))
    assert [line.id for line in filing.tagged(session, user, "money", 9)] == [two]
    assert filing.delete_folder(session, user, roof)
    assert filing.delete_workspace(session, user, work)
    assert not filing.delete_workspace(session, user, work)
    assert filing.workspaces(session, user) == []
    assert [line.id for line in filing.folders(session, user)] == [home]
    assert len(conversations.page(session, user, 9)) == 2


def test_a_stream_is_open_until_it_is_finished(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, (message,) = _conversation(session, user, 1)
    stream = conversations.start_stream(session, user, conversation)
    assert [line.id for line in conversations.open_streams(session, user, conversation)] == [stream]
    assert conversations.finish_stream(session, user, stream)
    assert not conversations.finish_stream(session, user, stream)
    assert conversations.open_streams(session, user, conversation) == []
    file = {"user_id": user, "id": uuid4(), "message_id": message, "name": "a.png"}
    session.execute(insert(said.attachments).values(file))
    assert [line.name for line in conversations.attachments(session, user, [message])] == ["a.png"]


def test_an_artifact_is_listed_tagged_filed_and_improved(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    one, two = _artifact(session, user, 2), _artifact(session, user, 3)
    assert [line.id for line in artifacts.recent(session, user, 9)] == [two, one]
    artifacts.tag(session, user, one, filing.keep_tag(session, user, "t"))
    artifacts.tag(session, user, one, filing.keep_tag(session, user, "t"))
    assert [line.id for line in artifacts.tagged(session, user, "t", 9)] == [one]
    for path in ("a", "b"):
        place = filing.add_folder(session, user, path, path)
        artifacts.file(session, user, two, place)
    assert [line.id for line in artifacts.in_folder(session, user, place, 9)] == [two]
    moment = DAY + 2 * A_MINUTE
    proposed = artifacts.suggest(session, user, two, moment, "a", "b", "why")
    assert artifacts.suggestions(session, user, two, moment) == [(proposed, "a", "b", "why")]
    assert artifacts.delete_versions_from(session, user, two, moment) == 2
    assert artifacts.suggestions(session, user, two, moment) == []
    assert [line.id for line in artifacts.in_folder(session, user, place, 9)] == [two]  # it hangs on the first


def test_an_artifact_made_here_has_versions_and_says_where_it_comes_from(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    conversation, (message,) = _conversation(session, user, 1)
    document, id = add_document(session, user, "a", "x"), uuid4()
    first = artifacts.add_version(session, user, id, "text", "t", content="1", conversation_id=conversation)
    assert artifacts.add_version(session, user, id, "text", "t", content="2") > first
    assert [(v.version, v.content) for v in artifacts.history(session, user, id)] == [(2, "2"), (1, "1")]
    for target in ({"conversation": conversation}, {"message": message}, {"document": document}):
        artifacts.refer(session, user, id, "mentions", **target)
    assert {found.id for found in artifacts.relations(session, user, id)} == {conversation, message, document}
    assert artifacts.delete_versions_from(session, user, id, first) == 2
    assert artifacts.relations(session, user, id) == []


def test_an_account_has_one_owner_until_that_one_is_gone(database: Database) -> None:
    ann, bob = uuid4(), uuid4()
    for user in (ann, bob):
        with database.user_session(user) as session:
            identity.register_user(session, user, name="n")
    with database.user_session(ann) as session:
        identity.link_account(session, ann, "google", "117", email="a@b.c")
        identity.link_account(session, ann, "google", "117", email="b@b.c", email_verified=True)
        identity.link_account(session, ann, "password", "a@b.c", password_hash="$argon2id$x")
        assert [line[:4] for line in identity.accounts(session, ann)] == [
            ("google", "117", "b@b.c", True), ("password", "a@b.c", None, False),
        ]  # fmt: skip
        assert identity.password_hash(session, ann, "a@b.c") == "$argon2id$x"
    with database.app_session() as session:
        assert identity.user_of_account(session, "google", "117") == ann
        assert identity.user_of_account(session, "google", "118") is None
    refused = "google account 117 signs in another user: unlink it there first."
    with pytest.raises(AccountTaken, match=refused), database.user_session(bob) as session:
        identity.link_account(session, bob, "google", "117")
    with database.user_session(bob) as session:
        assert not identity.unlink_account(session, "google", "117")
    with database.owner_session() as session:
        session.execute(update(users).where(users.c.id == ann).values(deleted_at=DAY))
    with database.app_session() as session:
        assert identity.user_of_account(session, "google", "117") is None
    with database.user_session(bob) as session:
        identity.link_account(session, bob, "google", "117")
        assert identity.user_of_account(session, "google", "117") == bob
    with database.user_session(ann) as session:
        assert [line.provider for line in identity.accounts(session, ann)] == ["password"]
    with database.user_session(bob) as session:
        assert identity.unlink_account(session, "google", "117")
        assert identity.accounts(session, bob) == []
        assert identity.user_of_account(session, "google", "117") is None
    with database.owner_session() as session:
        session.execute(text("DELETE FROM carmenta.users WHERE id = :u"), {"u": ann})
    with database.user_session(bob) as session:
        identity.link_account(session, bob, "password", "a@b.c", password_hash="y")


def test_of_two_who_claim_an_account_at_once_one_gets_it(database: Database) -> None:
    with database.owner_session() as session:
        people = [add_user(session) for _ in range(4)]

    def claim(person: UUID) -> bool:
        try:
            with database.user_session(person) as session:
                identity.link_account(session, person, "github", "9")
        except AccountTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(claim, people))
    assert sum(got) == 1
    with database.app_session() as session:
        assert identity.user_of_account(session, "github", "9") == people[got.index(True)]


def test_a_session_ends_when_it_is_signed_out(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    token = identity.sign_in(session, user, A_MINUTE, "a browser")
    assert [line.user_agent for line in identity.open_sessions(session, user)] == ["a browser"]
    assert identity.sign_out(session, user, token)
    assert not identity.sign_out(session, user, token)
    assert identity.user_of_token(session, token) is None


def test_a_service_is_connected_and_connected_again(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    keys = Keys("a", {"a": OLD})
    for access in ("one", "two"):
        identity.connect_service(session, keys, user, "mail", Tokens(access, None, None), ["read"])
    assert identity.tokens(session, keys, user, "mail") == Tokens("two", None, None)


def test_assistants_and_settings_are_kept(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    ids = [assistants.add_assistant(session, user, name, "role", tools=["search"]) for name in ("Zoe", "Abe")]
    assert [line.id for line in assistants.assistants(session, user)] == ids[::-1]
    assert assistants.setting(session, user, "theme", "light") == "light"
    for value in ("dark", {"at": "night"}):
        assistants.keep_setting(session, user, "theme", value)
    assert assistants.setting(session, user, "theme") == {"at": "night"}


def test_what_was_decided_around_a_message_is_read_in_order(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    _, (message, other) = _conversation(session, user, 2)
    entries = (
        Preprocessing("ask", clarity=0.5, routing={"to": "x"}),
        ModelChoice(["a", "b"], "a", "fast"),
        Postprocessing(follow_ups=["?"]),
    )
    concierge.log_preprocessing(session, user, message, entries[0])
    concierge.log_model_selection(session, user, message, entries[1])
    concierge.log_postprocessing(session, user, message, entries[2])
    concierge.log_postprocessing(session, user, other, Postprocessing())
    found = [logged.entry for logged in concierge.log(session, user, message)]
    assert sorted(map(repr, found)) == sorted(map(repr, entries))
    memory.signal(session, user, "copy", 1, message_id=message)
    assert session.scalar(text("SELECT kind FROM carmenta.feedback_signals")) == "copy"


def test_documents_are_found_by_their_words_more_of_them_first(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    both = add_document(session, user, "a", "The roofs leaked near the chimney")
    one = add_document(session, user, "b", "A chimney sweep came along the way here")
    add_document(session, user, "c", "Nothing of it")
    gone = add_document(session, user, "d", "roof and chimney")
    _delete_softly(session, kept.documents, gone)
    found = knowledge.search_documents(session, user, "Does the roof leak by the chimney?")
    assert [(line.id, line.path) for line in found] == [(both, "a"), (one, "b")]
    assert found[0].rank > found[1].rank > 0
    assert [line.id for line in knowledge.search_documents(session, user, "roof chimney", at_most=1)] == [both]
    assert knowledge.search_documents(session, user, "the and of") == []
    assert knowledge.search_documents(session, user, "it's a \\ 'quoted' & (bracketed) | <-> !chimney:*")[0].id in (
        both,
        one,
    )
    assert knowledge.search_documents(session, user, " ".join(f"word{n}" for n in range(30_000))) == []
    assert knowledge.search_documents(session, user, "roof", at_most=-1) == []
    assert knowledge.search_documents(session, uuid4(), "roof") == []
    session.execute(text("SELECT set_config('carmenta.user_id', '', true)"))
    assert session.execute(text("SELECT * FROM carmenta.search_documents('roof', 'en', 9)")).all() == []


def test_links_are_read_from_both_ends_and_go_with_a_document(ann: tuple[Session, UUID]) -> None:
    session, user = ann
    one, two, three = (add_document(session, user, path, "x") for path in "abc")
    knowledge.link(session, user, one, two, "see")
    knowledge.link(session, user, one, two, "see also")
    knowledge.link(session, user, three, one)
    assert set(knowledge.links(session, user, one)) == {(one, two, "see also"), (three, one, None)}
    assert knowledge.links(session, user, two) == [(one, two, "see also")]
    _delete_softly(session, kept.documents, three)
    assert knowledge.links(session, user, one) == [(one, two, "see also")]
    assert knowledge.delete_document(session, user, two)
    assert not knowledge.delete_document(session, user, two)
    assert knowledge.links(session, user, one) == []
