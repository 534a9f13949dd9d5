"""What was deleted softly by user, without stopping writers."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE carmenta.messages VALIDATE CONSTRAINT ck_messages_utc_offset",
    "ALTER TABLE carmenta.memories VALIDATE CONSTRAINT ck_memories_utc_offset",
    "ALTER TABLE carmenta.documents VALIDATE CONSTRAINT ck_documents_utc_offset",
)

DOWN = (
    "ALTER TABLE carmenta.messages DROP CONSTRAINT ck_messages_utc_offset",
    """
    ALTER TABLE carmenta.messages ADD CONSTRAINT ck_messages_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
    "ALTER TABLE carmenta.memories DROP CONSTRAINT ck_memories_utc_offset",
    """
    ALTER TABLE carmenta.memories ADD CONSTRAINT ck_memories_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
    "ALTER TABLE carmenta.documents DROP CONSTRAINT ck_documents_utc_offset",
    """
    ALTER TABLE carmenta.documents ADD CONSTRAINT ck_documents_utc_offset CHECK (utc_offset BETWEEN -1439 AND 1439) NOT VALID
    """,
)

INDEXES = {
    "ix_conversations_deleted": "conversations (user_id, deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_messages_deleted": "messages (user_id, deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_memories_deleted": "memories (user_id, deleted_at) WHERE deleted_at IS NOT NULL",
    "ix_documents_deleted": "documents (user_id, deleted_at) WHERE deleted_at IS NOT NULL",
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
