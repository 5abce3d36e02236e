"""One person's road: sessions, touchpoints with channel and stage, experience signals. Pure; times in UTC milliseconds.

*Session*: events with a page or a device, on one device, with no gap of more than 30 minutes; a visit that comes from
another campaign or another foreign referrer begins a new one (GA4 and Piwik PRO use the same gap; journeys.md). Its
channel is that of its first visit. Coming back from the shop's own hosts or a payment page begins no new origin: the
session goes on, or after a gap takes over the channel of the one before and earns no credit of its own.

*Touch* (what attribution may credit): the first event of a session, unless the session is the landing of a click that
was reported apart up to 30 minutes before in the same channel; every click, impression and encounter. Notices and the
rest of a session stand on the road without credit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from touchtrail.events import Event, EventSpec

from .channel import Channel, ChannelClassifier, Traffic
from .fact import Fact
from .origin import campaign_name, has_campaign, traffic_of

SESSION_GAP_MS = 30 * 60_000
CLICK_LANDING_MS = 30 * 60_000

CUSTOM = EventSpec("", None, "visit")
"""How an event of an undeclared name counts."""


class Session(msgspec.Struct):
    """One visit. ``session_id`` is the place in the log of its first event."""

    session_id: int
    source_id: int
    started_at: int
    ended_at: int
    channel: Channel
    campaign: str | None
    landing_url: str | None
    device_kind: str | None
    origin: tuple[Any, ...] | None
    has_page: bool
    events: int = 1


class Touchpoint(msgspec.Struct):
    """One contact on the road."""

    seq: int
    at: int
    name: str
    stage: str | None
    moment: str | None
    contact: str
    creditable: bool
    channel: Channel | None
    session: Session | None
    campaign: str | None


class Signal(msgspec.Struct, frozen=True):
    """What tells pleasure from pain at a touchpoint."""

    seq: int
    at: int
    kind: str
    polarity: str
    score: float | None
    scale: float | None
    stage: str | None
    channel: Channel | None
    subject: str | None


class Road(msgspec.Struct):
    """Everything one person did, in order."""

    sessions: list[Session]
    touchpoints: list[Touchpoint]
    signals: list[Signal]


class JourneyRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a road is worked out with.

    Args:
        specs: what the vocabulary, plugins included, says of each event name.
        classifier: decides channels.
    """

    specs: Mapping[str, EventSpec]
    classifier: ChannelClassifier
    session_gap_ms: int = SESSION_GAP_MS
    click_landing_ms: int = CLICK_LANDING_MS


def specs_of(event_types: Mapping[str, type[Event]]) -> dict[str, EventSpec]:
    """Return the specs of event structs by name."""
    return {name: kind.spec for name, kind in event_types.items()}


def derive_road(facts: Sequence[Fact], rules: JourneyRules, repeated: Collection[int] = ()) -> Road:
    """Return one person's road.

    Args:
        facts: the person's events, sorted by `Fact.order`.
        repeated: places of events that only repeat another one (a second report of an order).
    """
    return build_road(facts, rules, repeated).road


def build_road(facts: Sequence[Fact], rules: JourneyRules, repeated: Collection[int] = ()) -> RoadBuilder:
    """Do the same and return the builder, which can go on from there."""
    builder = RoadBuilder(rules)
    # What happened in the same millisecond stands in the order of arrival: a sender's ids may be random.
    for fact in sorted(facts, key=road_order):
        if fact.seq not in repeated:
            builder.add(fact)
    return builder


def road_order(fact: Fact) -> tuple[int, int]:
    """Sort key of events on a road: time, then arrival (attribution.md, "Notation")."""
    return (fact.at, fact.seq)


