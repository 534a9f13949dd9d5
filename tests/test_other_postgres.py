"""Another PostgreSQL than the bundled one: the offline SQL of every revision, up and down, on version 16 in Node."""

import io
import json
import os
import shutil
import subprocess
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from carmenta_lab.postgres.migrate import BRANCHES, _config, revisions

HERE = Path(__file__).parent
MODULES = Path(os.environ.get("CARMENTA_PGLITE", HERE.parent / ".pglite" / "node_modules"))
"""Where `npm install @electric-sql/pglite@0.2.17` put it; `.ci/run` does that."""

NODE = shutil.which("node")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        NODE is None or not (MODULES / "@electric-sql" / "pglite").is_dir(),
        reason="node or the npm package @electric-sql/pglite 0.2.17 is absent (.ci/run installs it into .pglite)",
    ),
]

SET_UP = [
    "CREATE ROLE carmenta_owner NOSUPERUSER",
    "CREATE ROLE carmenta_app NOSUPERUSER",
    "CREATE SCHEMA extensions",
    *(f"CREATE EXTENSION {name} SCHEMA extensions" for name in ("vector", "ltree", "pg_trgm")),
    "GRANT USAGE ON SCHEMA extensions TO PUBLIC",
    "CREATE SCHEMA carmenta AUTHORIZATION carmenta_owner",
    "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO carmenta_owner', current_database()); END $$",
    "SET search_path = public, extensions",
    "SET ROLE carmenta_owner",
]


def _sql(branch: str, start: str, end: str, down: bool = False) -> list[str]:
    """The statements between two neighbouring revisions of a branch."""
    output = io.StringIO()
    config = _config(branch)
    config.output_buffer = output
    with redirect_stdout(io.StringIO()):
        (command.downgrade if down else command.upgrade)(config, f"{start}:{end}", sql=True)
    found = [statement for statement in output.getvalue().split(";\n\n") if statement.strip()]
    return [f"DROP TABLE IF EXISTS {BRANCHES[branch]}.alembic_version", *found] if start == "base" else found


def _run(steps: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    catalogue = (HERE / "catalogue.sql").read_text()
    return subprocess.run(
        [NODE, str(HERE / "pglite.mjs"), str(MODULES)],
        input=json.dumps({"catalogue": catalogue, "steps": [{"name": "set up", "statements": SET_UP}, *steps]}),
        capture_output=True,
        text=True,
    )


def test_every_revision_goes_up_and_down_on_postgresql_16() -> None:
    """Branch by branch: up one, down one, up again; then down to the base. The catalogue comes back each time."""
    steps, expected = [], []
    for branch in BRANCHES:
        for before, after in pairwise(["base", *revisions(branch)]):
            for way in ("up", "down", "up"):
                start, end = (after, before) if way == "down" else (before, after)
                steps.append(
                    {"name": f"{branch}: {start} -> {end}", "statements": _sql(branch, start, end, way == "down")}
                )
                expected.append((branch, end))
    for branch in reversed(BRANCHES):
        for after, before in pairwise(["base", *revisions(branch)][::-1]):
            steps.append(
                {"name": f"{branch}: {after} -> {before}", "statements": _sql(branch, after, before, down=True)}
            )
            expected.append((branch, before))
    done = _run(steps)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["postgres"].startswith("16.")
    first: dict[tuple[str, str], Any] = {}
    for step, revision in zip(found["steps"][1:], expected, strict=True):
        facts = [fact for fact in step["catalogue"] if fact[0] != "schema"]  # an empty one stays
        assert facts == first.setdefault(revision, facts), step["name"]
    assert len(first["lab", revisions("lab")[-1]]) > 500
    assert first["product", "base"] == []
    assert found["pgvector"] == "0.8.0"


def test_a_statement_that_version_16_does_not_know_is_noticed() -> None:
    """A test of the test: virtual generated columns came with 18."""
    virtual = "CREATE TABLE carmenta.x (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)"
    done = _run([{"name": "too new", "statements": [virtual]}])
    assert done.returncode == 1
    assert "too new: syntax error" in done.stderr
