"""The tables for other tools: DBML for dbdiagram and its kin, and the SQL that would make them."""

from typing import Any

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
    create_mock_engine,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem

from carmenta_lab.schema import metadata
from carmenta_lab.schema.diagram import tables_of


def dbml(domain: str | None = None) -> str:
    """DBML of one domain, or of all: columns, keys, notes, indexes, references. UnknownName lists the domains."""
    tables = tables_of(domain)
    inside = {table.fullname for table in tables}
    blocks = [_table(table) for table in tables]
    for table in tables:
        keys = sorted(table.foreign_key_constraints, key=lambda key: list(key.column_keys))
        blocks += [_reference(key) for key in keys if key.referred_table.fullname in inside]
    return "\n\n".join(blocks) + "\n"


def sql(domain: str | None = None) -> str:
    """The statements that make the tables of one domain, or of all, with their indexes, policies and comments.

    One domain alone refers to tables of others; what makes a database is the chain of migrations.
    """
    statements: list[str] = []
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    def keep(statement: SchemaItem | DDL, *_: Any, **__: Any) -> None:
        lines = str(statement.compile(dialect=dialect)).strip().replace("\t", "    ").splitlines()  # type: ignore[union-attr]
        statements.append("\n".join(line.rstrip() for line in lines) + ";")

    engine = create_mock_engine("postgresql+psycopg://", keep)
    metadata.create_all(engine, tables=tables_of(domain), checkfirst=False)
    return "\n\n".join(statements) + "\n"


def _table(table: Table) -> str:
    lines = [f"  {_column(column)}" for column in table.columns]
    names = ", ".join(column.name for column in table.primary_key.columns)
    indexes = [f"    ({names}) [pk]"] if len(table.primary_key.columns) > 1 else []
    for constraint in sorted(table.constraints, key=lambda c: str(c.name)):
        if isinstance(constraint, UniqueConstraint):
            indexes.append(f"    ({', '.join(c.name for c in constraint.columns)}) [unique, name: '{constraint.name}']")
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        parts = ", ".join(e.name if isinstance(e, Column) else f"`{e}`" for e in index.expressions)
        unique = "unique, " if index.unique else ""
        indexes.append(f"    ({parts}) [{unique}name: '{index.name}']")
    if indexes:
        lines += ["", "  indexes {", *indexes, "  }"]
    checks = [c for c in table.constraints if isinstance(c, CheckConstraint)]
    rules = "; ".join(sorted(str(check.sqltext) for check in checks))
    note = f"{table.comment} Checks: {rules}" if rules else str(table.comment)
    return f"Table {table.fullname} {{\n" + "\n".join(lines) + f"\n\n  Note: {_quoted(note)}\n}}"


def _column(column: "Column[Any]") -> str:
    kind = column.type.compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    settings = ["pk"] if column.primary_key and len(column.table.primary_key.columns) == 1 else []
    if not column.nullable and "pk" not in settings:
        settings.append("not null")
    if isinstance(column.computed, Computed):
        settings.append("note: 'generated'")
    elif column.comment:
        settings.append(f"note: {_quoted(column.comment)}")
    shown = f'"{kind}"' if " " in kind or "[" in kind else kind
    return f"{column.name} {shown}" + (f" [{', '.join(settings)}]" if settings else "")


def _reference(key: ForeignKeyConstraint) -> str:
    ours, theirs = [c.name for c in key.columns], [e.column.name for e in key.elements]
    end = "cascade" if key.ondelete == "CASCADE" else "no action"
    return (
        f"Ref {key.name}: {key.table.fullname}.({', '.join(ours)}) > "
        f"{key.referred_table.fullname}.({', '.join(theirs)}) [delete: {end}]"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
