"""One Segment call, turned into one standard event in wire form."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ._segment_context import (
    as_object,
    campaign_of,
    consent_of,
    device_of,
    merge_context,
    page_of,
    take_identifiers,
    texts_of,
)
from ._segment_names import CANONICAL, squash
from ._segment_properties import to_properties
from ._segment_values import to_text, to_time

EVENT_ID_CHARACTERS = 128
NAME_CHARACTERS = 64
MOST_PROPERTIES = 64

Event = dict[str, Any]


class ItemError(Exception):
    """A call that cannot become an event.

    Attributes:
        code: as the collector's own rejects have it (collector/README.md).
        field: the member at fault, in Segment's spelling.
    """

    def __init__(self, code: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call beside its body.

    Args:
        raw: the call's bytes, out of which an event id is made where the client gave none.
        kind: the call's type where the path tells it; None = the item must.
        shared: the batch's context.
        salt: tells calls apart whose bytes are the same.
        currency: what amounts are in where the client does not say.
    """

    raw: bytes
    salt: str
    kind: str | None = None
    shared: Mapping[str, Any] = {}
    currency: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What turns an item into an event.

    Args:
        kind: `track`, `identify`, `page`, `screen`, `group` or `alias`.
        item: the call's body.
        context: the item's context, the batch's merged in.
        properties: its own copy: mappers move out of it what has another place.
        currency: as in `Origin`.
    """

    kind: str
    item: Mapping[str, Any]
    context: Mapping[str, Any]
    properties: dict[str, Any]
    currency: str | None = None


def to_event(item: Any, origin: Origin) -> Event:
    """Return a Segment call as a standard event in wire form.

    Args:
        item: the call, as decoded from JSON: anything at all.

    Raises: ItemError.
    """
    if not isinstance(item, dict):
        raise ItemError("invalid_type", None, "a call must be a JSON object")
    call = read_call(item, origin)
    event = MAPPERS[call.kind](call)
    event["event_id"] = event_id_of(item, origin)
    occurred_at = to_time(item.get("originalTimestamp") or item.get("timestamp"))
    if occurred_at is not None:
        event["occurred_at"] = occurred_at
    return event


def kind_of(item: Mapping[str, Any]) -> str:
    """Return the type an item of a batch must have.

    Raises: ItemError.
    """
    kind = item.get("type")
    if kind is None:
        raise ItemError("missing_field", "type", "type is required: one of " + ", ".join(MAPPERS))
    if not isinstance(kind, str) or kind.lower() not in MAPPERS:
        raise ItemError("invalid_value", "type", "type must be one of " + ", ".join(MAPPERS))
    return kind.lower()


def read_call(item: Mapping[str, Any], origin: Origin) -> Call:
    """Return the parts of a call, its properties (or traits) checked to be an object.

    Raises: ItemError.
    """
    kind = origin.kind or kind_of(item)
    member = "traits" if kind in ("identify", "group") else "properties"
    given = item.get(member)
    if given is not None and not isinstance(given, dict):
        raise ItemError("invalid_type", member, f"{member} must be a JSON object")
    context = merge_context(origin.shared, as_object(item.get("context")))
    return Call(kind=kind, item=item, context=context, properties=dict(given or {}), currency=origin.currency)


def map_track(call: Call) -> Event:
    """`track`: the standard event of that name, or a custom one."""
    spoken = call.item.get("event")
    if not isinstance(spoken, str) or not spoken.strip():
        code = "missing_field" if spoken is None or spoken == "" else "invalid_type"
        raise ItemError(code, "event", "event is required and must be text, such as Order Completed")
    name = CANONICAL.get(squash(spoken))
    event = envelope(call, name or to_name(spoken))
    if name is None:
        event["properties"] = custom_properties(call.properties, spoken)
        return event
    if name.startswith("email_"):
        name_newsletter(call, event)
    elif name == "campaign_touch" and squash(spoken) == "installattributed":
        call.properties.setdefault("kind", "app_install")
    elif name == "subscription_started" and squash(spoken) == "trialstarted":
        name_trial(call)
    if event.get("campaign") is not None:
        take_campaign(call.properties)
    event["properties"] = to_properties(name, call.properties, currency=call.currency)
    return event


def map_view(call: Call) -> Event:
    """`page` and `screen`: a view of the page or screen."""
    event = envelope(call, f"{call.kind}_viewed")
    properties = call.properties
    for member in ("name", "category"):
        if call.item.get(member) is not None:
            properties[member] = call.item[member]
    if call.kind == "page":
        event["page"] = page_of(call.context, properties)
        for member in ("url", "referrer", "title", "path", "search"):
            if not isinstance(properties.get(member), dict | list):
                properties.pop(member, None)
    event["properties"] = to_properties(event["name"], properties)
    return event


def map_identify(call: Call) -> Event:
    """`identify`: who the person is; traits that are no scalars go into ``extra``."""
    event = envelope(call, "customer_identified")
    traits = {name: value for name, value in call.properties.items() if value is not None}
    nested = {name: traits.pop(name) for name in list(traits) if isinstance(traits[name], dict | list)}
    event["properties"] = {"traits": traits} if traits else {}
    if nested:
        event["properties"]["extra"] = nested
    return event


def map_alias(call: Call) -> Event:
    """`alias`: two ids of one person. Whether `previousId` was a device or a customer Segment does not say: it is both.

    Whichever it was, that history is joined; as the other kind the id occurs nowhere else and joins nothing.
    """
    event = envelope(call, "customer_identified")
    if event.get("customer_id") is None:
        raise ItemError("missing_field", "userId", "userId is required: alias names the person's new id")
    previous = to_text(call.item.get("previousId"))
    if previous is None and event.get("anonymous_id") is not None:
        return event
    if not isinstance(previous, str):
        raise ItemError("missing_field", "previousId", "previousId is required and must be text")
    if previous == event.get("anonymous_id"):
        return event
    identifiers = event.setdefault("identifiers", {})
    if "@" in previous:
        identifiers["email"] = previous
        return event
    if event.get("anonymous_id") is None:
        event["anonymous_id"] = previous
    else:
        identifiers["anonymous_id"] = previous
    if previous != event["customer_id"]:
        identifiers["customer_id"] = previous
    return event


def map_group(call: Call) -> Event:
    """`group`: the custom event `group_identified`; a company's e-mail address is not the person's."""
    group_id = to_text(call.item.get("groupId"))
    if not isinstance(group_id, str):
        raise ItemError("missing_field", "groupId", "groupId is required and must be text")
    traits = call.properties
    event = envelope(msgspec.structs.replace(call, properties={}), "group_identified")
    event["properties"] = {"group_id": group_id} | ({"traits": traits} if traits else {})
    return event


MAPPERS: Mapping[str, Callable[[Call], Event]] = {
    "track": map_track,
    "identify": map_identify,
    "page": map_view,
    "screen": map_view,
    "group": map_group,
    "alias": map_alias,
}
"""What makes an event of each of Segment's calls."""


