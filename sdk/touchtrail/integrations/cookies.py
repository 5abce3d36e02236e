"""Cookies: the visitor's id, the answer to the consent banner, and how both are written."""

from __future__ import annotations

import os
import re
from typing import Final

from ..context import Consent
from .web_options import DAY_S, WebOptions

CONSENT_AGE_S: Final = 183 * DAY_S
"""Six months: how long an answer to the consent banner holds, yes and no alike.

Source: CNIL, deliberation n° 2020-092 of 17 September 2020: keeping the choice for six months is good practice.
"""

_VISITOR_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_FAST_CLOCK_S: Final = DAY_S
_LONGEST_CONSENT: Final = 200
_SAID: Final = ("0", "1")


def new_visitor_id(now_s: float) -> str:
    """Return a UUIDv7 whose random part is drawn for it alone.

    Event ids count upwards within a millisecond; a visitor's id must not be guessable from a neighbour's.

    Source:
        RFC 9562, section 5.7.
    """
    drawn = int.from_bytes(os.urandom(10), "big")
    number = (int(now_s * 1000) & 0xFFFF_FFFF_FFFF) << 80 | 7 << 76 | (drawn >> 68) << 64
    text = f"{number | 2 << 62 | drawn & 0x3FFF_FFFF_FFFF_FFFF:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_living_id(text: str, now_s: float, max_age_s: int) -> bool:
    """True for a UUIDv7 that was made at most so long ago; one from the future would never grow old."""
    found = _VISITOR_ID.fullmatch(text)
    if found is None:
        return False
    age_s = now_s - int(found[1] + found[2], 16) / 1000
    return -_FAST_CLOCK_S <= age_s < max_age_s


def cookie_of(header: str, name: str) -> str | None:
    """Return a cookie's value; the first of several, which browsers put first because its path fits best.

    Source:
        RFC 6265, section 5.4.
    """
    if name not in header:
        return None
    for pair in header.split(";"):
        key, sign, value = pair.partition("=")
        if sign and key.strip() == name:
            return value.strip()
    return None


def read_consent(text: str | None) -> Consent | None:
    """Return the answer a consent cookie holds; None when there is none that can be read.

    Members nobody here knows are passed over, so that a later version may add some.
    """
    if not text or len(text) > _LONGEST_CONSENT:
        return None
    said = {
        name: value == "1" for name, _, value in (pair.partition("=") for pair in text.split("&")) if value in _SAID
    }
    if "analytics" not in said:
        return None
    return Consent(
        analytics=said["analytics"],
        ads=said.get("ads", False),
        personalisation=said.get("personalisation", False),
    )


def consent_text(consent: Consent) -> str:
    """Return the answer as the consent cookie holds it, ``analytics=1&ads=0&personalisation=0``."""
    return f"analytics={consent.analytics:d}&ads={consent.ads or 0:d}&personalisation={consent.personalisation or 0:d}"


class CookieWriter:
    """Writes `Set-Cookie` values, all with the attributes the options ask for."""

    def __init__(self, options: WebOptions) -> None:
        domain = f"; Domain={options.cookie_domain}" if options.cookie_domain else ""
        self._place = f"; Path=/{domain}; SameSite={options.cookie_same_site}"
        self._script = "" if options.browser_tracker else "; HttpOnly"
        self._secure = options.cookie_secure

    def cookie(self, name: str, value: str, *, max_age_s: int, scheme: str) -> str:
        """Return one value; an age of 0 takes the cookie away.

        Args:
            value: of characters a cookie may have; nobody's input.
            scheme: the request's, which decides on `Secure` where the options leave it open.
        """
        is_secure = scheme == "https" if self._secure is None else self._secure
        secure = "; Secure" if is_secure else ""
        return f"{name}={value}; Max-Age={max_age_s}{self._place}{secure}{self._script}"
