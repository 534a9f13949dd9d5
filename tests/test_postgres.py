"""The way to a database: URLs, roles, migrations, and the session of one user."""

from sqlalchemy import text

from carmenta_lab.postgres import Database


def test_the_application_sees_nothing_before_it_acts_for_somebody(database: Database) -> None:
    with database.owner_session() as session:
        session.execute(text("INSERT INTO carmenta.users (id, name) VALUES (gen_random_uuid(), 'x')"))
    with database.app_session() as session:
        assert session.scalar(text("SELECT count(*) FROM carmenta.users")) == 0
