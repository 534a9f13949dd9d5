"""What does reading a context cost beyond three bare statements, and does it grow with the conversation?"""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid5

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from carmenta_lab.bench.measure import Bench, Result, alternate
from carmenta_lab.context import BundledCounter, policies
from carmenta_lab.context.counts import keep_counts, uncounted
from carmenta_lab.context.found import read_found
from carmenta_lab.context.material import Found, Material
from carmenta_lab.context.packing import pack
from carmenta_lab.context.policy import Policy
from carmenta_lab.context.reading import Reading, read_said
from carmenta_lab.context.sizes import Sizes
from carmenta_lab.indexing.writing import UNNOTED
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.statement import driver
from carmenta_lab.records import Hit, Query, Ranking
from carmenta_lab.scale.generate import texts
from carmenta_lab.schema.product.conversations import Conversation, Message
from carmenta_lab.schema.product.memory import Memory, Profile
from carmenta_lab.schema.product.token_counts import TokenCount
from carmenta_lab.schema.search.passages import Passage

LENGTHS = (50, 500)
"""Messages of the shorter conversations; the longest has as many as there are rows."""
MEMORIES = 400
HITS = 20
READS = 20
"""Contexts a measurement."""
BUDGET = 8_000

_BARE = (
    "SELECT id, content FROM carmenta.profiles WHERE user_id = %(user)s",
    """
    SELECT m.id, m.external_id, m.role, m.author, m.content, m.content_for_llm, m.parent_id, m.created_at, t.tokens
    FROM carmenta.messages m
    LEFT JOIN carmenta.token_counts t ON t.user_id = %(user)s AND t.message_id = m.id AND t.counter = %(counter)s
    WHERE m.user_id = %(user)s AND m.conversation_id = %(conversation)s AND m.deleted_at IS NULL
    ORDER BY m.position DESC, m.id DESC LIMIT 50
    """,
    """
    SELECT p.id, p.content, p.created_at, p.author, k.external_id, k.content, k.source_message_id, k.superseded_by,
        m.external_id, m.role, d.external_id, d.name
    FROM search.passages p
    LEFT JOIN carmenta.memories k ON k.user_id = %(user)s AND k.id = p.memory_id
    LEFT JOIN carmenta.messages m ON m.user_id = %(user)s AND m.id = p.message_id
    LEFT JOIN carmenta.documents d ON d.user_id = %(user)s AND d.id = p.document_id
    WHERE p.user_id = %(user)s AND p.id = ANY(%(passages)s)
    """,
)
"""The columns that a context is made of and nothing else: the conversation is known, and neither branches nor what
was deleted, superseded or replaced are asked for."""

_CONVERSATION = (
    "DELETE FROM carmenta.users WHERE id = :user",
    "INSERT INTO carmenta.users (id, name) VALUES (:user, 'bench')",
    "INSERT INTO carmenta.profiles (user_id, id, content) VALUES (:user, :user, 'Lives by the sea and likes tea.')",
    "INSERT INTO carmenta.conversations (user_id, id, started_at, last_message_at) "
    "VALUES (:user, :user, '2025-01-01Z', "
    "'2025-01-01Z'::timestamptz + make_interval(mins => cardinality(CAST(:said AS text[]))))",
    "INSERT INTO carmenta.messages (user_id, id, conversation_id, position, role, content, created_at) "
    "SELECT :user, gen_random_uuid(), :user, n, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, said, "
    "'2025-01-01Z'::timestamptz + make_interval(mins => n::int) "
    "FROM unnest(CAST(:said AS text[])) WITH ORDINALITY AS m (said, n)",
    "INSERT INTO carmenta.memories (user_id, id, category, content, created_at) "
    "SELECT :user, gen_random_uuid(), 'knowledge', said, '2025-01-01Z' "
    "FROM unnest(CAST(:learned AS text[])) AS m (said)",
    "INSERT INTO search.passages (user_id, id, unit, ordinal, content, memory_id, created_at) "
    "SELECT :user, gen_random_uuid(), 'memory', 0, content, id, created_at "
    "FROM carmenta.memories WHERE user_id = :user",
)

Work = Callable[[], object]


