"""`touchtrail serve`: the collector."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import load_settings, settings_options

SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread keeps the interpreter from the others; Python's own 5 ms would be the shortest answer time
while the projector works (measured: ten times the throughput of the writer beside a busy thread)."""


@click.command()
@settings_options
@click.option("--host", metavar="ADDRESS", help="Address to listen on; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=int, metavar="N", help="Port to listen on; 8377 unless told otherwise, 0 = a free one.")
@click.option("--strict", is_flag=True, help="Refuse to start when a plugin is broken.")
@click.option("--log-format", type=click.Choice(["plain", "json"]), help="How the log on stderr is written.")
def serve(
    db: Path | None, config: Path | None, host: str | None, port: int | None, strict: bool, log_format: str | None
) -> None:
    """Run the collector.

        It runs until it is told to stop (Ctrl-C, SIGTERM), then finishes what was begun and writes it. The first line
    on stdout says where it listens, as soon as it does.
    """
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.services.collector import Collector
    from touchtrail_collector.web.server import serve as run_server
    from touchtrail_collector.web.server_log import start_log

    settings = load_settings(db, config, {"server.host": host, "server.port": port, "server.log_format": log_format})
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    start_log(settings.server.log_format)
    collector = Collector(settings, PluginHost.load(settings, strict=strict or None))
    try:
        run_server(collector, say_listening)
    finally:
        collector.close()


def say_listening(url: str) -> None:
    """Tell whoever started us; flushed, because a program may be waiting for the line."""
    click.echo(f"touchtrail listening on {url}")
    sys.stdout.flush()
