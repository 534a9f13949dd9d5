"""A database on the embedded server that lives as long as a measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg import sql

from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_logins, open_migrated
from carmenta_lab.postgres.roles import connect
from carmenta_lab.settings import read_settings


@contextmanager
def scratch(name: str) -> Iterator[Database]:
    """A migrated, empty database of that name on the embedded server, dropped at the end."""
    home = read_settings().home_folder
    admin = embedded_logins(home, "postgres").admin

    def drop() -> None:
        with connect(replace(admin, url=admin.url.set(database="postgres"))) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    drop()
    try:
        with open_migrated(embedded_logins(home, name)) as database:
            yield database
    finally:
        drop()
