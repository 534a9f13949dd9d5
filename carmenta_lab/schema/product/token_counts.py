"""How long is a text to a language model? Tokens of messages, counted once for each counter."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Table, func
from sqlalchemy.orm import Mapped, mapped_column

from carmenta_lab.schema.base import Base, isolated, of


class TokenCount(Base):
    """How many tokens a message takes by one counter, and of which text; a count of another text is no count."""

    __tablename__ = "token_counts"
    __table_args__ = (
        of("messages", "message_id"),
        CheckConstraint("tokens >= 0", name="tokens"),
        {
            "comment": "How many tokens a message takes by one counter, and of which text; a count of another text is "
            "no count."
        },
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    counter: Mapped[str] = mapped_column(primary_key=True, comment="The tokenizer's name.")
    tokens: Mapped[int] = mapped_column(comment="Of the message's content alone.")
    content_hash: Mapped[int] = mapped_column(
        BigInteger, comment="hashtextextended(content, 0) of the text that was counted; compared whenever it is read."
    )
    counted_at: Mapped[datetime] = mapped_column(init=False, server_default=func.now())


token_counts: Table = TokenCount.__table__  # type: ignore[assignment]
isolated(token_counts)
