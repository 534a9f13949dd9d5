"""Does every statement of the library name its user, so that a router of a distributed PostgreSQL could see it?

Where it does, the policy of a table adds nothing that would be read for a row: the plan asks it once, before it begins.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakSet

import psycopg
import pytest
from sqlalchemy import text
from test_distributable import _owned
from test_queries import PLANS

import carmenta_lab
from carmenta_lab import strategies
from carmenta_lab.app import (
    concierge,
    conversations,
    delete_message,
    edit_message,
    undelete_message,
    write_document,
    write_memory,
    write_message,
)
from carmenta_lab.context.assemble import assemble
from carmenta_lab.ids import Ids
from carmenta_lab.indexing import worker
from carmenta_lab.indexing.lacking import repair
from carmenta_lab.postgres import Database
from carmenta_lab.postgres.postponed import postponing_connection
from carmenta_lab.postgres.statement import compiled
from carmenta_lab.records import Query
from carmenta_lab.retrieval.search import search

NORA = Ids("sample").of("user", "nora")
ASKED = "Where did we park the bikes in May?"
CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "Join Filter", "Hash Cond", "Merge Cond")
"""Where a plan reads a condition row by row; what is asked once stands in a One-Time Filter."""


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Text and parameters of what the application's role executes on the driver, whoever asks for it.

    A connection has that role by its login, or by what its transactions begin with.
    """
    seen: list[tuple[str, Any]] = []
    applications: WeakSet[psycopg.Connection[Any]] = WeakSet()
    execute, executemany = psycopg.Cursor.execute, psycopg.Cursor.executemany

    def note(cursor: psycopg.Cursor[Any], query: Any, given: Any) -> None:
        said = query.decode() if isinstance(query, bytes) else query
        said = said if isinstance(said, str) else said.as_string(cursor)
        if cursor.connection.info.user == "carmenta_app" or "set_config('role', 'carmenta_app'" in said:
            applications.add(cursor.connection)
        if cursor.connection in applications:
            seen.append((said, given))

    def one(self: Any, query: Any, params: Any = None, **more: Any) -> Any:
        note(self, query, params)
        return execute(self, query, params, **more)

    def many(self: Any, query: Any, every: Any, **more: Any) -> Any:
        rows = list(every)
        if rows:
            note(self, query, rows[0])
        return executemany(self, query, rows, **more)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", one)
        patch.setattr(psycopg.Cursor, "executemany", many)
        yield seen


def unnamed(plan: dict[str, Any]) -> list[str]:
    """Conditions of a plan that read the acting user row by row: the statement names nobody for that table.

    What stands below a condition that is false is never executed.
    """
    if plan.get("One-Time Filter") == "false":
        return []
    found = [
        f"{plan.get('Relation Name', plan['Node Type'])}: {plan[name]}"
        for name in CONDITIONS
        if "current_setting" in str(plan.get(name, ""))
    ]
    return found + [each for below in plan.get("Plans", []) for each in unnamed(below)]


def explained(raw: psycopg.Connection[Any], query: str, given: Any) -> dict[str, Any]:
    row = raw.execute(f"EXPLAIN (FORMAT JSON) {query}", given).fetchone()
    assert row is not None
    found = row[0] if not isinstance(row[0], str) else json.loads(row[0])
    return dict(found[0]["Plan"])


def exercise(database: Database) -> None:
    """What a backend does all day, once."""
    with database.user_session(NORA) as session:
        latest = conversations.page(session, NORA, limit=1)[0]
        written = write_message(session, latest.id, "user", "I sold the boat to Pelle. Is that all right?")
        write_message(session, latest.id, "assistant", "It is.")
        edit_message(session, written.id, "I sold the boat to Britta.")
        delete_message(session, written.id)
        undelete_message(session, written.id)
        memory = write_memory(session, "personal", "The boat is Britta's.", source_message_id=written.id)
        write_memory(session, "personal", "The boat is Pelle's again.", supersedes=memory.id)
        write_document(session, "boats.sold", "Sold", "One boat, to Britta.", tags=["boat"])
        concierge.log(session, NORA, written.id)
    with database.user_session(NORA) as session:
        session.execute(
            text("UPDATE carmenta.messages SET content = 'Nobody bought it.' WHERE user_id = :user AND id = :id"),
            {"user": NORA, "id": written.id},
        )
    worker.run(database, once=True)
    with database.user_session(NORA) as session:
        for name in strategies.names():
            search(session, strategies.load(name), Query("q", NORA, ASKED), 5)
        for policy in ("mission_order", "retrieved_first"):
            assemble(session, Query("q", NORA, ASKED), policy=policy, budget_tokens=2_000)
    repair(database, NORA)