class RoadBuilder:
    """Takes a person's events one by one, in order.

    Args:
        stage: the stage that the road before had reached last, where this one goes on from another.
        knows_devices: False where the sessions before are not known; they must all have ended by now.
    """

    def __init__(self, rules: JourneyRules, *, stage: str | None = None, knows_devices: bool = True) -> None:
        self.road = Road([], [], [])
        self.stage = stage
        self._rules = rules
        self._knows_devices = knows_devices
        self._by_device: dict[str, Session] = {}
        self._clicks: dict[str, int] = {}

    def begin_anew(self) -> None:
        """Begin an empty road that goes on from the one before: its sessions, clicks and stage are remembered."""
        self.road = Road([], [], [])

    def needs_history(self, fact: Fact) -> bool:
        """True when adding the event would ask for, or change, something that stood on the road before."""
        if self._rules.specs.get(fact.name, CUSTOM).contact != "visit":
            return False
        device = device_of(fact)
        session = None if device is None else self._by_device.get(device)
        if session is not None:
            return not session.has_page and fact.body.page is not None
        if self._knows_devices or device is None:
            return False
        traffic = origin_of(fact)
        return traffic.referrer_host is not None and self._foreign_origin(traffic) is None

    def add(self, fact: Fact) -> None:
        """Put one event on the road."""
        spec = self._rules.specs.get(fact.name, CUSTOM)
        if spec.contact == "none":
            return
        if spec.contact == "visit":
            self._add_visit(fact, spec)
        else:
            self._add_contact(fact, spec, spec.contact)

    def _add_visit(self, fact: Fact, spec: EventSpec) -> None:
        device = device_of(fact)
        if device is None:
            # Told by somebody, not seen on a page: a contact of its own, or a mere report of an order.
            is_told = spec.stage in ("awareness", "consideration")
            self._add_contact(fact, spec, "encounter" if is_told else "notice")
            return
        traffic = origin_of(fact)
        session = self._by_device.get(device)
        is_landing = False
        if session is None or self._begins_session(session, fact, traffic):
            session, is_landing = self._begin_session(session, fact, traffic)
            self._by_device[device] = session
        else:
            session.events += 1
            session.ended_at = max(session.ended_at, fact.at)
            self._adopt_origin(session, fact, traffic)
        self._put(fact, spec, "visit", is_landing, session.channel, session, session.campaign)

    def _begins_session(self, session: Session, fact: Fact, traffic: Traffic) -> bool:
        if fact.at - session.ended_at > self._rules.session_gap_ms:
            return True
        if not session.has_page:
            return False
        origin = self._foreign_origin(traffic)
        return origin is not None and origin != session.origin

    def _foreign_origin(self, traffic: Traffic) -> tuple[Any, ...] | None:
        """Return what tells one foreign origin from another; None when the visit comes from nowhere new."""
        if has_campaign(traffic):
            return (traffic.source, traffic.medium, traffic.campaign, traffic.click_ids)
        if traffic.referrer_host is None or self._rules.classifier.is_internal(traffic):
            return None
        return (traffic.referrer_domain or traffic.referrer_host,)

    def _begin_session(self, before: Session | None, fact: Fact, traffic: Traffic) -> tuple[Session, bool]:
        """Return a new session, and whether its first event earns credit."""
        origin = self._foreign_origin(traffic)
        channel = self._rules.classifier.classify(traffic)
        campaign = campaign_name(traffic)
        creditable = True
        if origin is None and before is not None and traffic.referrer_host is not None:
            # Back from the own hosts or a payment page after a long while: still the visit that began before.
            channel, campaign, creditable = before.channel, before.campaign, False
        elif fact.at - self._clicks.get(channel.name, -(2**62)) <= self._rules.click_landing_ms:
            creditable = False
        page, device = fact.body.page, fact.body.device
        session = Session(
            fact.seq, fact.source_id, fact.at, fact.at, channel, campaign,
            page.url if page is not None else None, device.kind if device is not None else None,
            origin, page is not None,
        )  # fmt: skip
        self.road.sessions.append(session)
        return session, creditable

    def _adopt_origin(self, session: Session, fact: Fact, traffic: Traffic) -> None:
        """A session that began with an event without a page takes its origin from the first page it has."""
        page = fact.body.page
        if session.has_page or page is None:
            return
        session.has_page = True
        session.landing_url = page.url
        session.origin = self._foreign_origin(traffic)
        if session.origin is not None:
            session.channel = self._rules.classifier.classify(traffic)
            session.campaign = campaign_name(traffic)
            for touchpoint in self.road.touchpoints:
                if touchpoint.session is session:
                    touchpoint.channel, touchpoint.campaign = session.channel, session.campaign

    def _add_contact(self, fact: Fact, spec: EventSpec, contact: str) -> None:
        traffic = origin_of(fact)
        channel: Channel | None = self._rules.classifier.classify(traffic)
        assert channel is not None
        if contact == "impression" and fact.body.properties.get("machine") is True:
            contact = "notice"  # a mail program opened it, not a person
        if contact == "click":
            self._clicks[channel.name] = fact.at
        if contact == "notice" and channel.is_direct:
            channel = None
        session = self._running_session(fact) if contact in ("encounter", "notice") else None
        self._put(fact, spec, contact, contact != "notice", channel, session, campaign_name(traffic))

    def _running_session(self, fact: Fact) -> Session | None:
        session = self._by_device.get(fact.body.anonymous_id) if fact.body.anonymous_id is not None else None
        if session is None or fact.at - session.ended_at > self._rules.session_gap_ms:
            return None
        return session

    def _put(  # noqa: PLR0913, PLR0917 - what a touchpoint is made of
        self,
        fact: Fact,
        spec: EventSpec,
        contact: str,
        creditable: bool,
        channel: Channel | None,
        session: Session | None,
        campaign: str | None,
    ) -> None:
        stage: str | None = spec.stage
        if stage is None and spec is not CUSTOM:
            stage = self.stage
        elif stage is not None:
            self.stage = stage
        self.road.touchpoints.append(
            Touchpoint(
                fact.seq, fact.at, fact.name, stage, spec.moment, contact, creditable, channel, session, campaign
            )
        )
        if spec.signal is not None:
            signal = read_signal(fact, spec, stage, channel)
            if signal is not None:
                self.road.signals.append(signal)


