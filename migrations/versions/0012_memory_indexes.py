"""A user's living memories by time, without stopping writers."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UP = ("ALTER TABLE carmenta.memories VALIDATE CONSTRAINT ck_memories_use_count",)

DOWN = (
    "ALTER TABLE carmenta.memories DROP CONSTRAINT ck_memories_use_count",
    "ALTER TABLE carmenta.memories ADD CONSTRAINT ck_memories_use_count CHECK (use_count >= 0) NOT VALID",
)

INDEXES = {
    "ix_memories_recent": "memories (user_id, created_at DESC NULLS LAST, id DESC) WHERE deleted_at IS NULL",
}
"""Built without stopping writers, so outside a transaction; a second attempt starts afresh."""


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)
    with op.get_context().autocommit_block():
        for name, what in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS carmenta.{name}")  # what a failed attempt left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON carmenta.{what}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS carmenta.{name}")
    for statement in DOWN:
        op.execute(statement)
