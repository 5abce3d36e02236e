"""What to do about a reject: worked out from its reason and its bytes whenever it is shown, never kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from touchtrail.errors import CurrencyError
from touchtrail.events import Event
from touchtrail.money import exponent

from .event import WireEvent
from .repair import find_places
from .wire_time import NEWEST_MS, OLDEST_MS
from .wording import find_nearest, squash

ENVELOPE = WireEvent.__struct_fields__
OTHER_NAMES = {
    "timestamp": "occurred_at", "time": "occurred_at", "datetime": "occurred_at", "createdat": "occurred_at",
    "ts": "occurred_at", "originaltimestamp": "occurred_at", "id": "event_id", "messageid": "event_id",
    "uuid": "event_id", "event": "name", "eventname": "name", "type": "name", "userid": "customer_id",
    "distinctid": "anonymous_id", "clientid": "anonymous_id", "visitorid": "anonymous_id", "deviceid": "anonymous_id",
    "props": "properties", "data": "properties", "params": "properties", "transactionid": "order_id",
    "revenue": "total", "value": "total", "productid": "sku", "itemid": "sku", "items": "lines", "products": "lines",
    "qty": "quantity", "amount": "total", "currencycode": "currency",
}  # fmt: skip
"""What other trackers call our fields, as `squash` writes it."""
CURRENCY_SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "zł": "PLN", "kč": "CZK", "euro": "EUR"}
AMOUNT_SIGNS = re.compile(r"[^\d.,\-]")
OTHER_POINTS = str.maketrans("٫٬．，", ".,.,")
POWER_OF_TEN = re.compile(r"\d\s*[eE^]\s*[+-]?\d")
THOUSANDS = re.compile(r"-?\d{1,3}([.,])\d{3}(?:\1\d{3})*")


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a reject.

    Args:
        text: one sentence.
        options: of `touchtrail quarantine replay`, when they mend it; values in capitals are to be filled in.
        for_all: True where the same options fit every reject of this reason, False where they hold this one's value.
    """

    text: str
    options: tuple[str, ...] = ()
    for_all: bool = True


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One reject, as advice is given on it.

    Args:
        event: what came, decoded; None where that cannot be done.
        value: what stands at the field; None where nothing does.
        field: dotted path, "" = none.
    """

    code: str
    field: str
    message: str
    event: Any
    value: Any
    size: int


class Adviser:
    """Says what to do about rejects.

    Args:
        event_types: every declared event by name.
        currency: the shop's.
        zone: the shop's time zone: times without one are read in it.
    """

    def __init__(self, event_types: Mapping[str, type[Event]], *, currency: str, zone: tzinfo) -> None:
        self._event_types = event_types
        self._currency = currency
        self._zone = zone

    def advise(self, *, code: str, field: str | None, message: str, body: bytes) -> Suggestion:
        """Return what to do about a reject."""
        try:
            event = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        place = next(find_places(event, field), None) if field else None
        value = None if place is None else place.holder[place.key]
        case = Case(code=code, field=field or "", message=message, event=event, value=value, size=len(body))
        return BY_CODE.get(code, advise_otherwise)(self, case)

    def unknown_field(self, case: Case) -> Suggestion:
        """A field that does not exist: rename it, move it, or drop it."""
        holder, _, name = case.field.rpartition(".")
        target = self._find_target(holder, name, case.event)
        if target is not None:
            return Suggestion(
                text=f"rename it: the sender calls {target} {name}", options=("--rename", f"{case.field}={target}")
            )
        if holder.partition(".")[0] == "properties":
            return Suggestion(
                text="it is data of the shop's own, which belongs into extra; or drop it",
                options=("--rename", f"{case.field}={holder}.extra.{name}"),
            )
        own = "properties" if self._kind_of(case.event) is None else "properties.extra"
        if not holder:
            return Suggestion(
                text="it is data of the shop's own, which belongs into properties; or drop it",
                options=("--rename", f"{name}={own}.{name}"),
            )
        return Suggestion(text="there is no place for it; drop it", options=("--drop", case.field))

    def _find_target(self, holder: str, name: str, event: Any) -> str | None:
        kind = self._kind_of(event)
        properties = () if kind is None else kind.__struct_fields__
        known = {"": ENVELOPE, "properties": properties}.get(holder, self._fields_at(holder, kind))
        meant = find_nearest(name, known) or OTHER_NAMES.get(squash(name))
        if meant in known and not has_value(event, path := f"{holder}.{meant}".lstrip(".")):
            return path
        # It may stand at the wrong level: `sku` beside the properties, `customer_id` among them.
        for other, fields in (("properties", properties), ("", ENVELOPE)):
            exact = {squash(field): field for field in fields if field not in ("extra", "name", "properties")}
            found = exact.get(squash(name)) or (meant if meant in exact.values() else None)
            if other != holder and holder in ("", "properties") and found is not None:
                path = f"{other}.{found}".lstrip(".")
                return None if has_value(event, path) else path
        return None

    def _kind_of(self, event: Any) -> type[Event] | None:
        name = event.get("name") if isinstance(event, dict) else None
        return self._event_types.get(name) if isinstance(name, str) else None

    def _fields_at(self, holder: str, kind: type[Event] | None) -> tuple[str, ...]:
        """Return the fields of an inner struct, `page` or `properties.lines[0]`."""
        inside = holder.startswith("properties.")
        struct: Any = kind if inside else WireEvent
        name = holder.removeprefix("properties.").partition("[")[0]
        for field in () if struct is None else msgspec.structs.fields(struct):
            if field.encode_name == name:
                return next((part.__struct_fields__ for part in parts_of(field.type)), ())
        return ()

    def missing_field(self, case: Case) -> Suggestion:
        """A field that is required: under another name, or to be set."""
        name = case.field.rpartition(".")[2]
        holder = case.field.removesuffix(name)
        for other in members_of(case.event, holder.rstrip(".")):
            if OTHER_NAMES.get(squash(other)) == name or squash(other) == squash(name):
                return Suggestion(text=f"{other} seems to be it", options=("--rename", f"{holder}{other}={case.field}"))
        if name == "event_id":
            return Suggestion(
                text="give each one an id made of its number; the sender should send one of its own",
                options=("--set", "event_id=replay-{id}"),
            )
        if name == "currency":
            return Suggestion(
                text=f"say which currency it is in; the shop's is {self._currency}",
                options=("--set", f"{case.field}={self._currency}"),
            )
        return Suggestion(text=f"fill {case.field} in", options=("--set", f"{case.field}=VALUE"))

    def wrong_value(self, case: Case) -> Suggestion:
        """A value of the wrong type or beyond its range: the same in the right form, where that can be told."""
        name = re.sub(r"\[.*?\]", "", case.field).rpartition(".")[2]
        if name == "name":
            return self._rename_event(case)
        for mend in (self._mend_time if name.endswith("_at") else None, mend_currency if name == "currency" else None):
            if mend is not None and (better := mend(case.value)) is not None:
                return set_to(case, better, for_all=name == "currency")
        if "amount" in case.message or "number" in case.message or "between 0" in case.message:
            better = mend_amount(case.value)
            if better is not None and better != case.value:
                text = f"write it as {better}; the sender should write amounts with one point and no sign"
                return Suggestion(text=text, options=("--set", f"{case.field}={better}"), for_all=False)
        if "must be text" in case.message and isinstance(case.value, int | float) and not isinstance(case.value, bool):
            text = msgspec.json.encode(str(case.value)).decode()
            return Suggestion(text="send it as text", options=("--set", f"{case.field}={text}"), for_all=False)
        if "at most" in case.message and isinstance(case.value, str):
            return Suggestion(text="it is too long for this field; shorten or drop it", options=("--drop", case.field))
        if not case.field or case.event is None:
            return advise_otherwise(self, case)
        required = "_id" in name or name in ("sku", "total")
        rest = ("--set", f"{case.field}=VALUE") if required else ("--drop", case.field)
        return Suggestion(text="give it a value that fits" + ("" if required else ", or drop it"), options=rest)

    def _rename_event(self, case: Case) -> Suggestion:
        if not isinstance(case.value, str):
            return Suggestion(text="say which event it is", options=("--set", "name=EVENT_NAME"))
        snake = re.sub(r"[^A-Za-z0-9]+", "_", case.value).strip("_").lower()[:64]
        meant = find_nearest(snake, self._event_types) or snake
        is_legal = re.fullmatch(r"[a-z_]\w*", meant) is not None
        return Suggestion(
            text=f"call it {meant}" if is_legal else "give it a name such as product_viewed",
            options=("--set", f"name={meant if is_legal else 'EVENT_NAME'}"),
        )

    def _mend_time(self, value: Any) -> str | None:
        """Return a time as it should have been written: seconds since 1970, or a time without its zone."""
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                at = datetime.fromtimestamp(value / 1000 if abs(value) > 10**11 else value, UTC)
            else:
                at = datetime.fromisoformat(str(value).strip())
                at = at if at.tzinfo else at.replace(tzinfo=self._zone)
            at_ms = at.timestamp() * 1000
        except (ValueError, OverflowError, OSError):
            return None
        return at.isoformat().replace("+00:00", "Z") if OLDEST_MS <= at_ms <= NEWEST_MS else None

    def too_much(self, case: Case) -> Suggestion:
        """Too large or too deep: the largest member is the likely culprit."""
        largest = find_largest(case.event, "")
        if largest is None:
            return Suggestion(text="leave out what nobody needs and send it again")
        return Suggestion(text=f"leave out what nobody needs; the largest is {largest}", options=("--drop", largest))

    def no_identity(self, case: Case) -> Suggestion:
        """Nobody is named: an id may stand among the properties."""
        for name in members_of(case.event, "properties"):
            meant = OTHER_NAMES.get(squash(name)) or next((i for i in ENVELOPE if squash(i) == squash(name)), None)
            if meant in ("anonymous_id", "customer_id"):
                return Suggestion(
                    text=f"properties.{name} seems to be it", options=("--rename", f"properties.{name}={meant}")
                )
        return Suggestion(
            text="say whose it is: the sender should send anonymous_id or customer_id with every event",
            options=("--set", "anonymous_id=VALUE"),
        )


def advise_otherwise(adviser: Adviser, case: Case) -> Suggestion:
    """Return what holds for codes that no rule can mend."""
    return Suggestion(text=OTHERWISE.get(case.code, "repair it by hand: `replay ID --edit`, or dismiss it"))


OTHERWISE = {
    "invalid_json": "it is no JSON: correct the sender; `replay ID --edit` repairs this one by hand",
    "invalid_line": "correct the line in the file and import it again, which stores nothing twice; then dismiss this",
    "plugin_failed": "repair or update the plugin (`touchtrail plugins`) and have it sent again; then dismiss it",
    "no_consent": "nothing: the person did not agree",
}
BY_CODE: dict[str, Callable[[Adviser, Case], Suggestion]] = {
    "unknown_field": Adviser.unknown_field,
    "missing_field": Adviser.missing_field,
    "invalid_type": Adviser.wrong_value,
    "invalid_value": Adviser.wrong_value,
    "too_large": Adviser.too_much,
    "too_deep": Adviser.too_much,
    "no_identity": Adviser.no_identity,
}


def set_to(case: Case, value: str, *, for_all: bool) -> Suggestion:
    """Suggest to write the same value in the right form."""
    return Suggestion(text=f"write it as {value}", options=("--set", f"{case.field}={value}"), for_all=for_all)


def has_value(event: Any, path: str) -> bool:
    """True when something stands at a path."""
    return next(find_places(event, path), None) is not None


def members_of(event: Any, path: str) -> list[str]:
    """Return the names in the object at a path, "" = the event itself."""
    place = next(find_places(event, path), None) if path else None
    holder = event if not path else None if place is None else place.holder[place.key]
    return list(holder) if isinstance(holder, dict) else []


def parts_of(kind: Any) -> Iterator[Any]:
    """Yield the structs a field's type is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in getattr(kind, "__args__", ()):
        yield from parts_of(part)


