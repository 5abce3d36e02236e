"""Flask: an extension that sets the context for each request, keeps the visitor's cookie and counts landings.

``tt = Touchtrail()`` beside the app's other extensions, ``tt.init_app(app)`` in the app factory, ``tt.client.track(…)``
in views. Requests only queue events: nothing waits for the collector, at no request's end either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

import click
from flask import Flask, Request, Response, current_app, request
from flask.cli import AppGroup
from flask.signals import request_finished, request_started
from markupsafe import Markup

from ..client import Client
from ..context import Consent
from ..errors import OptionsError
from ..options import Options
from .exchange import NO_REQUEST, HttpAnswer, HttpRequest
from .flask_options import FlaskOptions, read_configuration
from .visit import Visit, Visits, current_visit

__all__ = ["FlaskOptions", "Touchtrail"]

_NAME: Final = "touchtrail"
_VISIT: Final = "touchtrail_visit"


class Touchtrail:
    """The extension; one object serves any number of apps, each with its own configuration.

    Configuration: ``app.config["TOUCHTRAIL_URL"]``, ``TOUCHTRAIL_KEY`` and so on, or one dict ``TOUCHTRAIL`` with
    these names in lower case: every field of ``Options``, ``WebOptions`` and ``FlaskOptions``. Client options that
    are left out come from the environment's ``TOUCHTRAIL_*`` variables.

    Args:
        app: as ``init_app``.
        client: takes the events of all apps; None = one is made from each app's configuration. Apps whose
            configuration is the same share one.
        customer_id: returns who is signed in, or None; called once per request, after all functions of the shop that
            run before requests. With Flask-Login: ``lambda: current_user.get_id()``.
        consent: for a shop with a consent manager of its own, see ``Visits``.

    Raises:
        OptionsError: when an app is initialised; nothing is raised into a request.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        client: Client | None = None,
        customer_id: Callable[[], Any] | None = None,
        consent: Callable[[HttpRequest], Consent | None] | None = None,
    ) -> None:
        self._client = client
        self._customer_id = customer_id
        self._consent = consent
        self._clients: dict[Options, Client] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve an app; its state then stands in ``app.extensions["touchtrail"]``.

        Raises:
            OptionsError: every unknown name in the configuration, every value that cannot work; an app that has the
                extension already.
        """
        if _NAME in app.extensions:
            raise OptionsError([f"app: {app.name} has the extension already"])
        found = read_configuration(app.config, needs_client=self._client is None)
        client = self._client or found.flask.client or self._client_for(found.client)
        visits = Visits(client, found.web, consent=self._consent)
        tracking = Tracking(client, visits, found.flask, self._customer_id)
        app.extensions[_NAME] = tracking
        tracking.attach(app)

    @property
    def client(self) -> Client:
        """The client of the app that runs now; needs an application context."""
        return _tracking().client

    @property
    def visit(self) -> Visit | None:
        """The visit of the request that is served now: ``set_consent`` for the banner, ``identify`` at sign-in."""
        return current_visit()

    def _client_for(self, options: Options | None) -> Client:
        assert options is not None
        return self._clients.get(options) or self._clients.setdefault(options, Client(options=options))


class Tracking:
    """One app's part: ``app.extensions["touchtrail"]``.

    Args:
        client: takes the app's events.
        visits: looks at the requests.
        options: what only Flask can be told.
        customer_id: returns who is signed in.
    """

    def __init__(
        self, client: Client, visits: Visits, options: FlaskOptions, customer_id: Callable[[], Any] | None
    ) -> None:
        self.visits = visits
        self.options = options
        self.client = client
        self._customer_id = customer_id
        self._lock = threading.Lock()
        self._is_last = customer_id is None

    def attach(self, app: Flask) -> None:
        """Connect to the app's requests, templates and command line."""
        # Signals instead of before_request and after_request: they come first and last whatever order the shop
        # registers its functions in. They hold their receivers weakly; the app's extensions hold this object.
        request_started.connect(self._begin, app)
        request_finished.connect(self._finish, app)
        app.teardown_request(self._leave)
        app.jinja_env.globals["touchtrail_snippet"] = self.snippet
        app.cli.add_command(_commands)

    def snippet(self, nonce: str | None = None) -> Markup:
        """Return the script tag of the browser tracker; nothing without ``browser_key`` and when tracking is disabled.

        Args:
            nonce: of the page's Content Security Policy.
        """
        own, options = self.options, self.client.options
        if not own.browser_key or options.disabled:
            return Markup("")
        source = (own.browser_url or options.url).rstrip("/") + "/touchtrail.js"
        shown = Markup("") if nonce is None else Markup(' nonce="{}"').format(str(nonce))
        return Markup('<script defer src="{}" data-key="{}"{}></script>').format(source, own.browser_key, shown)

    def _begin(self, app: Flask, **_: object) -> None:
        if not self._is_last:
            self._come_last(app)
        served, facts = _served(), NO_REQUEST
        try:
            facts = _facts(served)
        except Exception as problem:  # noqa: BLE001 - whatever is wrong with a request, the shop is the one to say so
            self.visits.count("read the request", problem)
        visit = self.visits.begin(facts)
        visit.enter()
        vars(served)[_VISIT] = visit

    def _come_last(self, app: Flask) -> None:
        """Have ``_identify`` called after the shop's own functions, which load the user that it asks for.

        Flask takes no further functions once it serves: at the first request the lists are complete.
        """
        with self._lock:
            if not self._is_last:
                lists = app.before_request_funcs
                for scope in {None, *lists}:
                    lists.setdefault(scope, []).append(partial(self._identify, app, scope))
                self._is_last = True

    def _identify(self, app: Flask, scope: str | None) -> None:
        visit: Visit | None = vars(_served()).get(_VISIT)
        # Functions for all requests run before those of blueprints, and those of the innermost blueprint last.
        last = next((name for name in request.blueprints if name in app.before_request_funcs), None)
        if self._customer_id is None or visit is None or scope != last:
            return
        try:
            customer_id = self._customer_id()
        except Exception as problem:  # noqa: BLE001 - the shop's function failed; the page goes on
            self.visits.count("read the signed-in customer", problem)
        else:
            if customer_id is not None:
                visit.identify(customer_id)

    def _finish(self, app: Flask, response: Response, **_: object) -> None:
        visit = vars(_served()).get(_VISIT)
        if visit is None:
            return
        try:
            for cookie in visit.finish(_answer(response)):
                response.headers.add("Set-Cookie", cookie)
            if response.is_streamed and not response.direct_passthrough:
                response.response = _Body(response.response, visit)
        except Exception as problem:  # noqa: BLE001 - a response class of the shop's own that works otherwise
            self.visits.count("finish", problem)

    def _leave(self, error: BaseException | None) -> None:
        # Flask tears a request with stream_with_context down twice.
        visit = vars(_served()).pop(_VISIT, None)
        if visit is not None:
            visit.leave()


