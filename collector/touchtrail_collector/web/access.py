"""Who may come in where: every path declares one class of access, and this is what each class means."""

from __future__ import annotations

import hmac
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl

from starlette.types import Scope

from ..services.collector import Collector
from ..services.sessions import Session
from ..store.sqlite.keys import KeyOwner
from .errors import (
    cross_site,
    no_admin_token,
    no_key,
    no_session,
    no_token,
    origin_not_allowed,
    wrong_kind_of_key,
)
from .headers import header
from .limits import RateLimits
from .session_cookie import SAFE_METHODS, is_foreign_fetch, is_same_origin, read_cookie

Access = Literal["anyone", "write_key", "read_token", "admin_token", "source", "sign_in", "session"]
"""`anyone` on the bound address · `write_key` of a sender, from its origins · `read_token` for reports, or a session ·
`admin_token` of the lock file · `source`: a write key wherever a vendor's client puts it, which its plugin finds ·
`sign_in`: a one-time link or the password in the body · `session` of whoever signed in."""

ACCESS_CLASSES: Final[tuple[Access, ...]] = get_args(Access)


class Doorkeeper:
    """Lets requests in or says why not; counts them for their address and key.

    Args:
        collector: knows the keys.
        limits: shared by all paths.
    """

    def __init__(self, collector: Collector, limits: RateLimits) -> None:
        self._collector = collector
        self._limits = limits

    def check(self, access: Access, scope: Scope) -> None:
        """Let a request in by what stands in its headers. Raises: HttpError 401, 403, 429."""
        self.check_address(scope)
        if access == "read_token":
            self._check_reader(scope)
        elif access == "admin_token":
            self._check_admin(scope)
        else:
            assert access == "anyone", f"{access} is checked by its own endpoint"

    def check_address(self, scope: Scope) -> None:
        """Count a request for its address. Raises: HttpError 429."""
        self._limits.check_address(scope)

    def check_writer(self, scope: Scope, key: str | None) -> KeyOwner:
        """Return whom a write key lets in. Raises: HttpError 401, 403, 429."""
        owner = self._collector.find_owner(key) if key else None
        if owner is None:
            raise no_key()
        if owner.kind != "write":
            raise wrong_kind_of_key("a write key")
        self.admit(scope, owner)
        return owner

    def admit(self, scope: Scope, owner: KeyOwner) -> None:
        """Let a valid write key in, from where it may be used. Raises: HttpError 403, 429."""
        check_origin(scope, owner)
        self._limits.check_key(scope, owner.key_hash)

    def check_stranger(self, scope: Scope) -> None:
        """Let a request through to its body, which alone may hold its key. Raises: HttpError 429."""
        self._limits.check_stranger(scope)

    def note_stranger(self, scope: Scope) -> None:
        """Count a request whose body held no valid key either."""
        self._limits.note_stranger(scope)

    def find_writer(self, key: str | None) -> KeyOwner | None:
        """Return whom a write key lets in, None where it lets in nobody."""
        owner = self._collector.find_owner(key) if key else None
        return owner if owner is not None and owner.kind == "write" else None

    def check_preflight(self, scope: Scope) -> None:
        """Let a browser's question pass; where it names a valid key, from that key's origins alone.

        Raises: HttpError 403, 429.
        """
        self.check_address(scope)
        key = query_key(scope)
        owner = self._collector.find_owner(key) if key else None
        if owner is not None:
            check_origin(scope, owner)

    def check_session(self, scope: Scope) -> Session:
        """Return the session a request belongs to; one that changes something must come from our own pages.

        Raises: HttpError 401, 403, 429.
        """
        self.check_address(scope)
        session = self._find_session(scope)
        if session is None:
            raise no_session()
        self._limits.check_key(scope, session.token_hash)
        if scope["method"] not in SAFE_METHODS and not is_same_origin(scope):
            raise cross_site()
        return session

    def _find_session(self, scope: Scope) -> Session | None:
        token = read_cookie(scope)
        session = self._collector.sessions.find(token) if token else None
        if session is not None and is_foreign_fetch(scope):
            raise cross_site()
        return session

    def _check_reader(self, scope: Scope) -> None:
        token = bearer_token(scope)
        if token is None and scope["method"] in SAFE_METHODS:
            session = self._find_session(scope)
            if session is not None:
                self._limits.check_key(scope, session.token_hash)
                return
        owner = self._collector.find_owner(token) if token else None
        if owner is None:
            raise no_token()
        if owner.kind != "read":
            raise wrong_kind_of_key("a read token")
        self._limits.check_key(scope, owner.key_hash)

    def _check_admin(self, scope: Scope) -> None:
        # Bytes: compare_digest raises on text that is not ASCII.
        given = (bearer_token(scope) or "").encode("latin-1")
        if not hmac.compare_digest(given, self._collector.admin_token.encode()):
            raise no_admin_token()


def check_origin(scope: Scope, owner: KeyOwner) -> None:
    """Refuse pages of origins that the key's sender did not name; who is no browser names none.

    Raises: HttpError 403.
    """
    if owner.origins:
        origin = header(scope["headers"], b"origin").decode("latin-1")
        if origin and origin not in owner.origins:
            raise origin_not_allowed(origin)


def bearer_token(scope: Scope) -> str | None:
    """Return what follows `Authorization: Bearer`, None where nothing does."""
    authorization = header(scope["headers"], b"authorization")
    if authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1") or None


def query_key(scope: Scope) -> str | None:
    """Return the `?key=KEY` of beacons, which cannot set headers."""
    query: bytes = scope["query_string"]
    if b"key=" not in query:
        return None
    for name, value in parse_qsl(query.decode("latin-1")):
        if name == "key":
            return value
    return None


def bearer_or_query_key(scope: Scope) -> str | None:
    """Return the write key of our own paths; the header comes before the address."""
    if header(scope["headers"], b"authorization")[:7].lower() == b"bearer ":
        return bearer_token(scope)
    return query_key(scope)
