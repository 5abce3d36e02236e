"""What `manage.py check` says about the settings."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import checks
from django.utils.module_loading import import_string

from touchtrail.errors import OptionsError

from .conf import Configuration, given, read_configuration
from .middleware import TouchtrailMiddleware

PATH = "touchtrail.integrations.django.middleware.TouchtrailMiddleware"


def check_settings(**_: object) -> list[checks.CheckMessage]:
    """Return what is wrong with ``TOUCHTRAIL`` and ``MIDDLEWARE``."""
    try:
        known = read_configuration(given())
    except OptionsError as error:
        return [*map(_error, error.problems), *_middleware_warnings()]
    return [*_middleware_warnings(), *_proxy_warnings(known), *_browser_warnings(known)]


def check_deployment(**_: object) -> list[checks.CheckMessage]:
    """Return what must not be so where customers are served."""
    try:
        known = read_configuration(given())
    except OptionsError:
        return []  # the other check says so
    found: list[checks.CheckMessage] = []
    if known.django.capture:
        found.append(
            checks.Warning("TOUCHTRAIL captures events: none is sent.", hint='Remove "capture".', id="touchtrail.W006")
        )
    if known.client.strict:
        hint = 'Remove "strict": it raises into the shop what it should only count.'
        found.append(checks.Warning("TOUCHTRAIL is strict.", hint=hint, id="touchtrail.W007"))
    return found


def _error(problem: str) -> checks.CheckMessage:
    name, _, what = problem.partition(": ")
    if what != "missing":
        return checks.Error(f"TOUCHTRAIL: {problem}", id="touchtrail.E002")
    hint = (
        f'Set TOUCHTRAIL = {{"{name}": …}} or the variable TOUCHTRAIL_{name.upper()}; where nothing shall be tracked, '
        'TOUCHTRAIL = {"disabled": True}.'
    )
    return checks.Error(f"TOUCHTRAIL has no {name}.", hint=hint, id="touchtrail.E001")


def _middleware_warnings() -> Iterator[checks.CheckMessage]:
    own = _position(TouchtrailMiddleware)
    if own is None:
        yield checks.Warning(
            "TouchtrailMiddleware is not in MIDDLEWARE: no visitor is known to the events.",
            hint=f'Add "{PATH}" after AuthenticationMiddleware.',
            id="touchtrail.W001",
        )
        return
    for kind in _before_ours():
        position = _position(kind)
        if position is not None and own < position:
            yield checks.Warning(
                f"TouchtrailMiddleware stands before {kind.__name__}: no signed-in customer is known to the events.",
                hint=f'Move "{PATH}" after {kind.__name__}.',
                id="touchtrail.W002",
            )


def _proxy_warnings(known: Configuration) -> Iterator[checks.CheckMessage]:
    is_behind_proxy = settings.SECURE_PROXY_SSL_HEADER is not None or settings.USE_X_FORWARDED_HOST
    if is_behind_proxy and known.web.client_address != "none" and not known.web.trusted_proxies:
        yield checks.Warning(
            "The shop stands behind a proxy, whose address would be taken for every visitor's.",
            hint='Name the proxy\'s network, TOUCHTRAIL = {"trusted_proxies": ["10.0.0.0/8"]}.',
            id="touchtrail.W003",
        )


def _browser_warnings(known: Configuration) -> Iterator[checks.CheckMessage]:
    if not known.django.browser_key:
        return
    if known.django.browser_key == known.client.key:
        yield checks.Warning(
            "browser_key is the server's own key, and every visitor can read it.",
            hint="Make a key for a source of its own: touchtrail keys create --source browser",
            id="touchtrail.W004",
        )
    if not known.web.browser_tracker:
        yield checks.Warning(
            "The browser tracker cannot read the visitor's cookie and would count everybody twice.",
            hint='Set TOUCHTRAIL = {"browser_tracker": True}.',
            id="touchtrail.W005",
        )


def _before_ours() -> Iterator[type]:
    yield SessionMiddleware
    # Its module needs the models of the app, which a shop may do without.
    if apps.is_installed("django.contrib.auth"):
        from django.contrib.auth.middleware import AuthenticationMiddleware

        yield AuthenticationMiddleware


def _position(kind: type) -> int | None:
    """Return where a middleware or one derived from it stands."""
    for position, path in enumerate(settings.MIDDLEWARE):
        try:
            found = import_string(path)
        except ImportError:
            continue  # Django itself says so when it loads it
        if isinstance(found, type) and issubclass(found, kind):
            return position
    return None
