"""From a URL to how to connect: which driver, which hints, and what a pooler forbids."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from carmenta_lab.errors import UsageError

HINTS = ("pgbouncer", "schema", "pool_timeout", "connection_limit", "pool_mode", "statement_cache_size")
"""Query parameters that other clients put into URLs; libpq refuses them, so they are read and taken out."""

POOLER_PORTS = (6432, 6543)


@dataclass(frozen=True)
class Host:
    """The address of a database, and how to connect to it."""

    url: URL  # driver postgresql+psycopg, hints taken out
    pooled: bool  # behind a transaction pooler: no prepared statements, no session state

    def connect_args(self) -> dict[str, object]:
        """The arguments of `psycopg.connect` that this address needs."""
        return {"prepare_threshold": None} if self.pooled else {}

    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True).replace("postgresql+psycopg://", "postgresql://")


def parse(text: str, variable: str = "CARMENTA_DATABASE_URL", pool_mode: str = "auto") -> Host:
    """Read a URL as people paste it; UsageError says in one sentence what cannot be read.

    `pool_mode` is session, transaction, or auto: then port 6432 or 6543, "-pooler" or "pooler." in the host's
    name, or ?pgbouncer=true mean a transaction pooler (and Supabase's session pooler on 5432 does not).
    """
    text = text.strip().strip("'\"")
    if text.startswith("psql "):
        text = text.removeprefix("psql ").strip().strip("'\"")
    if not text.startswith(("postgres://", "postgresql://", "postgresql+psycopg://")):
        raise UsageError(f"{variable}: expected a URL like postgresql://user:password@host:5432/database.")
    if "[YOUR-PASSWORD]" in text or "<password>" in text.lower():
        raise UsageError(f"{variable}: the placeholder for the password is still in it; put the password there.")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"{variable}: not a URL that can be read; escape special characters in it (@ is %40)."
        ) from None
    if url.host and "@" in url.host:
        raise UsageError(f"{variable}: the password contains an unescaped @; write it as %40.")
    if not url.database:
        raise UsageError(f"{variable}: names no database; add /database at its end.")
    hints = {key: str(value) for key, value in url.query.items() if key in HINTS}
    clean = url.set(drivername="postgresql+psycopg").difference_update_query(HINTS)
    pooled = _pooled(clean, hints) if pool_mode == "auto" else pool_mode == "transaction"
    return Host(clean, pooled)


def _pooled(url: URL, hints: Mapping[str, str]) -> bool:
    host = url.host or ""
    if hints.get("pgbouncer", "").lower() in ("true", "1") or hints.get("pool_mode") == "transaction":
        return True
    if "-pooler." in host:
        return True
    if ".pooler." in host:  # Supabase: 5432 is its session mode
        return url.port == 6543
    return url.port in POOLER_PORTS
