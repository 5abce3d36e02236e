"""Losses: why events never reached the log, as their senders tell in `events_lost`, and what to do for each reason."""

from __future__ import annotations

from typing import Final

LOSS_EVENT: Final = "events_lost"
"""How senders tell of losses: an event about events, of no person and no shop's doing."""

OTHER: Final = "other"
"""What reasons of the sender's own are counted as: they may be any text, and counters are kept for good."""

_CLEAN_SPOOL: Final = "give the client a folder it can write to (`spool_dir`), where events outlive the process"

DROPPED: Final = {
    "too_old": "The collector could not be reached, or refused the key, for longer than `max_spool_age_s`: see what "
    "`health().last_error` of the sender says.",
    "spool_full": "The collector was out of reach for too long, or `max_spool_bytes` is too small for what is tracked "
    "meanwhile: see the sender's log, then raise the limit.",
    "memory_full": f"Events had to wait in memory and it was full: {_CLEAN_SPOOL}, or raise `max_memory_bytes`.",
    "too_large": "The collector takes no request as large as that one event: leave out what nobody needs, or raise "
    "`body_limit_bytes` in its [server]; a proxy before it may have a limit too.",
    "damaged": "Bytes in the spool were damaged: check the disk of that machine, and that nobody edits the spool.",
    "closed": f"The client was closed while events waited in memory: {_CLEAN_SPOOL}, or raise `close_timeout_s`.",
}
"""What to do when events were taken by `track()` and then lost, by the SDK's reason (sdk/README.md, Counts)."""

REFUSED: Final = {
    "no_person": "Give `anonymous_id`, `customer_id` or `identifiers`, or set a context before tracking.",
    "no_visitor": "Nothing is wrong: the visitor may not be known, before consent for example.",
    "bad_name": "Use a struct of `touchtrail.events` or a name of letters, digits and underscores.",
    "bad_properties": "Give `properties` as a mapping, and only with an event's name.",
    "bad_amount": "Give amounts as finite numbers or decimal texts such as 129.90.",
    "not_finite": "NaN and Infinity have no JSON form: leave the value out.",
    "not_serialisable": "Give plain values: texts, numbers, booleans, lists and mappings, not too deeply nested.",
    "too_large": "Leave out what nobody needs, or raise `max_event_bytes` here and `event_limit_bytes` there.",
    "bad_id": "Give ids as texts of at most 200 characters.",
    "bad_time": "Give `occurred_at` as a datetime with a time zone.",
    "naive_time": "Give `occurred_at` a time zone: `datetime.now(UTC)`.",
    "invalid": "The collector would reject it: run the shop's tests with `touchtrail.testing` to see the field.",
    "spool_full": DROPPED["spool_full"],
    "memory_full": DROPPED["memory_full"],
    "closed": "`track()` was called after `close()`: close the client later.",
    "disabled": "The client was told to take no events (`disabled`); if that is not meant, unset it.",
    "unexpected": "A value or a clock raised while it was looked at: run the shop's tests with `strict=True`.",
}
"""What to do when `track()` did not take events."""

_OF_THE_SENDER: Final = "A reason of the sender's own: see what its documentation says of it."


def loss_advice(outcome: str, reason: str) -> str:
    """Return what to do about losses of one reason."""
    return (REFUSED if outcome == "refused" else DROPPED).get(reason, _OF_THE_SENDER)


def loss_counter(outcome: str, reason: str) -> str:
    """Return what losses are counted under, `lost:dropped:spool_full`."""
    is_known = reason in (REFUSED if outcome == "refused" else DROPPED)
    return f"lost:{outcome}:{reason if is_known else OTHER}"
