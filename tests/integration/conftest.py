"""A collector in this process, on a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import ServerSettings, Settings, StoreSettings
from touchtrail_plugins.channels import default

OpenCollector = Callable[..., Collector]


@pytest.fixture(scope="session")
def default_host() -> PluginHost:
    """The default channel rules and no other plugin."""
    return PluginHost.of({"channel.default": default})


@pytest.fixture
def open_collector(tmp_path: Path, default_host: PluginHost) -> Iterator[OpenCollector]:
    """Open collectors that are closed at the end; ``name`` is the file's, other keywords go into `[server]`."""
    opened: list[Collector] = []

    def open_one(
        name: str = "shop", *, host: PluginHost = default_host, starts_projector: bool = False, **server: Any
    ) -> Collector:
        settings = Settings(store=StoreSettings(db=tmp_path / f"{name}.db"), server=ServerSettings(**server))
        opened.append(Collector(settings, host, starts_projector=starts_projector))
        return opened[-1]

    yield open_one
    for collector in opened:
        collector.close()


@pytest.fixture
def collector(open_collector: OpenCollector) -> Collector:
    """A collector that derives nothing by itself."""
    return open_collector()
