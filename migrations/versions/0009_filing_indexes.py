"""Conversations by folder and workspace, and a user's messages by time, without stopping writers."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = (
    "ALTER TABLE carmenta.conversations VALIDATE CONSTRAINT fk_conversations_user_id_workspace_id",
    "ALTER TABLE carmenta.conversations VALIDATE CONSTRAINT fk_conversations_user_id_folder_id",
)

DOWN = (
    "ALTER TABLE carmenta.conversations DROP CONSTRAINT fk_conversations_user_id_workspace_id",
    """
    ALTER TABLE carmenta.conversations ADD CONSTRAINT fk_conversations_user_id_workspace_id FOREIGN KEY (user_id, workspace_id) REFERENCES carmenta.workspaces (user_id, id) ON DELETE SET NULL (workspace_id) NOT VALID
    """,
    "ALTER TABLE carmenta.conversations DROP CONSTRAINT fk_conversations_user_id_folder_id",
    """
    ALTER TABLE carmenta.conversations ADD CONSTRAINT fk_conversations_user_id_folder_id FOREIGN KEY (user_id, folder_id) REFERENCES carmenta.folders (user_id, id) ON DELETE SET NULL (folder_id) NOT VALID
    """,
)

INDEXES = {
    "ix_conversations_folder": "conversations (user_id, folder_id) WHERE folder_id IS NOT NULL",
    "ix_conversations_workspace": "conversations (user_id, workspace_id) WHERE workspace_id IS NOT NULL",
    "ix_messages_recent": "messages (user_id, created_at) WHERE role = 'user'",
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