def envelope(call: Call, name: str) -> Event:
    """Return the event without its properties; e-mail, phone and loyalty card are moved out of the call's."""
    item, context = call.item, call.context
    session_id = context.get("sessionId")
    event: Event = {
        "name": name,
        "anonymous_id": to_text(item.get("anonymousId", item.get("anonymous_id"))),
        "customer_id": to_text(item.get("userId", item.get("user_id"))),
        "session_id": to_text(session_id) if isinstance(session_id, str | int) else None,
        "page": page_of(context),
        "campaign": campaign_of(context, call.properties),
        "device": device_of(context),
        "consent": consent_of(context),
        "identifiers": take_identifiers(call.properties, dict(as_object(context.get("traits")))) or None,
    }
    return {member: value for member, value in event.items() if value is not None}


def name_newsletter(call: Call, event: Event) -> None:
    """Give an e-mail event the campaign its properties name, and the medium it has by nature."""
    own = {"name": call.properties.get("campaign_name"), "id": call.properties.get("campaign_id")}
    event["campaign"] = {"medium": "email"} | event.get("campaign", {}) | texts_of(own, ("name", "id"))
    if "name" in event["campaign"]:
        call.properties.pop("campaign_name", None)


def name_trial(call: Call) -> None:
    """Give a trial the id Segment's specification has none for: the account's, else the person's."""
    given = (call.context.get("groupId"), call.item.get("userId"), call.item.get("anonymousId"))
    if not any(squash(name) in ("subscriptionid", "trialid") for name in call.properties):
        call.properties["subscription_id"] = next((text for value in given if (text := to_text(value))), None)


def take_campaign(properties: dict[str, Any]) -> None:
    """Leave of `properties.campaign` what the envelope has no place for."""
    campaign = properties.get("campaign")
    if isinstance(campaign, dict):
        known = texts_of(campaign, ("source", "medium", "name", "term", "content", "id"))
        rest = {name: value for name, value in campaign.items() if name not in known and value is not None}
        del properties["campaign"]
        if rest:
            properties["campaign"] = rest


def custom_properties(given: Mapping[str, Any], spoken: str) -> dict[str, Any]:
    """Return a custom event's properties with the name it had; those beyond the 64th go into `_overflow`."""
    properties: dict[str, Any] = {"original_name": spoken}
    properties |= {name: value for name, value in given.items() if value is not None}
    if len(properties) <= MOST_PROPERTIES:
        return properties
    entries = list(properties.items())
    return dict(entries[: MOST_PROPERTIES - 1]) | {"_overflow": dict(entries[MOST_PROPERTIES - 1 :])}


def to_name(spoken: str) -> str:
    """Return a custom event's name as a legal identifier: `Song Played` becomes `song_played`.

    A name that is too long, or has no Latin letter or digit, gets a part that tells it from others like it.
    """
    plain = unicodedata.normalize("NFKD", spoken.replace("ß", "ss")).encode("ascii", "ignore").decode()
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", plain)
    name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    if not name or len(name) > NAME_CHARACTERS - 1:
        digest = hashlib.sha256(spoken.encode()).hexdigest()[:8]
        name = f"{name[: NAME_CHARACTERS - 10] or 'custom'}_{digest}"
    return f"_{name}" if name[0].isdigit() else name


def event_id_of(item: Mapping[str, Any], origin: Origin) -> str:
    """Return the event's id: the client's `messageId`; without one, a digest that a repeated request gives again."""
    message_id = to_text(item.get("messageId"))
    if isinstance(message_id, str) and len(message_id) <= EVENT_ID_CHARACTERS:
        return message_id
    if isinstance(message_id, str):
        return "sha256:" + hashlib.sha256(message_id.encode()).hexdigest()
    return "segment:" + hashlib.sha256(origin.salt.encode() + origin.raw).hexdigest()[:40]
