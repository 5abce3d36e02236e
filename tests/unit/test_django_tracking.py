"""Django: the one client, transactions, the script tag, the management command."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest

import django_site  # configures Django, before its models can be imported

# isort: split
import django
from django.core.management import CommandError, call_command
from django.db import transaction
from django.template import Context, Template
from django.test import override_settings
from django.utils.functional import SimpleLazyObject, empty

from sdk_sink import running_sink
from touchtrail import Client, events, use_context
from touchtrail import Context as Visitor
from touchtrail.integrations.django import client, override_client, snippet, track_on_commit
from touchtrail.testing import CapturingClient, assert_tracked

ADDRESS = {"url": "https://collect.shop.example", "key": "k", "memory_only": True}


@pytest.fixture
def tracked() -> Iterator[CapturingClient]:
    with CapturingClient() as capturing, override_client(capturing):
        yield capturing


def test_a_process_has_one_client_however_many_threads_ask_first() -> None:
    with override_settings(TOUCHTRAIL={"capture": True}):
        found: list[Client] = []
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            found.append(client())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(map(id, found))) == 1


def test_changed_settings_give_a_new_client_and_close_the_old_one() -> None:
    before = client()
    with override_settings(TOUCHTRAIL=ADDRESS | {"linger_s": 7}):
        inside = client()
        assert inside.options.linger_s == 7
    assert client().options.linger_s != 7
    assert [known.health().state for known in (before, inside)] == ["closed", "closed"]


def test_a_test_can_put_its_own_client_in_place_and_nest_it() -> None:
    outer, inner = CapturingClient(), CapturingClient()
    real = client()
    with override_client(outer) as given:
        assert given is outer is client()
        with override_client(inner), override_settings(TOUCHTRAIL={"disabled": True}):
            assert client() is inner
        assert client() is outer
    assert client() is real


def test_outside_a_server_settings_that_cannot_work_are_logged_and_nothing_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with override_settings(TOUCHTRAIL={"red": 1}), caplog.at_level(logging.ERROR, "touchtrail"):
        assert client().track("clicked", anonymous_id="a") is False
        assert client().track("clicked", anonymous_id="a") is False
        assert client().health().refused == {"disabled": 2}
    (record,) = caplog.records
    assert "red: no such option" in record.getMessage()


def test_an_order_is_tracked_when_and_only_when_it_is_committed(tracked: CapturingClient) -> None:
    with use_context(Visitor(anonymous_id="a-1")), transaction.atomic():
        track_on_commit(events.OrderPlaced(order_id="O-1", currency="EUR", total="9"), customer_id="c-1")
        assert tracked.events == []
    with transaction.atomic():
        track_on_commit(events.OrderPlaced(order_id="O-2", currency="EUR", total="9"), customer_id="c-1")
        transaction.set_rollback(True)
    track_on_commit("gift_wrapped", properties={"paper": "red"}, customer_id="c-2")
    assert_tracked(tracked, "order_placed", order_id="O-1", customer_id="c-1", anonymous_id="a-1")
    assert_tracked(tracked, "gift_wrapped", paper="red")
    assert len(tracked.events) == 2


def test_the_event_of_a_transaction_is_the_visitors_who_was_served_when_it_was_made(tracked: CapturingClient) -> None:
    with use_context(Visitor(anonymous_id="other")), transaction.atomic():
        with use_context(Visitor(anonymous_id="a-1")):
            track_on_commit("committed")
        with transaction.atomic():
            track_on_commit("nested")
    assert [event.wire["anonymous_id"] for event in tracked.events] == ["a-1", "other"]


def test_where_django_knows_no_transaction_the_event_is_tracked_at_once(tracked: CapturingClient) -> None:
    async def serve() -> None:
        track_on_commit("on_the_loop", anonymous_id="a")

    asyncio.run(serve())
    transaction.set_autocommit(False)
    try:
        track_on_commit("by_hand", anonymous_id="a")
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert [event.name for event in tracked.events] == ["on_the_loop", "by_hand"]


BROWSER = ADDRESS | {"browser_key": "b-1", "browser_tracker": True}


def rendered(source: str = "{% touchtrail_snippet %}", **context: object) -> str:
    return Template("{% load touchtrail %}" + source).render(Context(context))


def test_the_script_tag_names_collector_and_key() -> None:
    with override_settings(TOUCHTRAIL=BROWSER):
        plain = '<script defer src="https://collect.shop.example/touchtrail.js" data-key="b-1"></script>'
        assert rendered() == snippet() == plain
    with override_settings(TOUCHTRAIL=BROWSER | {"browser_url": "https://t.shop.example/"}):
        assert 'src="https://t.shop.example/touchtrail.js"' in rendered()


@pytest.mark.parametrize("values", [ADDRESS, BROWSER | {"disabled": True}], ids=["no-key", "disabled"])
def test_without_a_browsers_key_there_is_no_script_tag(values: dict[str, object]) -> None:
    with override_settings(TOUCHTRAIL=values):
        assert rendered() == ""


def test_nothing_breaks_out_of_the_script_tag() -> None:
    evil = '"><script>alert(1)</script>'
    with override_settings(TOUCHTRAIL=BROWSER | {"browser_key": evil, "browser_url": f"https://x.example/{evil}"}):
        html = rendered("{% touchtrail_snippet nonce=evil %}", evil=evil)
    assert html.count("<script") == html.count("</script>") == 1
    assert html.count("&quot;&gt;&lt;script&gt;") == 3


class LazyNonce(SimpleLazyObject):
    """As Django 6 and django-csp make it: False until somebody used it."""

    def __bool__(self) -> bool:
        return self._wrapped is not empty


@pytest.mark.parametrize(
    ("source", "context"),
    [
        ("{% touchtrail_snippet nonce='n-1' %}", {"csp_nonce": "another"}),
        ("{% touchtrail_snippet 'n-1' %}", {}),
        ("{% touchtrail_snippet %}", {"csp_nonce": LazyNonce(lambda: "n-1")}),
        ("{% touchtrail_snippet %}", {"request": SimpleNamespace(csp_nonce=LazyNonce(lambda: "n-1"))}),
    ],
    ids=["named", "argument", "django", "django-csp"],
)
def test_the_script_tag_carries_the_pages_nonce(source: str, context: dict[str, object]) -> None:
    with override_settings(TOUCHTRAIL=BROWSER):
        assert rendered(source, **context).endswith(' nonce="n-1"></script>')


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has its own Content Security Policy since 6.0")
def test_the_nonce_in_the_tag_is_the_one_djangos_own_policy_allows() -> None:
    from django.http import HttpResponse
    from django.middleware.csp import ContentSecurityPolicyMiddleware
    from django.test import RequestFactory
    from django.utils.csp import CSP

    with override_settings(TOUCHTRAIL=BROWSER, SECURE_CSP={"script-src": [CSP.NONCE]}):
        serve = ContentSecurityPolicyMiddleware(lambda request: HttpResponse(rendered(request=request)))
        answer = serve(RequestFactory().get("/"))
    nonce = answer.headers["Content-Security-Policy"].partition("nonce-")[2].rstrip("'")
    assert f'nonce="{nonce}"' in answer.content.decode()
    assert len(nonce) > 10


def flush(**given: object) -> str:
    out = StringIO()
    call_command("touchtrail_flush", stdout=out, **given)
    return out.getvalue()


def test_the_command_delivers_what_waits_and_says_how_much(tmp_path: Path) -> None:
    with running_sink() as sink:
        with Client(sink.url, key="k", spool_dir=tmp_path, linger_s=60) as sender, override_client(sender):
            for number in range(3):
                sender.track("clicked", anonymous_id="a", event_id=f"e-{number}")
            assert flush() == "3 events delivered, 0 were there already, 0 rejected\n"
        assert sorted(sink.events) == ["e-0", "e-1", "e-2"]


def test_the_command_fails_when_the_collector_did_not_take_everything(tmp_path: Path) -> None:
    nobody = Client("http://127.0.0.1:9", key="k", spool_dir=tmp_path)
    with nobody, override_client(nobody):
        nobody.track("clicked", anonymous_id="a")
        with pytest.raises(CommandError, match="bytes are still in the spool") as error:
            flush(timeout=0.2)
    assert error.value.returncode == 1


def test_the_command_says_that_nothing_is_delivered_where_tracking_is_disabled() -> None:
    with override_settings(TOUCHTRAIL={"disabled": True}), pytest.raises(CommandError, match="disabled"):
        flush()
    assert django_site.settings.TOUCHTRAIL == {"capture": True}