def device_of(fact: Fact) -> str | None:
    """Return what a visit happened on: the device, or a signed-in customer's pages; None = on no page of the shop."""
    body = fact.body
    if body.anonymous_id is not None:
        return body.anonymous_id
    if body.customer_id is None or (body.page is None and body.campaign is None):
        return None
    return "customer:" + body.customer_id


def origin_of(fact: Fact) -> Traffic:
    """Return what an event says of where the person came from."""
    body = fact.body
    page = body.page
    url, referrer = (None, None) if page is None else (page.url, page.referrer)
    if fact.name in CAMPAIGN_EVENTS:
        network, campaign_id = body.properties.get("network"), body.properties.get("campaign_id")
        return traffic_of(
            fact.name,
            url=url,
            referrer=referrer,
            campaign=body.campaign,
            network=network if isinstance(network, str) else None,
            campaign_id=campaign_id if isinstance(campaign_id, str) else None,
        )
    return traffic_of(fact.name, url=url, referrer=referrer, campaign=body.campaign)


CAMPAIGN_EVENTS = frozenset(
    {"ad_click", "ad_impression", "social_engaged", "campaign_touch", "push_received", "push_tapped"}
    | {"email_delivered", "email_opened", "email_clicked", "email_spam", "email_unsubscribed"}
)
"""Events whose properties may name a network or a campaign."""

SUBJECTS = ("sku", "order_id", "coupon_code", "query", "element", "topic", "conversation_id", "ticket_id")


def read_signal(fact: Fact, spec: EventSpec, stage: str | None, channel: Channel | None) -> Signal | None:
    """Return the signal an event carries; None when a score was expected and none was given."""
    properties = fact.body.properties
    kind, score, scale = fact.name, None, None
    polarity: str | None = spec.signal
    if spec.signal == "scored":
        kind = str(properties.get("kind") or fact.name)
        score = as_number(properties.get("score", properties.get("rating")))
        if score is None:
            return None
        scale = as_number(properties.get("scale")) or USUAL_SCALES.get(kind, 5.0)
        polarity = judge(kind, score, scale)
    assert polarity is not None
    subject = next((str(properties[name]) for name in SUBJECTS if properties.get(name) is not None), None)
    if subject is None and fact.body.page is not None and fact.body.page.url is not None:
        subject = fact.body.page.url.partition("?")[0]
    return Signal(fact.seq, fact.at, kind, polarity, score, scale, stage, channel, subject)


USUAL_SCALES = {"nps": 10.0, "csat": 5.0, "ces": 7.0}


def judge(kind: str, score: float, scale: float) -> str:
    """Return whether a score is `pain`, `gain` or `neutral`.

    NPS: 0-6 detractor, 7-8 passive, 9-10 promoter. Other scales: the lowest two fifths and the highest fifth, which
    on five stars are 1-2 and 4-5 (journeys.md, "Money and survey metrics": CSAT counts 4-5 of 5 as satisfied, CES
    5-7 of 7 as easy).
    """
    if kind == "nps":
        return "pain" if score <= 6 else "gain" if score >= 9 else "neutral"
    share = score / scale if scale else 0.0
    gain_from = 5 / 7 if kind == "ces" else 0.8
    return "gain" if share >= gain_from else "pain" if share <= 3 / 7 else "neutral"


def as_number(value: Any) -> float | None:
    """Return a score as a number, however it was written."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e9 else None
