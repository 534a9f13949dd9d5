"""How much is in each domain, and what can be asked of it?"""

from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isfunction
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from carmenta_lab.schema import DOMAINS
from carmenta_lab.schema.diagram import tables_of


class Domain(NamedTuple):
    """One domain of the schema: its tables and its query helpers."""

    domain: str
    rows: dict[str, int]  # table -> rows, of all users when the owner asks
    helpers: tuple[str, ...]  # names in the domain's modules of carmenta_lab.app


MODULES = {"identity": ("identity", "assistants"), "conversations": ("conversations", "filing")}
"""Domain -> the modules of its helpers, where these are not the one of its name."""


def helpers(domain: str) -> tuple[str, ...]:
    """The names of the query helpers of a domain, sorted.

    The functions that only build their statements are left out.
    """
    names = [f"carmenta_lab.app.{module}" for module in MODULES.get(domain, (domain,))]
    return tuple(
        sorted(
            called
            for name in names
            if find_spec(name) is not None
            for called, function in getmembers(import_module(name), isfunction)
            if function.__module__ == name
            and not called.startswith(("_", "said_"))
            and not called.endswith("_statement")
        )
    )


def summary(session: Session, domain: str | None = None) -> list[Domain]:
    """Each domain, or one, with its tables and helpers; UnknownName lists the domains."""
    tables_of(domain)
    found = []
    for name in DOMAINS if domain is None else (domain,):
        counts = {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables_of(name)}
        found.append(Domain(name, counts, helpers(name)))
    return found
