"""Host names: the one spelling everything compares, and the registered domain they belong to."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

_LABELS = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_\-]*[a-z0-9_])?)*")


def host_of(text: str) -> str | None:
    """Return the host of an authority (`user@www.Shop.example:443`): lower-case, punycode, without user and port.

    None when it is no host: empty, over 253 characters, or with characters no host name has.
    """
    host = text.rpartition("@")[2].strip()
    if host.startswith("["):
        inner = host[1:].partition("]")[0].lower()
        return inner if re.fullmatch(r"[0-9a-f:.]{2,45}", inner) else None
    host = host.partition(":")[0]
    if not host.isascii():
        host = _to_ascii(host)
    host = host.rstrip(".").lower()
    return host if len(host) <= 253 and _LABELS.fullmatch(host) else None


@lru_cache(maxsize=32_768)
def registered_domain(host: str) -> str | None:
    """Return the registered domain of a host by the public suffix list, `google.co.uk` of `www.google.co.uk`.

    A shop on a shared domain (`x.myshopify.com`) is a site of its own. A host without a dot and an IP address
    are their own domain; None for a bare public suffix such as `co.uk`.
    """
    if "." not in host or ":" in host or host.replace(".", "").isdigit():
        return host
    domain = _public_suffixes().privatesuffix(host)
    return None if domain is None else str(domain)


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    # Reading the list takes 50 ms: at the first referrer, not at start-up.
    return PublicSuffixList()


def _to_ascii(host: str) -> str:
    # The standard library's idna codec is the 2003 rule, which turns ß into ss; browsers follow the later one.
    if not host.isprintable():
        return ""
    labels = unicodedata.normalize("NFKC", host.lower()).replace("\u3002", ".").split(".")
    try:
        return ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels)
    except UnicodeError:
        return ""
