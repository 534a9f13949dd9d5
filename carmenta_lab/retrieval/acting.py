"""For whom does a session act?"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from carmenta_lab.errors import UsageError
from carmenta_lab.records import Query
from carmenta_lab.schema.base import APP


def refuse_another(session: Session, query: Query) -> None:
    """UsageError when the session cannot see the rows of the query's user; to be asked where nothing was found."""
    row = session.execute(
        text("SELECT current_setting('carmenta.user_id', true) AS person, current_user AS role")
    ).one()
    check_acting(query, row.person, row.role)


def check_acting(query: Query, person: str | None, role: str) -> None:
    """UsageError when a session of this role that acts for this user cannot see the rows of the query's user.

    Only the application's role is confined to one user; other roles see all rows."""
    if role == APP and person != str(query.user_id):
        raise UsageError(
            "the session does not act for the query's user: search within as_user(session, query.user_id)."
        )
