"""Every report has its section in collector/README.md, with its tables, the parts of its result and its checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from reference_page import COLLECTOR, SDK, names_in, read_rows, read_sections
from touchtrail_collector.domain.loss import DROPPED, REFUSED
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS, ReportContext, open_report_context
from touchtrail_collector.services.reports.data_quality_losses import LossCount
from touchtrail_collector.settings import Settings, StoreSettings


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    return read_sections(COLLECTOR)


@pytest.fixture(scope="module")
def empty_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReportContext]:
    """Yield the reports' view of a database nothing was sent to, with the installed plugins."""
    settings = Settings(store=StoreSettings(db=tmp_path_factory.mktemp("reports") / "shop.db"))
    host = PluginHost.load(settings)
    Collector(settings, host, starts_projector=False).close()
    with open_report_context(settings, host=host) as context:
        yield context


def run(name: str, context: ReportContext) -> Any:
    return REPORTS[name].run(context, REPORTS[name].read_parameters({}))


def test_the_sections_are_exactly_the_reports(sections: dict[str, str]) -> None:
    documented = {heading.removeprefix("Report: ") for heading in sections if heading.startswith("Report: ")}
    assert documented == set(REPORTS)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_documented_with_its_question_its_tables_and_the_parts_of_its_result(
    name: str, sections: dict[str, str], empty_shop: ReportContext
) -> None:
    text = " ".join(sections[f"Report: {name}"].split())
    shared = {part for row in read_rows(sections["Reports"]) for part in names_in(row[0])}
    result = run(name, empty_shop)
    tables = [table.name for table in REPORTS[name].tables(result)]
    parts = [field.name for field in msgspec.structs.fields(type(result)) if field.name not in shared]
    assert f"*{REPORTS[name].answers}*" in text
    assert [entry for entry in (*tables, *parts) if entry not in names_in(text)] == []


def test_every_check_of_the_data_quality_report_is_explained(
    sections: dict[str, str], empty_shop: ReportContext
) -> None:
    documented = [check for row in read_rows(sections["Report: data-quality"]) for check in names_in(row[0])]
    assert documented == [check.name for check in run("data-quality", empty_shop).checks]


def test_every_reason_for_which_the_sdk_loses_events_has_something_to_do_about_it() -> None:
    reasons: dict[str, set[str]] = {}
    outcome = ""
    for line in read_sections(SDK)["Counts"].splitlines():
        names = names_in(line.split("|")[1]) if line.startswith("|") else []
        if names and names[0] in ("dropped", "refused"):
            outcome = names[0]
        else:
            reasons.setdefault(outcome, set()).update(names)
    assert len(reasons["dropped"]) >= 4
    assert len(reasons["refused"]) >= 12
    assert reasons["dropped"] - DROPPED.keys() == set()
    assert reasons["refused"] - REFUSED.keys() == set()


def test_what_is_listed_of_a_loss_is_documented(sections: dict[str, str]) -> None:
    _, _, text = sections["Lost events"].rpartition("```")
    documented = set(names_in(" ".join(text.split())))
    assert {field.name for field in msgspec.structs.fields(LossCount)} - {"source"} <= documented
    reasons = {name for row in read_rows(sections["Lost events"]) for name in names_in(row[0])}
    assert reasons == set(DROPPED)
