"""The report `data-quality` as tables."""

from __future__ import annotations

from .data_quality import DataQualityReport
from .table import Table, TableColumn, struct_rows

_CHECKS = (
    TableColumn("state", "State"),
    TableColumn("name", "Check"),
    TableColumn("n", "Found", "integer"),
    TableColumn("of", "of", "integer"),
)
_FINDINGS = (
    TableColumn("name", "Check"),
    TableColumn("meaning", "What it means"),
    TableColumn("action", "What to do"),
)
_SOURCES = (
    TableColumn("source", "Source"),
    TableColumn("sent", "Sent", "integer"),
    TableColumn("accepted", "Accepted", "integer"),
    TableColumn("duplicates", "Again", "integer"),
    TableColumn("rejected", "Rejected", "integer"),
    TableColumn("dropped", "Dropped", "integer"),
    TableColumn("refused", "Refused", "integer"),
    TableColumn("late", "Late", "integer"),
    TableColumn("skewed", "Skewed", "integer"),
    TableColumn("future", "Future", "integer"),
    TableColumn("last_received_ms", "Last received", "time"),
)
_LOSSES = (
    TableColumn("source", "Source"),
    TableColumn("outcome", "Outcome"),
    TableColumn("reason", "Reason"),
    TableColumn("reasons", "Reasons", "integer"),
    TableColumn("events", "Events lost", "integer"),
    TableColumn("last_lost_ms", "Last lost", "time"),
    TableColumn("sender", "Told by"),
    TableColumn("action", "What to do"),
)
_REJECTS = (
    TableColumn("code", "Code"),
    TableColumn("n", "Rejected", "integer"),
    TableColumn("before", "Period before", "integer"),
    TableColumn("change", "Change", "integer"),
)
_REJECT_DAYS = (
    TableColumn("day", "Day (UTC)"),
    TableColumn("code", "Code"),
    TableColumn("n", "Rejected", "integer"),
)
_FILL = (
    TableColumn("open", "Open", "integer"),
    TableColumn("oldest_open_ms", "Oldest open", "time"),
    TableColumn("entries", "Entries", "integer"),
    TableColumn("max_entries", "of at most", "integer"),
    TableColumn("bytes", "Bytes", "integer"),
    TableColumn("max_bytes", "of at most", "integer"),
    TableColumn("full", "Full", "share"),
    TableColumn("dropped", "Had to go", "integer"),
)
_QUARANTINE = (
    TableColumn("source", "Source"),
    TableColumn("code", "Code"),
    TableColumn("n", "Open", "integer"),
    TableColumn("field", "Field"),
    TableColumn("message", "Latest message"),
)
_CUSTOM = (TableColumn("source", "Source"), TableColumn("name", "Event"), TableColumn("n", "Events", "integer"))
_CONFLICTS = (
    TableColumn("order_id", "Order"),
    TableColumn("currency", "Currency"),
    TableColumn("gross_minor", "Gross taken, minor units", "integer"),
    TableColumn("reports", "Reports", "integer"),
    TableColumn("conflicts", "Conflicts", "integer"),
)
_GAPS = (
    TableColumn("order_id", "Order"),
    TableColumn("net_minor", "Net, minor units", "integer"),
    TableColumn("changes_minor", "Sum of changes", "integer"),
)


def data_quality_tables(report: DataQualityReport) -> tuple[Table, ...]:
    """Return the checks, what to do about those that found something, the sources, and lists that are not empty."""
    zone = report.scope.time_zone
    found = [check for check in report.checks if check.state != "ok"]
    fill = [report.quarantine_fill] if report.quarantine_fill.entries else []
    lists = (
        ("findings", "What was found", _FINDINGS, found),
        ("losses", "Events lost before they reached the collector", _LOSSES, report.losses),
        ("rejects", "Rejected, by code", _REJECTS, report.rejects),
        ("reject_days", "Rejected, day by day", _REJECT_DAYS, report.reject_days),
        ("quarantine", "Open quarantine", _QUARANTINE, report.quarantine),
        ("quarantine_fill", "How full quarantine is", _FILL, fill),
        ("custom_events", "Names the vocabulary lacks", _CUSTOM, report.custom_events),
        ("conflicts", "Orders with different amounts", _CONFLICTS, report.conflicts),
        ("ledger_gaps", "Orders that do not add up", _GAPS, report.ledger_gaps),
    )
    note = (
        "Sent = accepted + again + rejected + dropped + refused; the last two never came, as the sender says."
        f" Late: received over {report.late_hours} h after it occurred. Skewed: clocks differed by over"
        f" {report.skew_s} s at sending. Future: occurred after it was received."
    )
    tables = [
        Table(name="checks", title="Data quality", columns=_CHECKS, rows=struct_rows(report.checks, _CHECKS)),
        Table(
            name="sources",
            title="Sources",
            columns=_SOURCES,
            rows=struct_rows(report.sources, _SOURCES),
            time_zone=zone,
            note=note,
        ),
    ]
    tables += [
        Table(name=name, title=title, columns=columns, rows=struct_rows(structs, columns), time_zone=zone)
        for name, title, columns, structs in lists
        if structs
    ]
    return tuple(tables)
