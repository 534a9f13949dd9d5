"""Whose session or account is this, and which tokens open a connected service? Tokens are hashed or encrypted."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID, uuid4

from cryptography.fernet import Fernet, InvalidToken
from psycopg.errors import CheckViolation
from sqlalchemy import (
    CursorResult,
    Delete,
    Integer,
    LargeBinary,
    Select,
    Text,
    Uuid,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.postgres.statement import Rows, Value, given
from carmenta_lab.schema.product.identity import Account, ServiceConnection, SignInSession, User


class TokenUnreadable(CarmentaError):
    """A stored token that the keys at hand do not open."""


class AccountTaken(CarmentaError):
    """An external account that signs in another user."""


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
        """The token encrypted under the current key."""
        return Fernet(self.keys[self.current]).encrypt(token.encode())

    def decrypt(self, encrypted: bytes, key_id: str) -> str:
        """The decrypted token; TokenUnreadable when its key is not at hand, or the value was not made with that key."""
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


class AccountLine(NamedTuple):
    """An external account or password by which a user signs in."""

    provider: str
    provider_account_id: str
    email: str | None
    email_verified: bool
    created_at: datetime


class OpenSession(NamedTuple):
    """A browser or program in which a user is signed in."""

    id: UUID
    user_agent: str | None
    created_at: datetime
    expires_at: datetime


class Tokens(NamedTuple):
    """The decrypted OAuth tokens of a connected service."""

    access: str
    refresh: str | None
    expires_at: datetime | None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def register_user(
    session: Session,
    user_id: UUID,
    name: str | None = None,
    kind: Literal["registered", "anonymous"] = "registered",
    region: str | None = None,
) -> None:
    """Add a user; to be called within `as_user` of the id that the user shall have."""
    session.execute(insert(User).values(id=user_id, name=name, kind=kind, region=region))


_USER, _LIMIT = given("user_id", Uuid()), given("limit", Integer())
_PROVIDER, _ACCOUNT = given("provider", Text()), given("provider_account_id", Text())


def user_of_account_statement(provider: str, provider_account_id: str) -> Select[Any]:
    """The statement of `user_of_account`: it calls a function of the owner, as nobody is signed in yet."""
    return select(func.carmenta.user_of_account(provider, provider_account_id))


def user_of_account(session: Session, provider: str, provider_account_id: str) -> UUID | None:
    """The user whom an external account signs in, after the provider has vouched for it; None when there is none."""
    values = {"provider": provider, "provider_account_id": provider_account_id}
    found: UUID | None = _USER_OF_ACCOUNT.get(session, values)
    return found


_USER_OF_ACCOUNT = Value(lambda: user_of_account_statement(_PROVIDER, _ACCOUNT))


def link_account(
    session: Session,
    user_id: UUID,
    provider: str,
    provider_account_id: str,
    *,
    email: str | None = None,
    email_verified: bool = False,
    password_hash: str | None = None,
) -> None:
    """Let an external account sign the user in; linked again, its e-mail and hash are replaced.

    AccountTaken when it signs in another living user; one who is gone loses it.
    """
    claimed = {"provider": provider, "provider_account_id": provider_account_id}
    try:
        _CLAIM.get(session, claimed)
    except IntegrityError as error:
        if not isinstance(error.orig, CheckViolation):
            raise
        raise AccountTaken(f"{error.orig.diag.message_primary}.") from None
    told = {"email": email, "email_verified": email_verified, "password_hash": password_hash}
    row = postgresql.insert(Account).values(user_id=user_id, id=uuid4(), **claimed, **told)
    session.execute(row.on_conflict_do_update(index_elements=["user_id", *claimed], set_=told))


_CLAIM = Value(lambda: select(func.carmenta.claim_account(_PROVIDER, _ACCOUNT)))


def unlink_account(session: Session, provider: str, provider_account_id: str) -> bool:
    """Let an account of the current user sign in nobody; False when it is not the user's."""
    values = {"provider": provider, "provider_account_id": provider_account_id}
    return bool(_RELEASE.get(session, values))


_RELEASE = Value(lambda: select(func.carmenta.release_account(_PROVIDER, _ACCOUNT)))


def accounts_statement(user_id: UUID, limit: int) -> Select[str, str, str | None, bool, datetime]:
    """The statement of `accounts`: by provider."""
    columns = (
        Account.provider,
        Account.provider_account_id,
        Account.email,
        Account.email_verified,
        Account.created_at,
    )
    mine = select(*columns).where(Account.user_id == user_id)
    return mine.order_by(Account.provider, Account.provider_account_id).limit(limit)


def accounts(session: Session, user_id: UUID, limit: int = 100) -> list[AccountLine]:
    """The external accounts and passwords by which a user signs in, by provider."""
    return _ACCOUNTS.all(session, {"user_id": user_id, "limit": limit})


_ACCOUNTS = Rows(AccountLine, lambda: accounts_statement(_USER, _LIMIT))


def password_hash_statement(user_id: UUID, provider_account_id: str) -> Select[Any]:
    """The statement of `password_hash`: that of the user's account with a password."""
    return select(Account.password_hash).where(
        Account.user_id == user_id,
        Account.provider == "password",
        Account.provider_account_id == provider_account_id,
    )


def password_hash(session: Session, user_id: UUID, provider_account_id: str) -> str | None:
    """The hash against which a password is verified; to be called within `as_user` of the user of `user_of_account`."""
    values = {"user_id": user_id, "provider_account_id": provider_account_id}
    found: str | None = _PASSWORD.get(session, values)
    return found


_PASSWORD = Value(lambda: password_hash_statement(_USER, _ACCOUNT))


