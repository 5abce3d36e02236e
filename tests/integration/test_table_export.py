"""Files that `touchtrail export` writes: for their owner alone, whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from derived_tables import store
from shop_events import wire_event
from touchtrail_collector.errors import StoreError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.table_export import export_table
from touchtrail_collector.settings import Settings, StoreSettings


@pytest.fixture
def host(tmp_path: Path) -> PluginHost:
    """Every plugin that is installed."""
    return PluginHost.load(Settings(store=StoreSettings(db=tmp_path / "shop.db")))


@pytest.fixture
def settings(tmp_path: Path, host: PluginHost) -> Settings:
    """Settings of a database with three events."""
    made = Settings(store=StoreSettings(db=tmp_path / "shop.db"))
    collector = Collector(made, host, starts_projector=False)
    store(collector, [wire_event(f"e{number}") for number in range(3)])
    collector.close()
    return made


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
def test_only_its_owner_can_read_an_export(
    settings: Settings, host: PluginHost, tmp_path: Path, is_there: bool
) -> None:
    target = tmp_path / "events.csv"
    if is_there:
        target.write_text("yesterday's")
        target.chmod(0o666)
    before = os.umask(0)
    try:
        rows = export_table(settings, host, "csv", target, table="events", options={})
    finally:
        os.umask(before)
    assert (rows, len(target.read_text().splitlines())) == (3, 4)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".events.csv*"))


def test_a_folder_that_is_not_there_is_said(settings: Settings, host: PluginHost, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no file can be made in"):
        export_table(settings, host, "csv", tmp_path / "none" / "e.csv", table="events", options={})
