"""Who is signed in: one-time links and the sessions they begin.

Both live in memory, by hash, and end with the process. What lets somebody in is so in no backup and comes to life again
with none; and signing in needs no write: on a full disk, when a look is most needed, it works as ever.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

LINK_LIFE_S: Final = 15 * 60
SESSION_IDLE_S: Final = 12 * 3600
SESSION_LIFE_S: Final = 7 * 86_400
MOST_LINKS: Final = 100
MOST_SESSIONS: Final = 1000

LINK_PREFIX: Final = "ttl_"
SESSION_PREFIX: Final = "tts_"
"""With these the log knows them and masks them (`web.server_log`)."""

TOKEN_BYTES: Final = 32


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in.

    Args:
        token_hash: tells sessions apart without what lets in.
        csrf_token: what a request that changes something must show besides the cookie.
        ends_at: UTC seconds at which it ends, however much it is used.
    """

    token_hash: str
    csrf_token: str
    ends_at: float


class Sessions:
    """Links that let somebody in once, and sessions. For use by any thread.

    A session's token is always made here and for one sign-in, so that none can be foisted on anybody.

    Args:
        clock: UTC seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[str, float] = {}
        # The one used last comes last: who has to go is found at the front.
        self._sessions: dict[str, tuple[float, Session]] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """Which set of sessions this is; another one after each `end_all`."""
        return self._generation

    def issue_link(self) -> str:
        """Return a token that begins one session within `LINK_LIFE_S`; of too many the oldest ends."""
        token = LINK_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._links[hash_token(token)] = self._clock() + LINK_LIFE_S
            while len(self._links) > MOST_LINKS:
                del self._links[next(iter(self._links))]
        return token

    def is_open(self, link: str) -> bool:
        """True while a link's token would still let somebody in; it does not use it up."""
        with self._lock:
            return self._clock() < self._links.get(hash_token(link), 0.0)

    def redeem(self, link: str) -> str | None:
        """Use a link's token up and return the token of a new session; None where it is none, or is no more."""
        with self._lock:
            ends_at = self._links.pop(hash_token(link), 0.0)
            return self._start() if self._clock() < ends_at else None

    def start(self, generation: int) -> str | None:
        """Begin a session and return its token; of too many the one not used for longest ends.

        Args:
            generation: as it was before it was looked whether somebody may come in. Returned is None when all sessions
                were ended since: the password that was right may be another one by now.
        """
        with self._lock:
            return self._start() if generation == self._generation else None

    def _start(self) -> str:
        token = SESSION_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock()
        session = Session(token_hash=hash_token(token), csrf_token=csrf_token_of(token), ends_at=now + SESSION_LIFE_S)
        self._sessions[session.token_hash] = (now, session)
        while len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return token

    def find(self, token: str) -> Session | None:
        """Return the session a token belongs to, and note that it was used; None when it has ended."""
        key = hash_token(token)
        with self._lock:
            used_at, session = self._sessions.pop(key, (0.0, None))
            now = self._clock()
            if session is None or now >= min(used_at + SESSION_IDLE_S, session.ends_at):
                return None
            self._sessions[key] = (now, session)
            return session

    def end(self, token: str) -> None:
        """End one session, where there is one."""
        with self._lock:
            self._sessions.pop(hash_token(token), None)

    def end_all(self) -> None:
        """End every session and every link."""
        with self._lock:
            self._sessions.clear()
            self._links.clear()
            self._generation += 1

    def __len__(self) -> int:
        """Return how many sessions are remembered."""
        return len(self._sessions)


def hash_token(token: str) -> str:
    """Return what is kept of a token: they are random, one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_token_of(token: str) -> str:
    """Return what a session's pages show and a page of another origin cannot know; it does not tell the token."""
    return hashlib.sha256(b"touchtrail csrf token of " + token.encode()).hexdigest()
