"""What all tables share: naming, types, the owner's key, and the policies that isolate users."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DDL, CheckConstraint, ForeignKeyConstraint, Index, MetaData, Table, Text, event, text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from carmenta_lab.schema import words
from carmenta_lab.schema.identifiers import APP, LAB, OWNER, PRODUCT, SEARCH
from carmenta_lab.schema.letters import INDEXED_CHARACTERS, LANGUAGES

__all__ = ["APP", "INDEXED_CHARACTERS", "LAB", "LANGUAGES", "OWNER", "PRODUCT", "SEARCH", "Base"]


def words_of(column: str) -> str:
    """The expression of a generated tsvector: one function, so that a further language rewrites no table."""
    return f"{PRODUCT}.lexemes(language, {column})"


NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """Base of all tables: `str` is TEXT, `datetime` has a zone, constraints have predictable names."""

    metadata = MetaData(naming_convention=NAMING, schema=PRODUCT)
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: TIMESTAMP(timezone=True), str: Text}


class UserOwned(MappedAsDataclass, kw_only=True):
    """The key of every user-owned table: one index serves identity, isolation and locality."""

    user_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-2)
    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-1)


def of_user() -> ForeignKeyConstraint:
    """The foreign key of a row that belongs to its user directly."""
    return ForeignKeyConstraint(["user_id"], [f"{PRODUCT}.users.id"], ondelete="CASCADE")


def of(table: str, column: str) -> ForeignKeyConstraint:
    """A composite foreign key to a row of the same user, with which this row goes."""
    return ForeignKeyConstraint(
        ["user_id", column], [f"{PRODUCT}.{table}.user_id", f"{PRODUCT}.{table}.id"], ondelete="CASCADE"
    )


def about(table: str, column: str) -> ForeignKeyConstraint:
    """A composite foreign key to a row of the same user, which this row survives without it.

    Nothing happens when that row is deleted: whoever deletes clears the column first, in the same transaction, because
    a distributed PostgreSQL refuses to set a column null beside the one it distributes by.
    """
    return ForeignKeyConstraint(["user_id", column], [f"{PRODUCT}.{table}.user_id", f"{PRODUCT}.{table}.id"])


UTC_OFFSET = "Minutes that the writer's clock was ahead of UTC: the date shown is the writer's; null is read as 0."


def deleted_index(table: str) -> Index:
    """The index of what was deleted softly: small, for the bin, its emptying, and what search must not see."""
    return Index(f"ix_{table}_deleted", "user_id", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL"))


def utc_offset_check() -> CheckConstraint:
    """What is less than a day is an offset."""
    return CheckConstraint("utc_offset BETWEEN -1439 AND 1439", name="utc_offset")


FUNCTIONS = (
    f"""
    CREATE FUNCTION {PRODUCT}.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('carmenta.user_id', true), '')::uuid
    """,
    f"COMMENT ON FUNCTION {PRODUCT}.current_user_id() IS "
    "'For whom the transaction acts; put the host''s own in its place where it has one.'",
    *words.FUNCTIONS,
)
"""What the tables of the product refer to."""


ALL = "SELECT, INSERT, UPDATE, DELETE"
APPEND = "SELECT, INSERT"
"""What the application may do to its rows; appended rows are never changed."""


def isolate(table: str, column: str = "user_id", may: str = ALL) -> list[str]:
    """Statements that make a table, `schema.name`, show the application role only the rows of the current user.

    Row-level security is forced, so that the owner is subject to it as well; a policy of its own shows the
    owner every row. Without a current user the application role sees nothing. The policy has no subquery, which a
    distributed PostgreSQL refuses; a statement that names its user by a parameter has it checked once, not by the row.
    """
    mine = f"{column} = {PRODUCT}.current_user_id()"
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY owner_all ON {table} TO {OWNER} USING (true) WITH CHECK (true)",
        f"CREATE POLICY app_own_rows ON {table} TO {APP} USING ({mine}) WITH CHECK ({mine})",
        f"GRANT {may} ON {table} TO {APP}",
    ]


def ddl(statement: str) -> DDL:
    """A statement to be executed as it stands."""
    return DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]


def after_create(table: Table, *statements: str) -> None:
    """Have statements run whenever the metadata creates the table."""
    for statement in statements:
        event.listen(table, "after_create", ddl(statement))


def isolated(table: Table, column: str = "user_id", may: str = ALL) -> None:
    """Have `isolate` run whenever the metadata creates the table."""
    after_create(table, *isolate(table.fullname, column, may))


@event.listens_for(Base.metadata, "before_create")
def _create_functions(_: MetaData, connection: Connection, **__: Any) -> None:
    for statement in (*FUNCTIONS, *(f"GRANT USAGE ON SCHEMA {schema} TO {APP}" for schema in (PRODUCT, SEARCH, LAB))):
        connection.execute(ddl(statement))
