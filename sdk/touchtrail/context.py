"""Who is being served right now: ids, page, campaign, device and consent, carried by a context variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token

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

    Blocks nest: a value the inner block leaves None keeps the outer block's, unless the inner block is about another
    person (``is_about_another``); then nothing of the outer block holds inside.
    """
    outer = _current.get()
    held = context if outer is None else _nest(context, outer)
    token = _current.set(held)
    try:
        yield held
    finally:
        restore_context(token)


def is_about_another(context: Context, customer_id: object, anonymous_id: object) -> bool:
    """Say whether these ids name another person than the context's: an event of theirs must not carry its facts.

    Two customer numbers decide; without two, two anonymous ids do. Ids are compared as text, so 42 is "42".
    """
    if customer_id and context.customer_id:
        return not _is_same(customer_id, context.customer_id)
    if anonymous_id and context.anonymous_id:
        return not _is_same(anonymous_id, context.anonymous_id)
    return False


def _is_same(one: object, other: object) -> bool:
    if type(one) is str and type(other) is str:
        return one == other
    text = _id_text(one)
    return text is not None and text == _id_text(other)


def _id_text(value: object) -> str | None:
    """Return an id as text without calling anything of its own; None for what is no id."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value) if int.bit_length(value) < 256 else None
    return str(value) if type(value).__module__ == "uuid" else None


def _nest(inner: Context, outer: Context) -> Context:
    try:
        if is_about_another(outer, inner.customer_id, inner.anonymous_id):
            return inner
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # An id that raises when it is looked at is nobody's: a shop's block must not end because of it.
    except BaseException:  # noqa: BLE001
        return inner
    given = {name: value for name in inner.__struct_fields__ if (value := getattr(inner, name)) is not None}
    return msgspec.structs.replace(outer, **given)


def replace_context(context: Context | None) -> Token[Context | None]:
    """Make this the context, whatever held before: nothing of an outer block shines through, unlike ``use_context``.

    For an integration, where a request begins anew; ``restore_context`` takes the token.
    """
    return _current.set(context)


def restore_context(token: Token[Context | None]) -> None:
    """Give back the context that held before ``replace_context``.

    A token of another task or thread cannot be given back there; then there is no context afterwards, because a
    visitor's that stays behind would be another visitor's next.
    """
    try:
        _current.reset(token)
    except (ValueError, RuntimeError):
        _current.set(None)