def mend_currency(value: Any) -> str | None:
    """Return the code that a sign or a code in small letters stands for."""
    if not isinstance(value, str):
        return None
    code = CURRENCY_SIGNS.get(value.strip().lower(), value.strip().upper())
    try:
        exponent(code)
    except CurrencyError:
        return None
    return code


def mend_amount(value: Any) -> str | None:
    """Return an amount as it should have been written: `1.299,00 €` is 1299.00; None where that cannot be told."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    if POWER_OF_TEN.search(value):  # without its letter 1e3 would be 13
        return None
    value = value.translate(OTHER_POINTS)
    text = AMOUNT_SIGNS.sub("", "".join(str(int(sign)) if sign.isdecimal() else sign for sign in value)).strip(".,")
    point = max(text.rfind("."), text.rfind(","))
    if THOUSANDS.fullmatch(text) and text.count(text[point]) > 1:
        text = text.replace(text[point], "")
    elif point >= 0:
        text = text[:point].replace(".", "").replace(",", "") + "." + text[point + 1 :]
    try:
        return text if Decimal(text).is_finite() else None
    except InvalidOperation:
        return None


def find_largest(value: Any, path: str) -> str | None:
    """Return the path of the member that takes most room, one level inside the properties where it lies there."""
    if not isinstance(value, dict) or not value:
        return None
    name = max(value, key=lambda member: len(msgspec.json.encode(value[member])))
    inner = f"{path}.{name}".lstrip(".")
    if inner in ("properties", "properties.extra", "page", "campaign", "device"):
        return find_largest(value[name], inner) or inner
    return inner
