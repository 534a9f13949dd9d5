"""A database on the embedded server that lives as long as a measurement, and the run of notebook 06_scale in one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg import sql

from carmenta_lab.bench.scale import Scale, kept, measure
from carmenta_lab.errors import UsageError
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_way, prepare
from carmenta_lab.postgres.roles import connect
from carmenta_lab.settings import read_settings

SMALLEST = 1_000


@contextmanager
def scratch(name: str) -> Iterator[Database]:
    """A migrated, empty database of that name on the embedded server, dropped at the end."""
    home = read_settings().home_folder
    admin = embedded_way(home, "postgres").admin

    def drop() -> None:
        with connect(replace(admin, url=admin.url.set(database="postgres"))) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    drop()
    try:
        with prepare(embedded_way(home, name)) as database:
            yield database
    finally:
        drop()


def decades(largest: int, smallest: int) -> list[int]:
    """Powers of ten from `smallest` up, and `largest`: 1000, 10000, 25000."""
    found = [smallest * 10**power for power in range(12) if smallest * 10**power < largest]
    return [*found, largest]


def measured(
    name: str,
    largest: int = 3_000,
    clients: int = 2,
    save: bool = False,
    seed: int = 7,
    progress: Callable[[str], object] = lambda stage: None,
) -> Scale:
    """Every method at powers of ten of rows up to `largest`, for users of ten rows up to a third of them.

    Measured in a database of its own, `NAME_scale` on the embedded server. Clients are doubled up to `clients`. `save`
    keeps the result among the benchmarks. UsageError for fewer than 1,000 rows or one client.
    """
    if largest < SMALLEST or clients < 1:
        raise UsageError(f"expected at least {SMALLEST:,} rows and 1 client; found {largest:,} and {clients}.")
    users = decades(largest // 3, 10)
    asking = [2**power for power in range(10) if 2**power <= clients]
    with scratch(f"{name}_scale"[-63:]) as database:
        found = measure(database, decades(largest, SMALLEST), users, asking, seed, progress)
    if save:
        found.save(kept())
    return found