def test_every_statement_of_the_application_names_its_user(
    own_sample: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {name: re.compile(rf"\b{re.escape(name)}\b") for name in _owned(own_sample)}
    with recorded(monkeypatch) as seen:
        exercise(own_sample)
    every = {query: given for query, given in seen if any(name.search(query) for name in tables.values())}
    assert len(every) > 50
    wrong = []
    with own_sample.user_session(NORA) as session:
        raw = postponing_connection(session.connection())
        raw.execute("SET LOCAL enable_seqscan = on")
        for query, given in every.items():
            if not query.lstrip().upper().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
                continue
            with raw.transaction(force_rollback=True):
                wrong += [f"{query}\n-> {each}" for each in unnamed(explained(raw, query, given))]
    assert wrong == []


@pytest.mark.parametrize("statement", [made for made, _ in PLANS.values()], ids=list(PLANS))
def test_every_helper_names_its_user(sample: Database, statement: Callable[[], Any]) -> None:
    asked = compiled(statement())
    with sample.user_session(UUID(int=1)) as session:
        explain = session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {asked.text}", dict(asked.own))
        assert unnamed(explain.scalar_one()[0]["Plan"]) == []


def test_a_statement_that_does_not_name_its_user_is_noticed(sample: Database) -> None:
    """A test of the test."""
    with sample.user_session(NORA) as session:
        raw = postponing_connection(session.connection())
        assert unnamed(explained(raw, "SELECT content FROM carmenta.messages WHERE id = %s", (NORA,)))
        named = "SELECT content FROM carmenta.messages WHERE user_id = %s AND id = %s"
        assert not unnamed(explained(raw, named, (NORA, NORA)))


def test_every_function_names_its_user(sample: Database) -> None:
    """The functions that write and read the index: each table of theirs is looked up by the user they were given."""
    with sample.owner_session() as session:
        sources = session.execute(
            text(
                "SELECT oid::regprocedure::text AS name, prosrc FROM pg_proc "
                "WHERE pronamespace = 'search'::regnamespace AND prorettype <> 'trigger'::regtype "
                "AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql')"
            )
        ).all()
    assert len(sources) > 5
    names = re.compile(r"\b(?:FROM|JOIN|UPDATE|DELETE FROM)\s+(?:carmenta|search)\.(\w+)(?!\w*\()", re.IGNORECASE)
    for name, source in sources:
        tables = [found for found in names.findall(source) if f"{found}(" not in source]
        assert len(re.findall(r"user_id\s*=\s*person", source)) >= len(tables), name


EXEMPT = ("postgres",)
"""Parts that ask the driver themselves: `postgres` for all others, and those that time it or watch it."""


def by_number(found: ast.AST) -> bool:
    """Whether this takes a column of a row by its number, such as `row[3]`, `rows[0][1]`, `cursor.fetchone()[0]`."""
    if not isinstance(found, ast.Subscript):
        return False
    of, index = found.value, found.slice.operand if isinstance(found.slice, ast.UnaryOp) else found.slice
    if not isinstance(index, ast.Constant) or not isinstance(index.value, int):
        return False
    return ast.unparse(of) == "row" or bool(re.fullmatch(r"rows\[[^\]]*\]|.*\.fetch(one|all)\(\)", ast.unparse(of)))


def test_rows_are_read_by_name_and_the_driver_is_asked_for_in_one_place() -> None:
    package = Path(carmenta_lab.__file__).parent
    wrong = [
        f"{file.relative_to(package)}:{found.lineno}: {ast.unparse(found)}"
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).parts[0] not in EXEMPT
        for found in ast.walk(ast.parse(file.read_text()))
        if by_number(found) or (isinstance(found, ast.Attribute) and found.attr == "driver_connection")
    ]
    assert wrong == []
    assert by_number(ast.parse("row[-1]", mode="eval").body)
    assert by_number(ast.parse("rows[0][1]", mode="eval").body)
    assert not by_number(ast.parse("rows[-1].id", mode="eval").body)