def context(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """What a context reads, by length of conversation, against bare statements and ORM entities; and its packing."""
    users = {length: _converse(database, length, seed) for length in (*LENGTHS, rows)}
    results = []
    for length, user in users.items():
        with database.user_session(user) as session:
            ranking = _ranking(session, user)
            bare, ours = _bare(session, user, ranking), _ours(session, user, ranking)
            ours()
            what = "profile, last 50 messages and 20 passages by three bare prepared statements, binary"
            found = alternate(_times(bare), _times(ours), repeats, warm_up=3)
            results.append(_result(f"context_{length}", found, length, repeats, what))
            found = alternate(_times(_entities(session, user, ranking)), _times(ours), repeats)
            what = "the same through ORM entities"
            results.append(_result(f"context_entities_{length}", found, length, repeats, what))
    results.append(_flat(database, users[LENGTHS[0]], users[rows], rows, repeats))
    results += _policy(database, users[rows], rows, repeats)
    with database.owner.begin() as connection:
        for user in users.values():
            connection.exec_driver_sql("DELETE FROM carmenta.users WHERE id = %s", (user,))
    return results


def _converse(database: Database, length: int, seed: int) -> UUID:
    """A user with a conversation of that length, whose latest messages are counted, and with memories."""
    user = uuid5(UUID(int=8), str(length))
    values = {"user": user, "said": list(texts(length, seed)), "learned": list(texts(MEMORIES, seed + 1))}
    with database.owner.begin() as connection:
        connection.exec_driver_sql(UNNOTED, (True,))
        for statement in _CONVERSATION:
            connection.execute(text(statement), values)
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE carmenta.messages, search.passages, carmenta.memories")
    with database.user_session(user) as session:
        read = read_said(session, _query(user), None, 50, BUDGET, BundledCounter().name)
        material = Material(_query(user), said=read.said)
        keep_counts(session, user, uncounted(material), Sizes(BundledCounter()))
    with database.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE carmenta.token_counts")
    return user


def _query(user: UUID) -> Query:
    return Query("bench", user, "which tea does one drink by the sea")


def _ranking(session: Session, user: UUID) -> Ranking:
    found = session.execute(
        select(Passage.id, Passage.source_id).where(Passage.user_id == user).order_by(Passage.id).limit(HITS)
    )
    return Ranking("bench", tuple(Hit(p, s, "memory", rank, 1 / rank) for rank, (p, s) in enumerate(found, 1)))


def _bare(session: Session, user: UUID, ranking: Ranking) -> Work:
    raw = driver(session)
    values = {"user": user, "conversation": user, "passages": [hit.passage_id for hit in ranking.hits]}
    values["counter"] = BundledCounter().name

    def read() -> None:
        for statement in _BARE:
            raw.execute(statement, values, prepare=True, binary=True).fetchall()

    return read


def _ours(session: Session, user: UUID, ranking: Ranking) -> Callable[[], tuple[Reading, tuple[Found, ...]]]:
    query, counter = _query(user), BundledCounter().name

    def read() -> tuple[Reading, tuple[Found, ...]]:
        return read_said(session, query, None, 50, BUDGET, counter), read_found(session, query, ranking, counter)

    return read


def _entities(session: Session, user: UUID, ranking: Ranking) -> Work:
    """The rows that ours reads, as entities that the session does not know yet."""
    wanted = [hit.passage_id for hit in ranking.hits]

    def read() -> None:
        session.expunge_all()
        session.scalars(select(Profile).where(Profile.user_id == user)).all()
        latest = session.scalars(
            select(Conversation).where(Conversation.user_id == user).order_by(Conversation.last_message_at.desc())
        ).first()
        assert latest is not None
        said = session.scalars(
            select(Message)
            .where(Message.user_id == user, Message.conversation_id == latest.id, Message.deleted_at.is_(None))
            .order_by(Message.position.desc(), Message.id.desc())
            .limit(50)
        ).all()
        session.scalars(
            select(TokenCount).where(
                TokenCount.user_id == user,
                TokenCount.message_id.in_([message.id for message in said]),
                TokenCount.counter == BundledCounter().name,
            )
        ).all()
        passages = session.scalars(select(Passage).where(Passage.user_id == user, Passage.id.in_(wanted))).all()
        keys = [passage.memory_id for passage in passages]
        session.scalars(select(Memory).where(Memory.user_id == user, Memory.id.in_(keys))).all()

    return read


def _flat(database: Database, short: UUID, long: UUID, rows: int, repeats: int) -> Result:
    """The longest conversation against the shortest, in one transaction after another."""
    works = []
    for user in (short, long):
        with database.user_session(user) as session:
            ranking = _ranking(session, user)

        def read(user: UUID = user, ranking: Ranking = ranking) -> None:
            with database.user_session(user) as session:
                _times(_ours(session, user, ranking))()

        works.append(read)
    found = alternate(works[0], works[1], repeats, warm_up=2)
    return _result("context_flat", found, rows, repeats, f"the same for a conversation of {LENGTHS[0]} messages")


def _policy(database: Database, user: UUID, rows: int, repeats: int) -> list[Result]:
    """Packing by `mission_order` with compression against without, everything read and counted before."""
    policy, counter = policies.load("mission_order"), BundledCounter()
    with database.user_session(user) as session:
        read, found = _ours(session, user, _ranking(session, user))()
    material = Material(_query(user), read.profile, read.profile_source, read.said, found)

    def packed(policy: Policy) -> Work:
        return lambda: pack(material, policy, BUDGET, Sizes(counter))

    found_ms = alternate(packed(replace(policy, compression="stored")), packed(policy), repeats, warm_up=2)
    what = "the policy alone: packing what was read, without compression"
    return [_result("context_compression", found_ms, rows, repeats, what, 1)]


def _times(work: Work, times: int = READS) -> Work:
    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated


def _result(name: str, found: tuple[float, float], rows: int, repeats: int, what: str, times: int = READS) -> Result:
    limit, ours = found
    return Result(name, limit / times, ours / times, rows, repeats, what)


BENCHES = (Bench("context", context, rows=5_000, repeats=15),)
