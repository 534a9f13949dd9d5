"""Which strategy is the best measured one that a user's data allow?

On the judged sample `evidence` is ahead of all others. It reads codes of single tokens, which a load writes when they
are asked for; `evidence_lean`, the next best, needs the vectors alone, which every load writes.
"""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from carmenta_lab.schema.search.passages import token_codes

WITH_CODES, WITHOUT_CODES = "evidence", "evidence_lean"


def best_strategy(session: Session, user_id: UUID) -> str:
    """The strategy's name; to be called within `as_user`. One look into an index."""
    found = session.scalar(select(exists().where(token_codes.c.user_id == user_id)))
    return WITH_CODES if found else WITHOUT_CODES
