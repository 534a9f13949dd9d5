"""Whose session is this, and which tokens open a connected service? Tokens are hashed or encrypted, never kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import CursorResult, LargeBinary, Select, Text, Uuid, func, insert, literal, select, update
from sqlalchemy.orm import Session

from carmenta_lab.app.prepared import Prepared, given
from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.schema.product.identity import ServiceConnection, SignInSession


class TokenUnreadable(CarmentaError):
    """A stored token that the keys at hand do not open."""


@dataclass(frozen=True)
class Keys:
    """The keys of OAuth tokens, by id: the current one encrypts, all of them decrypt.

    A key is what `cryptography.fernet.Fernet.generate_key` makes; it stands in the environment, never in the database.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise UsageError(f"the current key {self.current!r} is not among the keys: {', '.join(sorted(self.keys))}.")

    def encrypt(self, token: str) -> bytes:
        """Under the current key."""
        return Fernet(self.keys[self.current]).encrypt(token.encode())

    def decrypt(self, encrypted: bytes, key_id: str) -> str:
        """TokenUnreadable when the key is not at hand, or the value was not made with it."""
        if key_id not in self.keys:
            raise TokenUnreadable(
                f"the token was encrypted with the key {key_id!r}, which is not at hand: "
                f"add it to the keys ({', '.join(sorted(self.keys))}), or have the user connect the service again."
            )
        try:
            return Fernet(self.keys[key_id]).decrypt(encrypted).decode()
        except InvalidToken:
            raise TokenUnreadable(
                f"the key {key_id!r} does not open the stored token: have the user connect the service again."
            ) from None


class Tokens(NamedTuple):
    """What opens a connected service."""

    access: str
    refresh: str | None
    expires_at: datetime | None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def sign_in(session: Session, user_id: UUID, lasts: timedelta, user_agent: str | None = None) -> str:
    """Begin a session; returns the token, which only the client keeps. 256 random bits need no salt."""
    token = secrets.token_urlsafe(32)
    row = {"user_id": user_id, "id": uuid4(), "token_sha256": _hash(token), "user_agent": user_agent}
    session.execute(insert(SignInSession).values(**row, expires_at=func.now() + literal(lasts)))
    return token


def user_of_token_statement(token: str) -> Select[Any]:
    """By a function of the owner: nobody is known before it has answered."""
    return select(func.carmenta.user_of_session(_hash(token)))


def user_of_token(session: Session, token: str) -> UUID | None:
    """Whose session it is; None for an unknown, expired or revoked one."""
    found: UUID | None = _USER_OF_TOKEN.scalar(session, {"token_sha256": _hash(token)})
    return found


_USER_OF_TOKEN = Prepared(lambda: select(func.carmenta.user_of_session(given("token_sha256", LargeBinary()))))


def tokens_statement(
    user_id: UUID, provider: str, account_label: str
) -> Select[bytes | None, bytes | None, str | None, datetime | None]:
    """The connection's encrypted tokens, while it is active."""
    return select(
        ServiceConnection.access_token_encrypted,
        ServiceConnection.refresh_token_encrypted,
        ServiceConnection.key_id,
        ServiceConnection.token_expires_at,
    ).where(
        ServiceConnection.user_id == user_id,
        ServiceConnection.provider == provider,
        ServiceConnection.account_label == account_label,
        ServiceConnection.status == "active",
    )


def tokens(session: Session, keys: Keys, user_id: UUID, provider: str, account_label: str = "") -> Tokens | None:
    """The tokens of an active connection, decrypted; None when there is none."""
    rows = _TOKENS.rows(session, {"user_id": user_id, "provider": provider, "account_label": account_label})
    if not rows:
        return None
    access, refresh, key_id, expires_at = rows[0]
    assert access is not None  # an active connection has a token, and a token its key's name, by their constraints
    assert key_id is not None
    opened = None if refresh is None else keys.decrypt(refresh, key_id)
    return Tokens(keys.decrypt(access, key_id), opened, expires_at)


_TOKENS = Prepared(
    lambda: tokens_statement(given("user_id", Uuid()), given("provider", Text()), given("account_label", Text()))
)


def keep_tokens(
    session: Session, keys: Keys, user_id: UUID, provider: str, opening: Tokens, account_label: str = ""
) -> bool:
    """Encrypt a connection's new tokens under the current key; False when there is no such connection."""
    found = session.execute(
        update(ServiceConnection)
        .where(
            ServiceConnection.user_id == user_id,
            ServiceConnection.provider == provider,
            ServiceConnection.account_label == account_label,
        )
        .values(
            access_token_encrypted=keys.encrypt(opening.access),
            refresh_token_encrypted=None if opening.refresh is None else keys.encrypt(opening.refresh),
            key_id=keys.current,
            token_expires_at=opening.expires_at,
            status="active",
        )
        .execution_options(synchronize_session=False)
    )
    return cast("CursorResult[Any]", found).rowcount == 1


def rotate(session: Session, keys: Keys, at_most: int = 1000) -> int:
    """Encrypt again, under the current key, what an older one encrypted; returns how many. As owner, or for one user.

    Call it until it returns 0; then the older keys can be thrown away.
    """
    c = ServiceConnection
    old = (
        select(c.user_id, c.id, c.access_token_encrypted, c.refresh_token_encrypted, c.key_id)
        .where(c.key_id.is_not(None), c.key_id != keys.current)
        .order_by(c.user_id, c.id)
        .limit(at_most)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(old).all()
    for user_id, id, access, refresh, key_id in rows:
        again = [None if t is None else keys.encrypt(keys.decrypt(t, str(key_id))) for t in (access, refresh)]
        session.execute(
            update(c)
            .where(c.user_id == user_id, c.id == id)
            .values(access_token_encrypted=again[0], refresh_token_encrypted=again[1], key_id=keys.current)
            .execution_options(synchronize_session=False)
        )
    return len(rows)
