"""The report `overview` as tables."""

from __future__ import annotations

from .overview import OverviewReport
from .survey import Interval, SurveyResult
from .table import Kind, Measure, Table, TableColumn, struct_rows

_ANSWERS = (
    TableColumn("question", "Question"),
    TableColumn("measure", "Measure"),
    TableColumn("value", "Value", "measure"),
)
_MONTHS = (
    TableColumn("month", "Month"),
    TableColumn("persons", "People", "integer"),
    TableColumn("new_persons", "New", "integer"),
    TableColumn("sessions", "Sessions", "integer"),
    TableColumn("orders", "Orders", "integer"),
    TableColumn("gross_minor", "Gross", "money"),
    TableColumn("net_minor", "Net", "money"),
    TableColumn("pain_signals", "Pain", "integer"),
    TableColumn("gain_signals", "Gain", "integer"),
)
_SURVEYS = (
    TableColumn("kind", "Survey"),
    TableColumn("n", "Answers", "integer"),
    TableColumn("score", "Score", "measure"),
    TableColumn("low", "from", "measure"),
    TableColumn("high", "to", "measure"),
    TableColumn("mean", "Mean", "decimal"),
    TableColumn("best_share", "Best answers", "share"),
)


def overview_tables(report: OverviewReport) -> tuple[Table, ...]:
    """Return the answers, the months, the surveys where there are any, and other currencies likewise."""
    currency, zone = report.scope.currency, report.scope.time_zone
    tables = [
        Table(
            name="answers",
            title="Overview",
            columns=_ANSWERS,
            rows=tuple(_answers(report)),
            currency=currency,
            note=f"{report.scope.bots_left_out or 0} robots are left out. Net: what was not taken back until now.",
        ),
        Table(
            name="by_month",
            title="By month",
            columns=_MONTHS,
            rows=struct_rows(report.months, _MONTHS),
            currency=currency,
            time_zone=zone,
        ),
    ]
    if report.experience.surveys:
        rows = tuple(_survey_row(survey) for survey in report.experience.surveys)
        note = "95 % intervals. NPS from -100 to 100; CSAT is the share of the best answers; CES is the mean answer."
        tables.append(Table(name="surveys", title="Surveys", columns=_SURVEYS, rows=rows, note=note))
    return tuple(tables)


def _answers(report: OverviewReport) -> list[tuple[str, str, Measure]]:
    reach, fit, feeling, sales = report.reach, report.fit, report.experience, report.conversion
    lines: list[tuple[str, str, object, Kind]] = [
        ("Reach", "people with a touchpoint", reach.persons, "integer"),
        ("", "of these new", reach.new_persons, "integer"),
        ("", "sessions", reach.sessions, "integer"),
        ("", "touchpoints", reach.touchpoints, "integer"),
        ("Fit", "share of new people", fit.new_share, "share"),
        ("", "known by a customer id", fit.identified, "integer"),
        ("", "share who ever ordered", fit.customer_share, "share"),
        ("", "new people who ordered", fit.new_conversion_rate, "share"),
        ("", "returning people who ordered", fit.returning_conversion_rate, "share"),
        ("Experience", "pain signals", feeling.pain_signals, "integer"),
        ("", "gain signals", feeling.gain_signals, "integer"),
        ("Conversion", "people who ordered", sales.conversion_rate, "share"),
        ("", "orders", sales.totals.orders, "integer"),
        ("", "gross", sales.totals.gross_minor, "money"),
        ("", "cancelled", -sales.totals.cancelled_minor, "money"),
        ("", "refunded", -sales.totals.refunded_minor, "money"),
        ("", "charged back", -sales.totals.charged_back_minor, "money"),
        ("", "net revenue", sales.totals.net_minor, "money"),
        ("", "average order", sales.average_order_minor, "money"),
        ("", "revenue kept", sales.kept_share, "share"),
        ("", "buyers with two orders or more", sales.repeat_rate, "share"),
    ]
    lines += [
        ("", f"net in {other.currency}, {other.orders} orders, minor units", other.net_minor, "integer")
        for other in report.other_currencies
    ]
    return [(question, measure, Measure(value, kind)) for question, measure, value, kind in lines]


def _survey_row(survey: SurveyResult) -> tuple[object, ...]:
    kind: Kind = "share" if survey.kind == "csat" else "decimal"
    interval: Interval | None = survey.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    name = f"{survey.kind.upper()} of {survey.scale:g}"
    bounds = (Measure(low, kind), Measure(high, kind))
    return (name, survey.n, Measure(survey.score, kind), *bounds, survey.mean, survey.best_share)
