"""What Celery's tasks carry: a visitor comes back as it went out, and nothing else gets in."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from hypothesis import given, settings
from hypothesis import strategies as st

from touchtrail import Campaign, Consent, Context, Device, Page, current_context, use_context
from touchtrail.integrations import celery as integration
from touchtrail.integrations.celery import HEADER, install, uninstall

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
CONTEXTS = st.builds(
    Context,
    anonymous_id=TEXTS,
    customer_id=TEXTS,
    session_id=TEXTS,
    campaign=st.none() | st.builds(Campaign, source=TEXTS, medium=TEXTS, name=TEXTS),
    consent=st.none() | st.builds(Consent, analytics=st.none() | st.booleans(), ads=st.none() | st.booleans()),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def published(context: Context | None, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a task's headers after Celery's signal before publishing."""
    headers = {} if headers is None else headers
    install()
    try:
        if context is None:
            integration._publish("shop.task", headers=headers)
        else:
            with use_context(context):
                integration._publish("shop.task", headers=headers)
    finally:
        uninstall()
    return headers


@given(CONTEXTS)
def test_a_visitor_comes_back_as_it_went_out(context: Context) -> None:
    header = published(context).get(HEADER)
    assert header is None if context == Context() else integration._read(header) == context


def test_only_ids_campaign_and_consent_travel() -> None:
    context = Context(
        anonymous_id="a-1",
        customer_id="c-42",
        session_id="s-1",
        campaign=Campaign(source="news"),
        consent=Consent(analytics=True),
        page=Page(url="https://shop.example/reset?token=secret"),
        device=Device(ip="192.0.2.1"),
        identifiers={"email": "a@b.example"},
    )
    header = published(context)[HEADER]
    assert integration._read(header) == Context(
        anonymous_id="a-1",
        customer_id="c-42",
        session_id="s-1",
        campaign=Campaign(source="news"),
        consent=Consent(analytics=True),
    )
    assert not any(part in header for part in ("secret", "192.0.2.1", "a@b.example"))


@pytest.mark.parametrize("context", [None, Context(), Context(identifiers={"email": "a@b.example"})])
def test_who_is_nobody_makes_no_header(context: Context | None) -> None:
    assert published(context) == {}


def test_a_header_that_is_there_stays_so_that_a_retry_begins_as_the_first_try_did() -> None:
    first = published(Context(anonymous_id="first"))
    assert published(Context(anonymous_id="later"), dict(first)) == first


def test_numbers_become_text_and_an_id_that_is_none_leaves_the_task_without_visitor() -> None:
    numbered: Any = Context(customer_id=42)  # type: ignore[arg-type]
    assert integration._read(published(numbered)[HEADER]) == Context(customer_id="42")
    hostile: Any = Context(customer_id=["c-42"])  # type: ignore[arg-type]
    assert published(hostile) == {}
    assert published(Context(anonymous_id="a" * 257)) == {}
    assert published(Context(anonymous_id="\ud800")) == {}


def test_a_campaign_too_long_for_a_header_stays_behind_and_the_visitor_goes() -> None:
    header = published(Context(anonymous_id="a-1", campaign=Campaign(click_ids={"gclid": "x" * 9000})))[HEADER]
    assert integration._read(header) == Context(anonymous_id="a-1")


@settings(max_examples=500)
@given(JUNK)
def test_no_header_of_strangers_raises(header: Any) -> None:
    found = integration._read(header)
    assert found is None or isinstance(found, Context)


@pytest.mark.parametrize(
    "header",
    [
        "[" * 8000,
        '{"anonymous_id": 1}',
        '{"anonymous_id": ""}',
        '{"anonymous_id": "' + "a" * 257 + '"}',
        '{"anonymous_id": "a", "consent": {"analytics": "yes"}}',
        '{"anonymous_id": "a"' + " " * 9000 + "}",
        '{"anonymous_id": "\\ud800"}',
        '"a-1"',
        "",
        b'{"anonymous_id": "a"}',
        {"anonymous_id": "a"},
        "null",
    ],
    ids=lambda header: repr(header)[:40],
)
def test_a_header_of_another_shape_names_nobody(header: object) -> None:
    assert integration._read(header) is None


def test_identifiers_in_a_forged_header_are_not_taken() -> None:
    found = integration._read('{"anonymous_id": "a", "identifiers": {"email": "a@b.example"}, "page": {"url": "x"}}')
    assert found == Context(anonymous_id="a")


def make_app(*, propagates: bool = True) -> Celery:
    app = Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager, app.conf.task_eager_propagates = True, propagates
    return app


def test_an_eager_task_has_its_callers_visitor_and_gives_it_back_also_when_it_fails() -> None:
    app, seen = make_app(), []

    @app.task(shared=False)
    def inner(fails: bool) -> None:
        seen.append(current_context())
        if fails:
            raise LookupError

    @app.task(shared=False)
    def outer() -> None:
        with use_context(Context(customer_id="c-42")):
            inner.delay(False)
        with pytest.raises(LookupError):
            inner.delay(True)
        inner.apply(headers={HEADER: '{"anonymous_id": "other"}'}, args=(False,))
        seen.append(current_context())

    install()
    try:
        with use_context(Context(anonymous_id="a-1")) as caller:
            outer.delay()
            assert current_context() is caller
        assert current_context() is None
    finally:
        uninstall()
    whose = [Context(anonymous_id="a-1", customer_id="c-42"), caller, Context(anonymous_id="other"), caller]
    assert seen == whose


def test_an_eager_retry_begins_as_the_first_try_did() -> None:
    app, seen = make_app(propagates=False), []

    @app.task(bind=True, shared=False, max_retries=2)
    def flaky(task: Any) -> str:
        seen.append(current_context())
        if task.request.retries < 2:
            raise task.retry(countdown=0)
        return "done"

    install()
    try:
        assert flaky.apply(headers={HEADER: '{"anonymous_id": "a-1"}'}).get() == "done"
    finally:
        uninstall()
    assert seen == [Context(anonymous_id="a-1")] * 3
    assert current_context() is None


def test_install_is_idempotent_and_uninstall_undoes_it() -> None:
    app, seen = make_app(), []

    @app.task(shared=False)
    def look() -> None:
        seen.append(current_context())

    for _ in range(3):
        install()
    installed = [len(signal.receivers) for signal, _ in integration._RECEIVERS]
    install()
    assert [len(signal.receivers) for signal, _ in integration._RECEIVERS] == installed
    uninstall()
    # The one after a task stays: a task that runs just now still gives its context back.
    left = [len(signal.receivers) for signal, _ in integration._RECEIVERS]
    assert [had - has for had, has in zip(installed, left, strict=True)] == [1, 1, 0, 1]
    look.apply(headers={HEADER: '{"anonymous_id": "a-1"}'})
    assert seen == [None]


def test_with_an_app_only_its_tasks_carry_the_visitor() -> None:
    app = make_app()

    @app.task(shared=False, name="mine")
    def mine_task() -> None:
        pass

    install(app=app)
    try:
        with use_context(Context(anonymous_id="a-1")):
            mine: dict[str, Any] = {}
            theirs: dict[str, Any] = {}
            integration._publish("mine", headers=mine)
            integration._publish("theirs", headers=theirs)
    finally:
        uninstall()
    assert (list(mine), theirs) == ([HEADER], {})
