"""A skipped test is one that nobody runs: a skip for any other reason than these is a failure."""

from collections.abc import Generator
from typing import Any

import pytest

REASONS = (
    # what a machine may lack
    "pgbouncer is not installed (Debian: apt install pgbouncer)",
    "node or the npm package @electric-sql/pglite 0.2.17 is absent (.ci/run installs it into .pglite)",
    # what an account or a login may not do, or may
    "only root can give a folder away",
    "only root serves by another account",
    "root writes everywhere",
    "only a superuser can make such a role",
    "this login may create roles",
    # what another server than the embedded one is not asked
    "a database by URL is never made",
    "another server may be of another version than the programs at hand",
    "databases of a bench's own are made on the embedded server",
)


def refuse(report: Any) -> None:
    """Turn a report of a skip into one of a failure, unless its reason is known."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason not in REASONS:
        report.outcome = "failed"
        report.longrepr = f"skipped: {reason!r} is none of the reasons in {__file__}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """A test that skips itself, or is marked so."""
    report = yield
    refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """A whole file that skips itself."""
    report = yield
    refuse(report)
    return report