class _Body:
    """A streamed answer, each piece made in the visit's context, whatever thread the server asks for it in."""

    def __init__(self, body: Iterable[Any], visit: Visit) -> None:
        self._body = body
        self._visit = visit
        self._context: Context | None = None
        self._pieces: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        context = self._entered()
        if self._pieces is None:
            self._pieces = context.run(iter, self._body)
        return context.run(next, self._pieces)

    def close(self) -> None:
        """Close the shop's generator, as PEP 3333 asks of every layer."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._entered().run(close)

    def _entered(self) -> Context:
        # Copied when the server iterates and not before: a copy made inside the request would keep Flask's own
        # request alive in a stream that was never told to (stream_with_context does that).
        if self._context is None:
            self._context = copy_context()
            self._context.run(self._visit.enter)
        return self._context


def _tracking() -> Tracking:
    tracking: Tracking | None = current_app.extensions.get(_NAME)
    if tracking is None:
        raise OptionsError([f"app: call Touchtrail.init_app for {current_app.name} first"])
    return tracking


def _served() -> Request:
    served: Request = request._get_current_object()  # type: ignore[attr-defined]
    return served


def _facts(served: Request) -> HttpRequest:
    environ = served.environ
    return HttpRequest(
        method=served.method,
        scheme=served.scheme,
        # Not served.host, which raises for a host the shop does not trust.
        host=environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}",
        path=served.root_path + served.path,
        query=served.query_string.decode("utf-8", "replace"),
        headers={name.lower(): value for name, value in served.headers},
        peer=served.remote_addr or None,
    )


def _answer(response: Response) -> HttpAnswer:
    headers = response.headers
    return HttpAnswer(
        status=response.status_code,
        content_type=headers.get("Content-Type", ""),
        cache_control=headers.get("Cache-Control", ""),
        location=headers.get("Location", ""),
    )


_commands = AppGroup(_NAME, help="Events on their way to the collector.")


@_commands.command("flush")
@click.option("--timeout", "timeout_s", type=float, default=60.0, metavar="S", help="Give up after so many seconds.")
def _flush(timeout_s: float) -> None:
    """Deliver the events that stopped processes left in the spool, and say how many there were."""
    client = _tracking().client
    if client.options.disabled:
        raise click.ClickException("tracking is disabled here: nothing was delivered")
    is_done = client.flush(timeout_s)
    health = client.health()
    click.echo(
        f"{health.delivered:,} events delivered, {health.duplicates:,} were there already, {health.rejected:,} rejected"
    )
    if not is_done:
        reason = health.last_error or f"not done after {timeout_s:g} s"
        raise click.ClickException(f"{health.spooled_bytes:,} bytes are still in the spool: {reason}")
