"""Reports: plain functions over derived data, each from a parameter struct to a result struct."""

from __future__ import annotations

from .attribution import AttributionParameters, AttributionReport, attribution, attribution_tables
from .channels import ChannelsParameters, ChannelsReport, channels, channels_tables
from .context import ReportContext, open_report_context
from .data_quality import DataQualityParameters, DataQualityReport, data_quality
from .data_quality_tables import data_quality_tables
from .journeys import JourneysParameters, JourneysReport, journeys
from .journeys_tables import journeys_tables
from .orders import OrdersParameters, OrdersReport, orders, orders_tables
from .overview import OverviewParameters, OverviewReport, overview
from .overview_tables import overview_tables
from .paths import PathsParameters, PathsReport, paths, paths_tables
from .report import Report
from .scope import ReportParameters, ReportScope, is_derived_otherwise
from .table import Measure, Table, TableColumn

__all__ = [
    "REPORTS",
    "AttributionParameters",
    "AttributionReport",
    "ChannelsParameters",
    "ChannelsReport",
    "DataQualityParameters",
    "DataQualityReport",
    "JourneysParameters",
    "JourneysReport",
    "Measure",
    "OrdersParameters",
    "OrdersReport",
    "OverviewParameters",
    "OverviewReport",
    "PathsParameters",
    "PathsReport",
    "Report",
    "ReportContext",
    "ReportParameters",
    "ReportScope",
    "Table",
    "TableColumn",
    "attribution",
    "channels",
    "data_quality",
    "is_derived_otherwise",
    "journeys",
    "open_report_context",
    "orders",
    "overview",
    "paths",
]

REPORTS: dict[str, Report] = {
    report.name: report
    for report in (
        Report(
            name="overview",
            answers="Do enough people see us, are they the right ones, do they feel well, do visits become orders?",
            parameters=OverviewParameters,
            result=OverviewReport,
            compute=overview,
            tables=overview_tables,
        ),
        Report(
            name="attribution",
            answers="Which channels earned the orders, by each model, net of what was taken back?",
            parameters=AttributionParameters,
            result=AttributionReport,
            compute=attribution,
            tables=attribution_tables,
        ),
        Report(
            name="channels",
            answers="What does each channel bring, and how do people feel there?",
            parameters=ChannelsParameters,
            result=ChannelsReport,
            compute=channels,
            tables=channels_tables,
        ),
        Report(
            name="journeys",
            answers="What was one person's whole road, and whose road is worth looking at?",
            parameters=JourneysParameters,
            result=JourneysReport,
            compute=journeys,
            tables=journeys_tables,
        ),
        Report(
            name="paths",
            answers="Over which channels, in which order, do people come to an order?",
            parameters=PathsParameters,
            result=PathsReport,
            compute=paths,
            tables=paths_tables,
        ),
        Report(
            name="orders",
            answers="What was ordered, what of it stayed, and where do senders disagree?",
            parameters=OrdersParameters,
            result=OrdersReport,
            compute=orders,
            tables=orders_tables,
        ),
        Report(
            name="data-quality",
            answers="What could make the other numbers wrong, and what is to be done about it?",
            parameters=DataQualityParameters,
            result=DataQualityReport,
            compute=data_quality,
            tables=data_quality_tables,
        ),
    )
}
"""Every report by name, in the order `touchtrail report --help` lists them."""
