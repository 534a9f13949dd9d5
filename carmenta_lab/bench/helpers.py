"""What does a query helper cost beyond its bare prepared statement?"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlalchemy.sql import ClauseElement

from carmenta_lab.app import artifacts, conversations, knowledge, memory, operations
from carmenta_lab.bench.crowd import fill, number
from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.statement import compiled, driver

CALLS = 1
"""Calls a measurement: one, so that what else the machine does meets few of them, and the median none."""

ME, FIRST = number(1), number(50)
DAY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = DAY + timedelta(days=1000)
MINUTE = timedelta(minutes=1)
LINE = conversations.ConversationLine(number(4000), None, "active", DAY + timedelta(days=1))
SEEN = conversations.MessageLine(number(1), 3, "user", None, "x", None, DAY)

Case = tuple[Callable[[Session], object], Callable[[], ClauseElement | tuple[ClauseElement, ...]]]
CASES: dict[str, Case] = {
    "page": (lambda s: conversations.page(s, ME, 20), lambda: conversations.page_statement(ME, 20)),
    "page_after": (
        lambda s: conversations.page(s, ME, 20, LINE), lambda: conversations.page_statement(ME, 20, LINE),
    ),
    "messages": (
        lambda s: conversations.messages(s, ME, FIRST, 20, SEEN),
        lambda: conversations.messages_statement(ME, FIRST, 20, SEEN),
    ),
    "delete_messages_from": (
        lambda s: conversations.delete_messages_from(s, ME, FIRST, LATE),
        lambda: (
            conversations.clear_sources_statement(ME, conversations.said_since(ME, FIRST, LATE)),
            conversations.clear_parents_statement(ME, conversations.said_since(ME, FIRST, LATE)),
            conversations.delete_messages_from_statement(ME, FIRST, LATE),
        ),
    ),
    "count_messages": (
        lambda s: conversations.count_messages(s, ME, DAY), lambda: conversations.count_messages_statement(ME, DAY),
    ),
    "vote": (lambda s: conversations.vote(s, ME, FIRST, True), lambda: conversations.vote_statement(ME, FIRST, True)),
    "history": (lambda s: artifacts.history(s, ME, FIRST), lambda: artifacts.history_statement(ME, FIRST, 100)),
    "newest": (lambda s: artifacts.newest(s, ME, FIRST), lambda: artifacts.history_statement(ME, FIRST, 1)),
    "delete_versions_from": (
        lambda s: artifacts.delete_versions_from(s, ME, FIRST, LATE),
        lambda: artifacts.delete_versions_from_statement(ME, FIRST, LATE),
    ),
    "relations": (lambda s: artifacts.relations(s, ME, FIRST), lambda: artifacts.relations_statement(ME, FIRST, 100)),
    "facts": (lambda s: memory.facts(s, ME), lambda: memory.facts_statement(ME, None, 100)),
    "facts_as_of": (
        lambda s: memory.facts(s, ME, DAY + MINUTE), lambda: memory.facts_statement(ME, DAY + MINUTE, 100),
    ),
    "mark_used": (
        lambda s: memory.mark_used(s, ME, [FIRST, number(100)]),
        lambda: memory.mark_used_statement(ME, [FIRST, number(100)]),
    ),
    "tree": (lambda s: knowledge.tree(s, ME), lambda: knowledge.tree_statement(ME, None, 1000)),
    "take": (lambda s: operations.take(s, ME, "w", MINUTE), lambda: operations.take_statement(ME, "w", MINUTE)),
    "finish": (
        lambda s: operations.finish(s, ME, FIRST, "w", 1), lambda: operations.finish_statement(ME, FIRST, "w", 1, None),
    ),
    "fail": (
        lambda s: operations.fail(s, ME, FIRST, "w", "e", MINUTE),
        lambda: operations.fail_statement(ME, FIRST, "w", "e", MINUTE),
    ),
    "come_back": (lambda s: operations.come_back(s, ME), lambda: operations.come_back_statement(ME)),
}  # fmt: skip
"""Helper -> how it is called, and its statement or statements."""


def helping(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Each helper against its own SQL prepared on psycopg, both as the application in one open transaction."""
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    fill(database, rows)
    with database.user_session(ME) as session:
        found = [_measure(session, name, case, rows, repeats) for name, case in CASES.items()]
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users CASCADE")
    return found


def _measure(session: Session, name: str, case: Case, rows: int, repeats: int) -> Result:
    call, statement = case
    built = statement()
    statements = [compiled(each) for each in (built if isinstance(built, tuple) else (built,))]
    raw = driver(session)

    def afresh() -> None:
        session.execute(text("ROLLBACK TO SAVEPOINT bench"))

    def limit() -> None:
        for _ in range(CALLS):
            for one in statements:
                cursor = raw.execute(one.text, one.own, prepare=True, binary=True)
                if cursor.description is not None:
                    cursor.fetchall()

    def ours() -> None:
        for _ in range(CALLS):
            call(session)

    session.execute(text("SAVEPOINT bench"))  # undone before each measurement: a query is taken once
    limit_ms, ours_ms = alternate(limit, ours, repeats, before=afresh, warm_up=10)
    what = "its own SQL as a prepared statement on psycopg, binary"
    return Result(name, limit_ms / CALLS, ours_ms / CALLS, rows, repeats, what)
