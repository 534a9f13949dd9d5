"""What an operator runs now and then: the months of events are ready before they begin."""

import pytest
from typer.testing import CliRunner

from carmenta_lab.cli.db import app

RUN = CliRunner()


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch, empty_environment: dict[str, str]) -> None:
    for name in ("CARMENTA_HOME", "CARMENTA_DATABASE", "CARMENTA_DATABASE_URL", "CARMENTA_DIRECT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in empty_environment.items():
        if name.startswith("CARMENTA_"):
            monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_here")
def test_maintenance_says_what_it_made_and_then_has_nothing_to_do() -> None:
    first = RUN.invoke(app, ["maintain", "--months", "2"])
    assert first.exit_code == 0, first.output
    lines = first.output.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("carmenta.events_") and line.endswith("0 events moved into it") for line in lines)
    assert RUN.invoke(app, ["maintain", "--months", "2"]).output == "nothing to do\n"
    assert len(RUN.invoke(app, ["maintain"]).output.splitlines()) == 1
    assert RUN.invoke(app, ["maintain", "--months", "-1"]).exit_code == 2
