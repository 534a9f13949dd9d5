"""Indexing words plans for users in general: by statistics from before a user came, the new one has a single row."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

FUNCTIONS = ("carmenta.index_words()", "carmenta.rebuild_words(uuid)")


def upgrade() -> None:
    """Joins planned for one row read the user's messages once for each passage."""
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} SET plan_cache_mode = 'force_generic_plan'")


def downgrade() -> None:
    """Back to plans for each user."""
    for function in FUNCTIONS:
        op.execute(f"ALTER FUNCTION {function} RESET plan_cache_mode")