def sign_in(session: Session, user_id: UUID, lasts: timedelta, user_agent: str | None = None) -> str:
    """Begin a session and return its token, which only the client keeps.

    The database stores a hash of its 256 random bits.
    """
    token = secrets.token_urlsafe(32)
    row = {"user_id": user_id, "id": uuid4(), "token_sha256": _hash(token), "user_agent": user_agent}
    session.execute(insert(SignInSession).values(**row, expires_at=func.now() + literal(lasts)))
    return token


def user_of_token_statement(token: str) -> Select[Any]:
    """The statement of `user_of_token`: it calls a function of the owner, as nobody is signed in yet."""
    return select(func.carmenta.user_of_session(_hash(token)))


def user_of_token(session: Session, token: str) -> UUID | None:
    """The user whose session has this token; None when it is unknown, expired or revoked."""
    found: UUID | None = _USER_OF_TOKEN.get(session, {"token_sha256": _hash(token)})
    return found


_USER_OF_TOKEN = Value(lambda: select(func.carmenta.user_of_session(given("token_sha256", LargeBinary()))))


def sign_out_statement(user_id: UUID, token: str) -> Delete:
    """The statement of `sign_out`: it finds the session by the token's hash."""
    return delete(SignInSession).where(SignInSession.user_id == user_id, SignInSession.token_sha256 == _hash(token))


def sign_out(session: Session, user_id: UUID, token: str) -> bool:
    """End a session; False when the user has none with that token."""
    done = session.execute(sign_out_statement(user_id, token).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", done).rowcount > 0


def open_sessions_statement(user_id: UUID, limit: int) -> Select[UUID, str | None, datetime, datetime]:
    """The statement of `open_sessions`: the latest to expire first."""
    columns = (SignInSession.id, SignInSession.user_agent, SignInSession.created_at, SignInSession.expires_at)
    mine = select(*columns).where(SignInSession.user_id == user_id, SignInSession.expires_at > func.now())
    return mine.order_by(SignInSession.expires_at.desc(), SignInSession.id).limit(limit)


def open_sessions(session: Session, user_id: UUID, limit: int = 100) -> list[OpenSession]:
    """The user's sessions that have not expired, the latest to expire first."""
    return _SESSIONS.all(session, {"user_id": user_id, "limit": limit})


_SESSIONS = Rows(OpenSession, lambda: open_sessions_statement(_USER, _LIMIT))


def connect_service(
    session: Session,
    keys: Keys,
    user_id: UUID,
    provider: str,
    opening: Tokens,
    scopes: Sequence[str] = (),
    account_label: str = "",
) -> None:
    """Store a service's tokens, encrypted under the current key; a connection that there is gets the new ones."""
    told = {"scopes": list(scopes), **_sealed(keys, opening)}
    row = postgresql.insert(ServiceConnection).values(
        user_id=user_id, id=uuid4(), provider=provider, account_label=account_label, **told
    )
    session.execute(row.on_conflict_do_update(index_elements=["user_id", "provider", "account_label"], set_=told))


def _sealed(keys: Keys, opening: Tokens) -> dict[str, Any]:
    """The columns of an active connection."""
    return {
        "access_token_encrypted": keys.encrypt(opening.access),
        "refresh_token_encrypted": None if opening.refresh is None else keys.encrypt(opening.refresh),
        "key_id": keys.current,
        "token_expires_at": opening.expires_at,
        "status": "active",
    }


class _Encrypted(NamedTuple):
    access_token_encrypted: bytes | None
    refresh_token_encrypted: bytes | None
    key_id: str | None
    token_expires_at: datetime | None


def tokens_statement(
    user_id: UUID, provider: str, account_label: str
) -> Select[bytes | None, bytes | None, str | None, datetime | None]:
    """The statement of `tokens`: the connection's encrypted tokens, while it is active."""
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
    """The decrypted tokens of a service's active connection; None when there is none.

    TokenUnreadable without their key.
    """
    found = _TOKENS.first(session, {"user_id": user_id, "provider": provider, "account_label": account_label})
    if found is None:
        return None
    access, refresh, key_id, expires_at = found
    assert access is not None  # an active connection has a token, and a token its key's name, by their constraints
    assert key_id is not None
    opened = None if refresh is None else keys.decrypt(refresh, key_id)
    return Tokens(keys.decrypt(access, key_id), opened, expires_at)


_TOKENS = Rows(
    _Encrypted,
    lambda: tokens_statement(given("user_id", Uuid()), given("provider", Text()), given("account_label", Text())),
)


def keep_tokens(
    session: Session, keys: Keys, user_id: UUID, provider: str, opening: Tokens, account_label: str = ""
) -> bool:
    """Encrypt a connection's renewed tokens under the current key; False when there is no such connection."""
    found = session.execute(
        update(ServiceConnection)
        .where(
            ServiceConnection.user_id == user_id,
            ServiceConnection.provider == provider,
            ServiceConnection.account_label == account_label,
        )
        .values(**_sealed(keys, opening))
        .execution_options(synchronize_session=False)
    )
    return cast("CursorResult[Any]", found).rowcount == 1


def rotate(session: Session, keys: Keys, at_most: int = 1000) -> int:
    """Encrypt at most `at_most` tokens again that an older key encrypted; returns how many connections that were.

    To be called as the owner, or for one user. Once it returns 0 the older keys can be thrown away.
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
        access, refresh = (
            None if token is None else keys.encrypt(keys.decrypt(token, str(key_id))) for token in (access, refresh)
        )
        session.execute(
            update(c)
            .where(c.user_id == user_id, c.id == id)
            .values(access_token_encrypted=access, refresh_token_encrypted=refresh, key_id=keys.current)
            .execution_options(synchronize_session=False)
        )
    return len(rows)
