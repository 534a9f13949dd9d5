"""What of a user's rows does the index not follow yet? Notes of what other clients wrote, changed or deleted."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Table, func, text
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import APP, PRODUCT, SEARCH, Base, after_create, isolated, of_user

SETTING = "carmenta.indexing"
"""While it is `AT_ONCE` nothing is noted: whoever sets it has the index follow in the same transaction."""
AT_ONCE = "at_once"

KINDS = ("user", "conversation", "message", "memory", "document")


class Note(Base):
    """A note that the index must follow a changed row: one note a row, however often it changed."""

    __tablename__ = "outbox"
    __table_args__ = (
        of_user(),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint("num_nonnulls(lease_until, worker) IN (0, 2)", name="lease"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("ix_outbox_due", "run_after", postgresql_where=text("run_after < 'infinity'")),
        {"schema": SEARCH, "comment": "Rows that other clients wrote, changed or deleted, until the index follows."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    source_id: Mapped[UUID] = mapped_column(
        primary_key=True, comment="The row; a conversation or the user stands for all that is below."
    )
    kind: Mapped[str] = mapped_column(comment="user, conversation, message, memory or document.")
    noted_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())
    revision: Mapped[int] = mapped_column(
        BigInteger,
        default=1,
        server_default="1",
        comment="Raised by each further note: a worker takes away what it saw.",
    )
    removed: Mapped[bool] = mapped_column(
        default=False,
        server_default=text("false"),
        comment="Whether the row was deleted for good: its words may then outlast its passages.",
    )
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_after: Mapped[datetime] = mapped_column(
        init=False,
        server_default=func.now(),
        comment="Not before; a retry moves it, a lease to the lease's end; infinity when the attempts are used up.",
    )
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    worker: Mapped[str | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None, comment="Why the last attempt failed.")


_SAFE = "SET search_path = pg_catalog, pg_temp"

_NOTE = f"""
        INSERT INTO {SEARCH}.outbox AS o (user_id, source_id, kind, removed)
        SELECT {{owner}}, {{row}}.id, TG_ARGV[0], TG_OP = 'DELETE' {{where}}
        ON CONFLICT (user_id, source_id) DO UPDATE SET revision = o.revision + 1, noted_at = now(), attempts = 0,
            removed = o.removed OR excluded.removed, run_after = now(), lease_until = NULL, worker = NULL, error = NULL;
"""


def _noting(name: str, owner: str, what: str) -> tuple[str, ...]:
    """A trigger function; as the owner, so that whoever may write the row may note it."""
    living = f"WHERE EXISTS (SELECT FROM {PRODUCT}.users u WHERE u.id = OLD.{owner})"
    gone = _NOTE.format(owner=f"OLD.{owner}", row="OLD", where=living)
    there = _NOTE.format(owner=f"NEW.{owner}", row="NEW", where="")
    body = f"IF TG_OP = 'DELETE' THEN {gone} ELSE {there} END IF;" if name == "note_row" else there
    return (
        f"""
    CREATE FUNCTION {SEARCH}.{name}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER {_SAFE} AS $$
    BEGIN
        {body.strip()}
        RETURN NULL;
    END $$
    """,
        f"REVOKE ALL ON FUNCTION {SEARCH}.{name}() FROM PUBLIC",
        f"COMMENT ON FUNCTION {SEARCH}.{name}() IS '{what}'",
    )


FUNCTIONS = (
    *_noting("note_row", "user_id", "Notes a row of a user for the worker; nothing of a user who is gone."),
    *_noting("note_user", "id", "Notes that a user was deleted softly, or that this was undone."),
    f"""
    CREATE FUNCTION {SEARCH}.noted(person uuid, source uuid) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE {_SAFE} AS $$
    BEGIN
        RETURN (SELECT o.kind FROM {SEARCH}.outbox o WHERE o.user_id = person AND o.source_id IN (source, person,
            (SELECT m.conversation_id FROM {PRODUCT}.messages m WHERE m.user_id = person AND m.id = source))
            ORDER BY o.kind = 'user' DESC LIMIT 1);
    END $$
    """,
    f"COMMENT ON FUNCTION {SEARCH}.noted(uuid, uuid) IS 'Whether the index may hold an old form of a source: the kind "
    "of the note on it, on its conversation or on its user; null when there is none.'",
    f"""
    CREATE FUNCTION {SEARCH}.users_with_notes(at_most integer) RETURNS SETOF uuid
    LANGUAGE sql VOLATILE SECURITY DEFINER {_SAFE}
    BEGIN ATOMIC
        SELECT o.user_id FROM {SEARCH}.outbox o WHERE o.run_after <= now()
        GROUP BY o.user_id ORDER BY min(o.run_after), o.user_id LIMIT at_most;
    END
    """,
    f"REVOKE ALL ON FUNCTION {SEARCH}.users_with_notes(integer) FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {SEARCH}.users_with_notes(integer) TO {APP}",
    f"COMMENT ON FUNCTION {SEARCH}.users_with_notes(integer) IS "
    "'For whom a worker should act next, longest waiting first: ids and nothing else.'",
    f"""
    CREATE FUNCTION {SEARCH}.notes_held() RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER {_SAFE}
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM {SEARCH}.outbox o WHERE o.lease_until IS NOT NULL);
    END
    """,
    f"REVOKE ALL ON FUNCTION {SEARCH}.notes_held() FROM PUBLIC",
    f"GRANT EXECUTE ON FUNCTION {SEARCH}.notes_held() TO {APP}",
    f"COMMENT ON FUNCTION {SEARCH}.notes_held() IS 'Whether any worker has notes under way.'",
)

_NOTED = {
    "messages": (
        "message",
        ("content", "role", "author", "created_at", "utc_offset", "language", "position", "conversation_id"),
    ),
    "memories": ("memory", ("content", "created_at", "utc_offset", "language")),
    "documents": ("document", ("content", "name", "created_at", "utc_offset", "language")),
    "conversations": ("conversation", ()),
    "users": ("user", ()),
}
"""Table -> kind of its notes, and beside `deleted_at` the columns whose change the index must follow."""


def _triggers(table: str, kind: str, columns: tuple[str, ...]) -> list[str]:
    named = (*columns, "deleted_at")
    later = f"current_setting('{SETTING}', true) IS DISTINCT FROM '{AT_ONCE}'"
    changed = f"({', '.join(f'OLD.{c}' for c in named)}) IS DISTINCT FROM ({', '.join(f'NEW.{c}' for c in named)})"
    function = "note_user" if table == "users" else "note_row"
    events = {f"note_update AFTER UPDATE OF {', '.join(named)}": f"{later} AND {changed}"}
    if columns:
        events |= {"note_insert AFTER INSERT": later, "note_delete AFTER DELETE": later}
    return [
        f"CREATE TRIGGER {event} ON {PRODUCT}.{table} FOR EACH ROW WHEN ({condition}) "
        f"EXECUTE FUNCTION {SEARCH}.{function}('{kind}')"
        for event, condition in events.items()
    ]


TRIGGERS = tuple(statement for table, noted in _NOTED.items() for statement in _triggers(table, *noted))

outbox: Table = Note.__table__  # type: ignore[assignment]
isolated(outbox)
for _table in _NOTED:
    outbox.add_is_dependent_on(Base.metadata.tables[f"{PRODUCT}.{_table}"])
after_create(outbox, *FUNCTIONS, *TRIGGERS)
