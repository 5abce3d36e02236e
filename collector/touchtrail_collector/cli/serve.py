"""`touchtrail serve`: the collector."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from errno import EADDRNOTAVAIL
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ..errors import StoreError
from .options import load_settings, settings_options

if TYPE_CHECKING:
    from ..services.collector import Collector

logger = logging.getLogger("touchtrail_collector.cli")

SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread keeps the interpreter from the others; Python's own 5 ms would be the shortest answer time
while the projector works (measured: ten times the throughput of the writer beside a busy thread)."""

NEW_OBJECTS = 10_000
"""So many objects more than before make Python look for cycles among the new ones; its own 700 is a few requests'."""

TRIM_EVERY_S = 10.0
"""How often free memory is given back; it takes a few milliseconds (measured)."""

MALLOC_OPTIONS = {-8: 2, -3: 131_072, -1: 131_072}
"""At most two arenas (M_ARENA_MAX); what is larger than 128 KB comes from the system, and goes back to it."""


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
    on stdout says where it listens, as soon as it does; the second is a link that lets in once.
    """
    # Until `spare_collector_of_cycles`: what a start makes stays, and to look it through takes a tenth of the start.
    gc.disable()
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.services.collector import Collector
    from touchtrail_collector.web.server import StopClock
    from touchtrail_collector.web.server import serve as run_server
    from touchtrail_collector.web.server_log import start_log

    settings = load_settings(db, config, {"server.host": host, "server.port": port, "server.log_format": log_format})
    check_host(settings.server.host)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    start_log(settings.server.log_format)
    collector = Collector(settings, PluginHost.load(settings, strict=strict or None))
    spare_collector_of_cycles()
    give_memory_back()
    clock = StopClock(settings.server.shutdown_timeout_s, partial(end_at_once, collector))
    try:
        run_server(collector, lambda url: say_listening(url, collector.sessions.issue_link()), clock.start)
    finally:
        hear_no_more_signals()
        close(collector, clock.left_s())


def check_host(host: str) -> None:
    """Raise StoreError for a host that cannot be listened on, whichever port is free there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
        try:
            trial.bind((host, 0))
        except socket.gaierror as error:
            fault = f"cannot listen on {host}: the name leads to no address ({error.strerror})"
        except OSError as error:
            fault = f"cannot listen on {host}: {error.strerror}"
            if error.errno == EADDRNOTAVAIL:
                fault = f"cannot listen on {host}: it is no address of this machine"
        else:
            return
    raise StoreError(f"{fault}; name one of this machine with --host: 127.0.0.1 for itself alone, 0.0.0.0 for all")


def close(collector: Collector, timeout_s: float) -> None:
    """Write what was queued and give the file back; what does not fit into the time was acknowledged to nobody."""
    try:
        collector.close(timeout_s)
    except StoreError as error:
        logger.warning("%s; nobody was told that they were stored", error)


def end_at_once(collector: Collector, left_s: float) -> NoReturn:
    """End the process, whatever still runs in it."""
    logger.warning("something that was under way takes too long and is cut off (server.shutdown_timeout_s)")
    with suppress(StoreError):
        collector.store.writer.close(left_s / 2)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def give_memory_back() -> None:
    """Have the C library return to the system what a report took, now and then, instead of keeping it for each thread.

    What SQLite frees lies between what is in use, where the library keeps it for ever: 40 of its 94 MB after two
    minutes of 500 events a second with a report every two.

    Source: mallopt(3) and malloc_trim(3) of glibc; other C libraries have neither, and do not need them.
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return
    for option, value in MALLOC_OPTIONS.items():
        library.mallopt(option, value)

    def trim() -> None:
        while True:
            time.sleep(TRIM_EVERY_S)
            library.malloc_trim(0)

    threading.Thread(target=trim, name="touchtrail-memory", daemon=True).start()


def hear_no_more_signals() -> None:
    """Have whoever tells us to stop once more wait: the database's orderly end takes a moment and is not cut off."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def spare_collector_of_cycles() -> None:
    """Have Python look for garbage in what requests leave behind, rarely, and never again in what the start made.

    Modules and settings, hundreds of thousands of objects, stay until the end: each look at them stops every request.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    gc.enable()


def say_listening(url: str, link: str) -> None:
    """Tell whoever started us where, and how to get in; flushed, because a program may be waiting for the line."""
    click.echo(f"touchtrail listening on {url}")
    click.echo(f"sign in once, within 15 minutes: {url}/sign-in?token={link}")
    sys.stdout.flush()
