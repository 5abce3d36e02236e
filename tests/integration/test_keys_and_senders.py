"""Keys through their life, and what a sender's mode lets be kept: nothing beyond it, in no table."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from in_process_http import Application
from shop_events import wire_event
from touchtrail_collector.api import hookimpl
from touchtrail_collector.cli.keys import keys
from touchtrail_collector.domain.source import (
    Endpoint,
    Source,
    SourceAck,
    SourceEvents,
    SourceReject,
    SourceRequest,
    SourceResponse,
)
from touchtrail_collector.errors import StoreError, UsageError
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import run_operation
from touchtrail_collector.services.collector import Collector

AGREED = {"consent": {"analytics": True}}


@pytest.fixture
def app(collector: Collector) -> Application:
    return Application(collector, run_operation(collector, "create_key", {"source": "web"})["key"])


def row_of(collector: Collector, key: str) -> Any:
    (row,) = [row for row in collector.store.list_keys() if row.hint == key[:8]]
    return row


def test_both_keys_work_in_the_grace_period_and_the_old_one_no_longer_after_it(app: Application) -> None:
    rotated = run_operation(app.collector, "rotate_key", {"key": app.key[:8], "grace_hours": 1})
    old, new = app, Application(app.collector, rotated["key"])
    assert rotated["replaced"] == old.key[:8]
    assert new.key != old.key
    assert [answer.post(wire_event(name)).status_code for name, answer in (("1", old), ("2", new))] == [200, 200]
    app.collector.store.write(
        lambda connection: connection.execute(
            "UPDATE keys SET expires_at = ? WHERE hint = ?", (time.time_ns() // 1_000_000 + 300, old.key[:8])
        )
    )
    app.collector.reload_keys()
    assert old.post(wire_event("3")).status_code == 200
    time.sleep(0.35)  # nothing is reloaded: the key ends by itself
    assert old.post(wire_event("4")).status_code == 401
    assert new.post(wire_event("5")).status_code == 200


def test_without_grace_the_old_key_ends_at_once_and_a_second_rotation_gives_it_no_more_time(app: Application) -> None:
    first = run_operation(app.collector, "rotate_key", {"key": app.key, "grace_hours": 2})
    again = run_operation(app.collector, "rotate_key", {"key": app.key, "grace_hours": 100})
    assert again["replaced_until_ms"] == first["replaced_until_ms"]
    run_operation(app.collector, "rotate_key", {"key": app.key, "grace_hours": 0})
    assert app.post(wire_event("1")).status_code == 401
    with pytest.raises(StoreError, match="0 valid keys"):
        run_operation(app.collector, "rotate_key", {"key": app.key})


def test_a_read_token_is_rotated_into_a_read_token(app: Application) -> None:
    token = run_operation(app.collector, "create_key", {})["key"]
    new = run_operation(app.collector, "rotate_key", {"key": token, "grace_hours": 0})["key"]
    for given, status in ((token, 401), (new, 200)):
        headers = {"authorization": f"Bearer {given}"}
        assert app.ask("GET", "/api/v1/reports/overview", headers=headers).status_code == status


def test_the_last_use_is_written_without_being_waited_for(app: Application) -> None:
    assert row_of(app.collector, app.key).last_used_at is None
    before = time.time_ns() // 1_000_000
    for number in range(20):
        assert app.post(wire_event(str(number))).status_code == 200
    used = row_of(app.collector, app.key).last_used_at
    assert before <= used <= time.time_ns() // 1_000_000
    app.collector._uses.flush()
    app.collector.store.write(lambda _: None)
    assert row_of(app.collector, app.key).last_used_at >= used


def stored_bytes(collector: Collector) -> bytes:
    """Return everything in the database file and its write-ahead log."""
    return b"".join(path.read_bytes() for path in Path(collector.store.path).parent.iterdir() if path.is_file())


def counts(collector: Collector) -> dict[str, int]:
    with collector.store.reading() as reader:
        return dict(reader.execute("SELECT name, sum(n) FROM counters GROUP BY name").fetchall())


@pytest.mark.parametrize(
    "consent", [None, {}, {"analytics": None}, {"analytics": False}, {"ads": True}, {"analytics": 1}, "yes"]
)
def test_without_consent_nothing_is_kept_where_it_is_required_but_counted(app: Application, consent: Any) -> None:
    run_operation(app.collector, "set_sender", {"source": "web", "mode": "consent_required"})
    secret = wire_event("secret-id-7531", anonymous_id="secret-person-7531", consent=consent)
    answer = app.post([secret, secret | {"surprise": 1}, wire_event("2", **AGREED)]).json()
    assert (answer["accepted"], [entry["index"] for entry in answer["rejected"]]) == (1, [0, 1])
    assert b"secret" not in stored_bytes(app.collector)
    if not isinstance(consent, str) and consent != {"analytics": 1}:
        assert answer["rejected"][0]["code"] == "no_consent"
        assert answer["rejected"][0]["field"] == "consent.analytics"
        assert counts(app.collector) == {
            "accepted": 1,
            "rejected:no_consent": 1,
            "rejected:unknown_field": 1,
        }
    assert sum(counts(app.collector).values()) == 3


def test_in_full_mode_everything_is_kept_and_quarantine_too(app: Application) -> None:
    answer = app.post([wire_event("1", consent={"analytics": False}), wire_event("2", surprise=1)]).json()
    assert answer["accepted"] == 1
    with app.collector.store.reading() as reader:
        assert reader.execute("SELECT count(*) FROM quarantine").fetchone() == (1,)


def test_who_agreed_is_kept_and_a_reject_of_theirs_can_be_repaired(app: Application) -> None:
    run_operation(app.collector, "set_sender", {"source": "web", "mode": "consent_required"})
    assert app.post([wire_event("1", **AGREED), wire_event("2", surprise=1, **AGREED)]).json()["accepted"] == 1
    ids = {"ids": [1]}
    stripped = run_operation(app.collector, "replay", ids | {"body": json.dumps(wire_event("2"))})
    assert [entry["code"] for entry in stripped["named"]] == ["no_consent"]
    assert run_operation(app.collector, "replay", ids | {"body": json.dumps(wire_event("2", **AGREED))})["stored"] == 1


def test_what_people_decided_and_what_is_about_nobody_is_kept_without_consent(app: Application) -> None:
    run_operation(app.collector, "set_sender", {"source": "web", "mode": "consent_required"})
    spend = {"date": "2026-01-01", "platform": "x", "campaign": "c", "amount": "1.00", "currency": "EUR"}
    batch = [
        wire_event("1", "consent_withdrawn", consent={"analytics": False}),
        wire_event("2", "consent_given", consent={"ads": True}),
        wire_event("3", "ad_spend_reported", anonymous_id=None, properties=spend),
        wire_event("4", "ad_spend_reported", properties=spend),
    ]
    codes = {entry["id"]: entry["code"] for entry in app.post(batch).json()["rejected"]}
    assert codes["4"] == "no_consent"
    assert set(codes) <= {"3", "4"}, codes
    assert {"1", "2"} <= set(app.stored())


def test_a_plugins_events_and_rejects_are_held_to_the_mode_as_well(open_collector: Any) -> None:
    def read(request: SourceRequest) -> SourceEvents:
        raw = b"secret-raw"
        event = wire_event("secret-1", anonymous_id="secret-2")
        return SourceEvents(
            key=request.query["key"], events=(event, SourceReject(code="invalid_line", message="m", raw=raw))
        )

    def answer(ack: SourceAck, _: SourceRequest) -> SourceResponse:
        return SourceResponse(body=b"%d %d" % (ack.accepted, ack.rejected))

    class Till:
        @hookimpl
        def touchtrail_sources(self, settings: Any) -> list[Source]:
            end = Endpoint(path="/till", read=read, answer=answer, unauthorized=SourceResponse(status=401))
            return [Source(name="till", endpoints=(end,))]

    app = Application(open_collector(host=PluginHost.of({"source.till": Till()})), "")
    app.key = run_operation(app.collector, "create_key", {"source": "till", "mode": "consent_required"})["key"]
    assert app.ask("POST", f"/till?key={app.key}").content == b"0 2"
    assert b"secret" not in stored_bytes(app.collector)
    run_operation(app.collector, "set_sender", {"source": "till", "mode": "full"})
    assert app.ask("POST", f"/till?key={app.key}").content == b"1 1"
    assert b"secret" in stored_bytes(app.collector)


def test_what_a_sender_may_do_cannot_be_nonsense(collector: Collector) -> None:
    for arguments, said in (
        ({"source": "web", "origins": ["shop.example"]}, "an origin is scheme and host"),
        ({"source": "web", "mode": "secret"}, "mode"),
    ):
        with pytest.raises(UsageError, match=said):
            run_operation(collector, "create_key", arguments)
    with pytest.raises(StoreError, match="there is no source 'nobody'"):
        run_operation(collector, "set_sender", {"source": "nobody", "mode": "full"})
    assert collector.store.list_keys() == []


def command(db: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--db", str(db)], catch_exceptions=False)


def test_the_commands_make_change_rotate_and_list(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    made = command(db, "create", "--source", "web", "--origin", "https://Shop.example/", "--mode", "consent_required")
    key = made.stdout.strip()
    assert command(db, "create", "--read", "--mode", "full").exit_code == 2
    assert command(db, "set", "--source", "web").exit_code == 2
    assert command(db, "set", "--source", "web", "--any-origin", "--origin", "https://a.example").exit_code == 2
    rotated = command(db, "rotate", key[:8], "--grace-hours", "2")
    assert rotated.stdout.startswith("ttw_")
    assert f"{key[:8]}… is good until" in rotated.stderr
    listed = json.loads(command(db, "list", "--format", "json").stdout)
    assert [(row["mode"], row["origins"], row["expires_at"] is None, row["last_used_at"]) for row in listed] == [
        ("consent_required", ["https://shop.example"], False, None), ("consent_required", ["https://shop.example"], True, None),
    ]  # fmt: skip
    assert command(db, "set", "--source", "web", "--any-origin").stdout == "changed web\n"
    lines = command(db, "list").stdout.splitlines()
    assert "rotated, valid until" in lines[0]
    assert all("consent_required, any origin" in line and "never used" in line for line in lines)
