"""Judges data quality: which counts need a look, what they mean, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The counts the checks rest on.

    Args:
        events: received in the period, of the shop's sources.
        accepted, duplicates, rejected: as counted at the door in the period, by UTC day.
        dropped, refused: events the senders took and lost, and never took, as they told on these days; ``lost`` both.
        sent: ``accepted`` + ``duplicates`` + ``rejected`` + ``lost``: nothing is lost without a count.
        quarantined: rejects of the period that are still open.
        pushed_out: open rejects that had to go in the period, because quarantine was full or they were too old.
        waiting: events in the log that are not in the derived data yet.
        custom: events of the period whose name the vocabulary lacks.
        late, skewed, future: events of the period that came late, whose sender's clock and ours differed at
            sending, that claim to have occurred after they were received.
        personless: derived events that belong to nobody; costs, media flights and losses aside; all shops.
        persons, bots, bot_events: people, those taken for robots, and their events; over all time.
        orders: placed in the period, in any currency; ``orders_own_currency`` in the report's.
        unknown_orders: orders of which only later events have come, never the placing; over all time.
        bot_orders: orders placed by people taken for robots; over all time.
        conflicting_orders: orders of the period of which senders reported different amounts.
        orders_without_touch: of ``orders_own_currency``, those without a touch in the look-back window.
        ledger_gaps: orders whose changes do not sum to their net amount, counted up to twenty.
        other_rules: 1 when everything was derived with other plugins or settings than the report's caller has.
    """

    events: int
    sent: int
    accepted: int
    duplicates: int
    rejected: int
    dropped: int
    refused: int
    lost: int
    quarantined: int
    pushed_out: int
    waiting: int
    custom: int
    late: int
    skewed: int
    future: int
    personless: int
    persons: int
    bots: int
    bot_events: int
    orders: int
    orders_own_currency: int
    unknown_orders: int
    bot_orders: int
    conflicting_orders: int
    orders_without_touch: int
    ledger_gaps: int
    other_rules: int


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that could make another number wrong.

    Args:
        state: `ok`: nothing found. `note`: found, and usual. `look`: enough to change numbers. `wrong`: never right.
        n: how many; ``of`` out of how many, None where there is no whole.
        meaning: what it does to other numbers. action: what to do about it.
    """

    name: str
    state: Literal["ok", "note", "look", "wrong"]
    n: int
    of: int | None
    meaning: str
    action: str


class _Rule(NamedTuple):
    """One check: the figure, the whole it is of, the share from which it needs a look (None: any is wrong)."""

    figure: str
    whole: str | None
    look_from: float | None
    meaning: str
    action: str


_RULES = (
    _Rule(
        "waiting",
        None,
        0.0,
        "Events that were received but not derived yet are missing from every report.",
        "Start the collector, which derives as it runs; if the number stays, see its log, then `touchtrail rebuild`.",
    ),
    _Rule(
        "quarantined",
        "events",
        0.0,
        "Rejected events are in no report until they are repaired.",
        "`touchtrail quarantine list` shows why; repair the sender, then `touchtrail quarantine replay`.",
    ),
    _Rule(
        "pushed_out",
        None,
        0.0,
        "Rejected events had to go before they were repaired: nothing brings them back.",
        "Repair or dismiss rejects earlier, repair the sender, or raise the limits in [quarantine].",
    ),
    _Rule(
        "lost",
        "sent",
        0.001,
        "Events were lost before they reached the collector: no report has them, and nothing brings them back.",
        "`losses` says what to do for each reason.",
    ),
    _Rule(
        "duplicates",
        "accepted",
        0.2,
        "Events that came again were dropped, so nothing is counted twice; many of them cost the sender time.",
        "Usual after outages; if it goes on, see why the sender does not get its acknowledgements.",
    ),
    _Rule(
        "custom",
        "events",
        0.2,
        "Names the vocabulary lacks are kept, but have no stage: journeys and stage figures pass them over.",
        "Use a standard name where one fits; a misspelt standard name is listed among the custom events.",
    ),
    _Rule(
        "late",
        "events",
        0.05,
        "Late events change days that were reported already. Imported history counts as late, and that is right.",
        "Look again at reports of those days; if no import was made, see which sender was cut off.",
    ),
    _Rule(
        "skewed",
        "events",
        0.01,
        "The sender's clock was wrong when it sent; times are corrected by the difference where both stamps are known.",
        "Set the clock of that sender by a time server.",
    ),
    _Rule(
        "future",
        "events",
        0.001,
        "Events from the future fall out of their period, and can stand after the order they led to.",
        "Set the clock of that sender by a time server.",
    ),
    _Rule(
        "personless",
        None,
        0.0,
        "Events that belong to nobody are in no journey.",
        "Send an anonymous or customer id with every event; if they have one, run `touchtrail rebuild`.",
    ),
    _Rule(
        "bots",
        "persons",
        0.3,
        "People taken for robots are left out of every report.",
        "If real customers are among them, see their road: `touchtrail report journeys --person person:ID`.",
    ),
    _Rule(
        "bot_orders",
        None,
        0.0,
        "Orders of people taken for robots are left out of revenue; robots do not usually order.",
        "See who they are: a server that sends orders with its own user agent looks like a robot.",
    ),
    _Rule(
        "unknown_orders",
        None,
        0.0,
        "Of these orders only later events came (paid, refunded), so they are in no revenue.",
        "Send order_placed for them, with the same order number; import it if it was before touchtrail.",
    ),
    _Rule(
        "conflicting_orders",
        "orders",
        0.01,
        "Senders reported different amounts for the same order; one was taken.",
        "See the list of conflicts: usually one sender leaves out tax or shipping.",
    ),
    _Rule(
        "orders_without_touch",
        "orders_own_currency",
        0.3,
        "Orders without a touch in the look-back window stand under (none): no channel gets their credit.",
        "Send page views with the same ids as orders, or ask for a longer look-back window.",
    ),
    _Rule(
        "ledger_gaps",
        None,
        None,
        "The changes of these orders do not sum to their net amount: attribution refuses to count them.",
        "Run `touchtrail rebuild`, and report it if it stays.",
    ),
    _Rule(
        "other_rules",
        None,
        0.0,
        "Everything was derived with other plugins or settings than this report's caller has: `scope` names them.",
        "Restart the collector, it then derives everything anew; where none runs, run `touchtrail rebuild`.",
    ),
)

_RANKING = ("wrong", "look", "note", "ok")


def judge(figures: Figures, actions: Mapping[str, str | None] = MappingProxyType({})) -> tuple[Check, ...]:
    """Return every check, those that need a look first, otherwise in a fixed order.

    Args:
        actions: what to do, by figure, where what was found says more than the rule; None = the rule's own words.
    """
    checks = [_judge_one(rule, figures, actions.get(rule.figure) or rule.action) for rule in _RULES]
    return tuple(sorted(checks, key=lambda check: _RANKING.index(check.state)))


def _judge_one(rule: _Rule, figures: Figures, action: str) -> Check:
    n = int(getattr(figures, rule.figure))
    whole = None if rule.whole is None else int(getattr(figures, rule.whole))
    state: Literal["ok", "note", "look", "wrong"] = "ok"
    if n and rule.look_from is None:
        state = "wrong"
    elif n:
        state = "look" if whole is None or n > (rule.look_from or 0.0) * whole else "note"
    return Check(name=rule.figure, state=state, n=n, of=whole, meaning=rule.meaning, action=action)
