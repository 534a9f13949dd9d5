"""A peer's process: its environment, made by pip where it is absent, and what it prints there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TypeVar

import msgspec

from carmenta_lab.bench.peers.peer_run import MARK

INSTALL_SECONDS, RUN_SECONDS = 1_200, 3_600


class PeerLoad(msgspec.Struct, frozen=True):
    """What a peer says first: it has loaded the rows, built its graph, and chosen its breadth."""

    version: str
    load_s: float
    build_s: float
    breadth: int  # candidates kept while searching
    recall: float


class Round(msgspec.Struct, frozen=True):
    """What it says then: the milliseconds of every question, asked once."""

    spent_ms: list[float]


T = TypeVar("T", PeerLoad, Round)


class Missing(Exception):
    """A peer that cannot be installed or run, and why."""


def installed(folder: Path, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has the packages, made where it is absent."""
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"pip took more than {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise Missing(_last_line(error.stderr or error.stdout)) from None
    done.touch()
    return python


@dataclass(frozen=True)
class Process:
    """A peer that answers."""

    process: subprocess.Popen[str]
    errors: Path

    def loaded(self) -> PeerLoad:
        """What it says first."""
        return self._said(PeerLoad)

    def _said(self, kind: type[T]) -> T:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return msgspec.json.decode(line.removeprefix(MARK), type=kind)
        raise Missing(_last_line(self.errors.read_text(encoding="utf-8", errors="replace")))

    def round(self) -> list[float]:
        """Milliseconds of each question."""
        assert self.process.stdin is not None
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return self._said(Round).spent_ms


@contextmanager
def running(python: Path, name: str, folder: Path, url: str) -> Iterator[Process]:
    """The peer in its environment, ended at the end, or after an hour."""
    script = Path(__file__).with_name("peer_run.py")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CARMENTA_", "PYTHON"))}
    errors = folder / f"{name}.errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [str(python), str(script), name, str(folder)],
            env=environment | {"PEER_URL": url},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    clock = Timer(RUN_SECONDS, process.kill)
    clock.start()
    try:
        yield Process(process, errors)
    finally:
        clock.cancel()
        process.kill()
        process.communicate()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["no reason given"])[-1][:200]
