"""How are the tables of a domain laid out? An entity-relationship diagram in Mermaid, from the metadata itself."""

from typing import cast

from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from carmenta_lab.errors import UnknownName
from carmenta_lab.schema import DOMAINS, Base
from carmenta_lab.schema.base import LAB

_SHORT = {"timestamp with time zone": "timestamptz", "double precision": "float8"}


COMPACT = '%%{init: {"er": {"diagramPadding": 8, "entityPadding": 6}}}%%'
"""Rows half as high as Mermaid's own: the largest table takes half a screen."""

CHAINED = ("conversations", "knowledge", "retrieval")
"""Domains whose tables refer to each other in a row: drawn from left to right, where the others go down."""


def tables_of(domain: str | None = None) -> list[Table]:
    """The tables of one domain, or of all, in the order of the reading; UnknownName lists the domains."""
    if domain is not None and domain not in DOMAINS:
        raise UnknownName("domain", domain, DOMAINS)
    modules = DOMAINS.values() if domain is None else [DOMAINS[domain]]
    return [
        cast("Table", found.__table__)
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Base) and found.__module__ == module.__name__
    ]


def mermaid(domain: str | None = None) -> str:
    """An `erDiagram` of one domain, or of all: columns, types, keys and relations.

    A table of another domain that is referred to appears as a box without columns. So that a domain stands on one
    screen, the first half of every user-owned key, `user_id`, is left out, and so are the lines from there to the
    users unless these are of the domain.
    """
    lines = [COMPACT, "erDiagram", *(["    direction LR"] if domain in CHAINED else [])]
    tables = tables_of(domain)
    for table in tables:
        lines += [f"    {table.name} {{", *(f"        {_column(column)}" for column in _shown(table)), "    }"]
    for table in tables:
        keys = sorted(table.foreign_key_constraints, key=lambda key: list(key.column_keys))
        lines += [f"    {_relation(key)}" for key in keys if shows(key, tables)]
    return "\n".join(lines) + "\n"


def shows(key: ForeignKeyConstraint, tables: list[Table]) -> bool:
    """Whether a diagram of these tables has a line for the key."""
    return key.referred_table.name != "users" or key.referred_table in tables


def _shown(table: Table) -> "list[Column[object]]":
    return [column for column in table.columns if table.schema == LAB or column.name != "user_id"]


def _column(column: "Column[object]") -> str:
    """ "uuid user_id PK, FK"."""
    kind = column.type.compile(postgresql.dialect()).lower().partition(" collate ")[0]  # type: ignore[no-untyped-call]
    keys = ["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys)
    unique = [c for c in column.table.constraints if isinstance(c, UniqueConstraint)]
    if any(list(constraint.columns) == [column] for constraint in unique):
        keys.append("UK")
    return f"{_SHORT.get(kind, kind)} {column.name} {', '.join(keys)}".rstrip()


def _relation(key: ForeignKeyConstraint) -> str:
    """ "conversations ||--o{ messages : conversation_id"; a column that may be null makes the parent optional."""
    child, parent = key.table, key.referred_table
    columns = list(key.columns)
    own = [
        set(child.primary_key.columns),
        *(set(c.columns) for c in child.constraints if isinstance(c, UniqueConstraint)),
    ]
    one = "|o" if any(column.nullable for column in columns) else "||"
    many = "o|" if set(columns) in own else "o{"
    label = columns[1 if len(columns) > 1 else 0].name  # what is not the user
    return f"{parent.name} {one}--{many} {child.name} : {label}"
