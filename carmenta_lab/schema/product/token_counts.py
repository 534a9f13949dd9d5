"""How long is a text to a language model? Tokens of messages, counted once for each counter."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Table, func
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import PRODUCT, Base, after_create, isolated, of


class TokenCount(Base):
    """How many tokens a message takes by one counter; gone when its text changes."""

    __tablename__ = "token_counts"
    __table_args__ = (
        of("messages", "message_id"),
        CheckConstraint("tokens >= 0", name="tokens"),
        {"comment": "How many tokens a message takes by one counter; gone when its text changes."},
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    counter: Mapped[str] = mapped_column(primary_key=True, comment="The tokenizer's name.")
    tokens: Mapped[int] = mapped_column(comment="Of the message's content alone.")
    counted_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


token_counts: Table = TokenCount.__table__  # type: ignore[assignment]
isolated(token_counts)
after_create(
    token_counts,
    f"""
    CREATE FUNCTION {PRODUCT}.forget_token_counts() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        DELETE FROM {PRODUCT}.token_counts WHERE user_id = OLD.user_id AND message_id = OLD.id;
        RETURN NULL;
    END
    $$
    """,
    f"""
    CREATE TRIGGER text_changed AFTER UPDATE OF content ON {PRODUCT}.messages FOR EACH ROW
    WHEN (OLD.content IS DISTINCT FROM NEW.content) EXECUTE FUNCTION {PRODUCT}.forget_token_counts()
    """,
)
