"""The server and the way to it."""

from carmenta_lab.postgres.connect import Database, as_user
from carmenta_lab.postgres.lab import open_lab, open_migrated
from carmenta_lab.postgres.migrate import migrate

__all__ = ["Database", "as_user", "migrate", "open_lab", "open_migrated"]
