"""Does loading with given vectors stay as fast, and as small in memory, when there is more to load?"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from carmenta_lab.bench.generate import write_folder
from carmenta_lab.bench.ingest import write_vectors
from carmenta_lab.bench.measure import Result
from carmenta_lab.ingest.load import load
from carmenta_lab.postgres.connect import Database
from carmenta_lab.postgres.lab import embedded_way, prepare
from carmenta_lab.settings import read_settings

PARTS = 4
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def ingest_growth(database: Database, rows: int, repeats: int, seed: int) -> list[Result]:
    """Load `rows` messages with given vectors, against `PARTS` times the load of a part, each in a fresh process."""
    found = []
    for size in (rows // PARTS, rows):
        with database.owner.begin() as connection:
            connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / f"bench-{size}"
            write_folder(folder, size, seed=seed)
            write_vectors(folder, size, seed)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(_load, (database.name, folder)))
    with database.owner.begin() as connection:
        connection.exec_driver_sql("TRUNCATE carmenta.users, lab.datasets CASCADE")
    (part_ms, small), (ours_ms, large) = found
    what = f"{PARTS} times the load of a quarter; the client held {small:.0f} and {large:.0f} MB at most"
    return [Result("ingest_growth", PARTS * part_ms, ours_ms, rows, 1, what)]


def _load(name: str, folder: Path) -> tuple[float, float]:
    """Milliseconds, and the megabytes that this process has held at most."""
    with prepare(embedded_way(read_settings().home_folder, name)) as database:
        start = time.perf_counter()
        load(database, folder, models=())
        spent = (time.perf_counter() - start) * 1000
    return spent, _held() / 2**20


def _held() -> int:
    """The bytes that this process has held at most.

    Linux starts `ru_maxrss` of a new process with what its parent held, so there the kernel's own mark is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES
