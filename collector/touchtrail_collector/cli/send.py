"""`touchtrail send`: one event from a file, for trying things out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import click

from .options import check_key, check_url

if TYPE_CHECKING:
    import httpx


@click.command()
@click.argument("event", type=click.File("rb"))
@click.option("--url", envvar="TOUCHTRAIL_URL", default="http://127.0.0.1:8377", help="The collector's address.")
@click.option("--key", envvar="TOUCHTRAIL_KEY", required=True, help="A write key; else TOUCHTRAIL_KEY.")
@click.option("--validate", is_flag=True, help="Only check; nothing is stored.")
def send(event: BinaryIO, url: str, key: str, validate: bool) -> None:
    """Send one event from a file.

    EVENT is a JSON file (`-` = stdin) with one event, an array of events or a batch. An event without an event_id gets
    one, so the same file can be sent again and counts again.
    """
    import httpx
    import msgspec

    from touchtrail_collector.errors import StoreError

    check_url(url)
    check_key(key)
    body = msgspec.json.encode(with_ids(event.read(), event.name))
    path = "/v1/events/validate" if validate else "/v1/events"
    try:
        answer = httpx.post(f"{url.rstrip('/')}{path}", content=body, headers={"Authorization": f"Bearer {key}"})
    except httpx.InvalidURL as error:
        raise click.UsageError(f"{url!r} is no address of a collector: {error}") from None
    except httpx.HTTPError as error:
        advice = "correct --url, or start the collector there with `touchtrail serve`"
        raise StoreError(f"{url} does not answer: {error}; {advice}") from None
    show(answer, url)


def with_ids(text: bytes, name: str) -> Any:
    """Return the file's JSON, each event with an id. Raises UsageError for text that is no JSON."""
    import msgspec

    from touchtrail._envelope import EventIds
    from touchtrail_collector.errors import UsageError

    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}") from None
    events = given if isinstance(given, list) else given.get("events", [given]) if isinstance(given, dict) else []
    ids = EventIds()
    for event in events:
        if isinstance(event, dict):
            event.setdefault("event_id", ids.next())
    return given


def show(answer: httpx.Response, url: str) -> None:
    """Print what the collector said; exit with 1 when it did not take everything."""
    from touchtrail_collector.errors import StoreError

    body = read_object(answer)
    if body is None or (answer.status_code == 200 and "rejected" not in body):
        raise StoreError(f"what answers at {url} ({answer.status_code}) is no touchtrail collector; correct --url")
    if answer.status_code != 200:
        click.echo(f"{answer.status_code} {body.get('code')}: {body.get('message')}", err=True)
        raise click.exceptions.Exit(1)
    for rejected in body["rejected"]:
        click.echo(f"event {rejected['index']}: {rejected['code']}: {rejected['message']}", err=True)
    click.echo(f"{body['accepted']} accepted, {body['duplicates']} duplicates, {len(body['rejected'])} rejected")
    if body["rejected"]:
        raise click.exceptions.Exit(1)


def read_object(answer: httpx.Response) -> dict[str, Any] | None:
    """Return an answer's JSON object; None where it is none."""
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
