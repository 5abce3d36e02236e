"""How web requests are looked at: one struct for every framework, checked when it is built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final, Literal, get_args

import msgspec

from ..errors import OptionsError
from ..options import NamesFields

DAY_S: Final = 86_400
LONGEST_COOKIE_AGE_S: Final = 395 * DAY_S
"""13 months.

Source: CNIL, deliberations n° 2020-091 and n° 2020-092 of 17 September 2020, on audience measurement: trackers live 13
months at most, and new visits do not prolong them.
"""

UNIX: Final = "unix"
"""Stands in ``trusted_proxies`` for a proxy that connects through a Unix socket, and so has no address."""

HIDDEN_PARAMETERS: Final = frozenset(
    {
        *("auth", "code", "credential", "credentials", "hash", "hmac", "jwt", "key", "apikey", "nonce", "otp", "pin"),
        *("pass", "passcode", "passphrase", "passwd", "password", "pw", "pwd", "secret", "sig", "signature", "ticket"),
        *("assertion", "csrf", "csrfmiddlewaretoken", "jsessionid", "phpsessid", "session", "sessid", "sessionid"),
        *("sid", "token", "address", "birthday", "card", "dob", "email", "fax", "firstname", "iban", "lastname"),
        *("login", "mail", "mobile", "phone", "surname", "tel", "telephone", "user", "username", "zip"),
    }
)
"""Words of parameters' names whose values never leave the shop in a page's address."""

_COOKIE_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,64}")
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})(?:\.[A-Za-z0-9\-]{1,63})*")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_\-.]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")

VisitorId = Literal["with_consent", "unless_refused", "never"]
SameSite = Literal["Lax", "Strict", "None"]
ClientAddress = Literal["none", "truncated", "full"]


class WebOptions(msgspec.Struct, metaclass=NamesFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How web requests are looked at; the same in every framework.

    Args:
        visitor_id: `with_consent`: before the visitor agreed to analytics no cookie is set or read, nothing but
            the customer number and the consent stands in the context, and no landing is tracked. `unless_refused`:
            from the first page on, until the visitor refuses (or sends Global Privacy Control without having agreed
            here). `never`: no visitor cookie; events carry the customer number only.
        cookie_name: of the visitor's id.
        consent_cookie_name: of the visitor's answer to the consent banner.
        cookie_domain: `shop.example` shares both cookies with its subdomains; None = the host that answers.
        cookie_max_age_s: how long a visitor's id lives, counted from its making: visits do not prolong it.
        cookie_secure: whether the cookies travel over https only; None = when the request came over https.
        cookie_same_site: `None` needs ``cookie_secure=True``.
        browser_tracker: scripts may read both cookies, as the browser tracker must.
        landings: track `page_viewed` when somebody comes from outside: with campaign parameters or a foreign referrer.
            False where the browser tracker tracks page views, or each landing is there twice.
        own_hosts: further hosts of the shop, whose referrers are not foreign; `shop.example` covers its subdomains.
        client_address: what of the visitor's address stands in the context: `none`, `truncated` (IPv4 to /24, IPv6
            to /48) or `full`.
        trusted_proxies: networks, `10.0.0.0/8`, whose `X-Forwarded-For`, `-Proto` and `-Host` are believed; `unix`
            for one that connects through a Unix socket.
        hidden_parameters: words; a parameter whose name is made of words, `reset_token`, of which one is here, keeps
            its value in the shop. Campaign parameters are never hidden; what looks like an e-mail address always is.

    Raises:
        OptionsError: values that cannot work, all of them named.
    """

    visitor_id: VisitorId = "with_consent"
    cookie_name: str = "tt_visitor"
    consent_cookie_name: str = "tt_consent"
    cookie_domain: str | None = None
    cookie_max_age_s: int = 390 * DAY_S
    cookie_secure: bool | None = None
    cookie_same_site: SameSite = "Lax"
    browser_tracker: bool = False
    landings: bool = True
    own_hosts: tuple[str, ...] = ()
    client_address: ClientAddress = "none"
    trusted_proxies: tuple[str, ...] = ()
    hidden_parameters: frozenset[str] = HIDDEN_PARAMETERS

    def __post_init__(self) -> None:
        problems = [*_choice_problems(self), *_cookie_problems(self), *_list_problems(self)]
        if problems:
            raise OptionsError(problems)


def _choice_problems(options: WebOptions) -> Iterator[str]:
    choices = {"visitor_id": VisitorId, "cookie_same_site": SameSite, "client_address": ClientAddress}
    for name, kind in choices.items():
        if getattr(options, name) not in get_args(kind):
            yield f"{name}: must be one of {', '.join(get_args(kind))}"
    for name in ("browser_tracker", "landings"):
        if not isinstance(getattr(options, name), bool):
            yield f"{name}: must be True or False"
    if not (options.cookie_secure is None or isinstance(options.cookie_secure, bool)):
        yield "cookie_secure: must be True, False or None"


def _cookie_problems(options: WebOptions) -> Iterator[str]:
    for name in ("cookie_name", "consent_cookie_name"):
        value = getattr(options, name)
        if not isinstance(value, str) or not _COOKIE_NAME.fullmatch(value):
            yield f"{name}: must be 1 to 64 letters, digits or signs of RFC 6265, such as tt_visitor"
        elif value.lower().startswith(("__host-", "__secure-")) and options.cookie_secure is not True:
            yield f"{name}: browsers take this prefix with cookie_secure=True only"
        elif value.lower().startswith("__host-") and options.cookie_domain is not None:
            yield f"{name}: browsers take the prefix __Host- without cookie_domain only"
    if options.cookie_name == options.consent_cookie_name:
        yield "consent_cookie_name: must differ from cookie_name"
    domain = options.cookie_domain
    if domain is not None and not (isinstance(domain, str) and len(domain) <= 253 and _DOMAIN.fullmatch(domain)):
        yield "cookie_domain: must be a domain such as shop.example, or None for the host that answers"
    age_s = options.cookie_max_age_s
    if isinstance(age_s, bool) or not isinstance(age_s, int) or not 1 <= age_s <= LONGEST_COOKIE_AGE_S:
        yield f"cookie_max_age_s: must be between 1 and {LONGEST_COOKIE_AGE_S} (13 months)"
    if options.cookie_same_site == "None" and options.cookie_secure is not True:
        yield "cookie_same_site: browsers take None with cookie_secure=True only"


def _list_problems(options: WebOptions) -> Iterator[str]:
    for name in ("own_hosts", "trusted_proxies", "hidden_parameters"):
        if not _is_texts(getattr(options, name)):
            yield f"{name}: must be a tuple of texts"
            return
    for host in options.own_hosts:
        if not _HOST.fullmatch(host):
            yield f"own_hosts: {host!r} is no host such as shop.example (without https:// and port)"
    for network in options.trusted_proxies:
        if network != UNIX and not _is_network(network):
            yield f"trusted_proxies: {network!r} is no network such as 10.0.0.0/8"


def _is_texts(value: object) -> bool:
    # A single text would be taken for a list of its letters.
    if isinstance(value, str) or not isinstance(value, Iterable):
        return False
    return all(isinstance(item, str) for item in value)


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
