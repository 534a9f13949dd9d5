"""Which context policy is the best measured one that a user's data allow?

On the judged sample the policies that spend most of the budget on what a search finds hold more than twice the
evidence of `mission_order` at 2,000 tokens. Of these `retrieved_first` keeps the end of the conversation as well.
"""

from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.retrieval.best import WITH_CODES, best_strategy


def best_policy(session: Session, user_id: UUID) -> str:
    """The policy's name; to be called within `as_user`."""
    return "retrieved_first" if best_strategy(session, user_id) == WITH_CODES else "retrieved_first_lean"
