"""What does building an approximate index cost beyond the bare CREATE INDEX?"""

from carmenta_lab.bench.measure import Result, alternate
from carmenta_lab.bench.searching import filled
from carmenta_lab.indexing import approximate
from carmenta_lab.indexing.kinds import KINDS, Declared, Kind
from carmenta_lab.postgres.connect import Database

MEMORY_MB = 512


def building(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Each kind over `rows` vectors, with memory for its graph."""
    found = []
    with filled(database, [(0, rows)], seed) as table:
        for kind, index in KINDS.items():
            definition = index.definition(rows, 384)

            def bare(definition: str = definition) -> None:
                with database.owner.begin() as connection:
                    connection.exec_driver_sql(f"SET LOCAL maintenance_work_mem = '{MEMORY_MB}MB'")
                    connection.exec_driver_sql(f"CREATE INDEX ann_bare ON search.{table} {definition}")

            def empty(kind: Kind = kind) -> None:
                with database.owner.begin() as connection:
                    connection.exec_driver_sql("DROP INDEX IF EXISTS search.ann_bare")
                approximate.drop(database.owner, table, kind)

            def ours(index: Declared = index) -> None:
                approximate.build(database.owner, table, index, memory_mb=MEMORY_MB)

            limit, spent = alternate(bare, ours, repeats, before=empty, warm_up=0)
            empty()
            found.append(Result(f"index_build_{kind}", limit, spent, rows, repeats, "CREATE INDEX on psycopg"))
    return found
