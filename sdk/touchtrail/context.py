"""Who is being served right now: ids, page, campaign, device and consent, carried by a context variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The page an event happened on."""

    url: str | None = None
    referrer: str | None = None
    title: str | None = None
    path: str | None = None


class Campaign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The campaign a visit came through; what stands in the page's address need not be repeated here.

    Args:
        click_ids: the advertising platforms' click ids by parameter name, `{"gclid": "…"}`.
    """

    source: str | None = None
    medium: str | None = None
    name: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None
    click_ids: dict[str, str] | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The device an event happened on.

    Args:
        screen: width and height in CSS pixels, `390x844`.
        kind: `desktop`, `mobile`, `tablet`, `till`, `phone` …
        ip: kept only as the collector's privacy mode allows.
    """

    user_agent: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    screen: str | None = None
    kind: str | None = None
    ip: str | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the person agreed to, per purpose; None = the source's default mode decides."""

    analytics: bool | None = None
    ads: bool | None = None
    personalisation: bool | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every event tracked inside a block shares.

    Args:
        anonymous_id: the device's first-party id.
        customer_id: the shop's own customer number.
        identifiers: other ids by kind: `email`, `phone`, `loyalty_card`, `order_id`, `coupon_code`,
            `receipt_code`, `click_id`. The collector keeps e-mail and phone only as keyed hashes.
    """

    anonymous_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    page: Page | None = None
    campaign: Campaign | None = None
    device: Device | None = None
    consent: Consent | None = None
    identifiers: Mapping[str, str] | None = None


_current: ContextVar[Context | None] = ContextVar("touchtrail_context", default=None)


def current_context() -> Context | None:
    """Return the context of the code that runs now, or None outside every block."""
    return _current.get()


@contextmanager
def use_context(context: Context) -> Iterator[Context]:
    """Give every event tracked inside the block these values; an argument of ``track`` wins over them.

    Blocks nest: a value the inner block leaves None keeps the outer block's.
    """
    outer = _current.get()
    if outer is not None:
        given = {name: value for name in context.__struct_fields__ if (value := getattr(context, name)) is not None}
        context = msgspec.structs.replace(outer, **given)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
