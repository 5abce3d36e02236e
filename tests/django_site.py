"""A Django project for the unit tests: configured once per test process, its database in a folder of its own.

Importing this module configures Django; nothing else in the test process may.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.conf import settings

HOME = Path(tempfile.mkdtemp(prefix="touchtrail-django-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
TOUCHTRAIL = "touchtrail.integrations.django.middleware.TouchtrailMiddleware"
PASSWORD = "correct horse"

settings.configure(
    SECRET_KEY="tests",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "touchtrail.integrations.django",
    ],
    MIDDLEWARE=[SESSIONS, AUTHENTICATION, TOUCHTRAIL],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(HOME / "site.sqlite3")}},
    MIGRATION_MODULES={"auth": None, "contenttypes": None, "sessions": None},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {}}],
    USE_TZ=True,
    LOGGING_CONFIG=None,
    TOUCHTRAIL={"capture": True},
)
django.setup()

from django.contrib import auth  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, Client  # noqa: E402
from django.urls import path  # noqa: E402

from touchtrail.integrations.django import client  # noqa: E402
from touchtrail.integrations.django.middleware import TouchtrailMiddleware  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
atexit.register(connections.close_all)


class OwnMiddleware(TouchtrailMiddleware):
    """What a shop with wishes of its own derives."""


class Browser:
    """Django's test client, over WSGI or ASGI, called the same."""

    def __init__(self, mode: str, **defaults: Any) -> None:
        self.client = AsyncClient(**defaults) if mode == "asgi" else Client(**defaults)
        self._is_async = mode == "asgi"

    @property
    def cookies(self) -> Any:
        return self.client.cookies

    def get(self, address: str, **headers: str) -> Any:
        return self._call(self.client.get, address, headers=dict(DOCUMENT, **headers))

    def post(self, address: str, data: dict[str, str] | None = None, **headers: str) -> Any:
        return self._call(self.client.post, address, data or {}, headers=headers)

    def agree(self) -> None:
        """Have the banner answered with yes; the visitor has a cookie afterwards."""
        assert self.post("/consent/").status_code == 200
        assert "tt_visitor" in self.cookies

    def _call(self, method: Any, *arguments: Any, **given: Any) -> Any:
        if not self._is_async:
            return method(*arguments, **given)

        async def call() -> Any:
            return await method(*arguments, **given)

        return async_to_sync(call)()


DOCUMENT = {"accept": "text/html", "user-agent": "Browser/1"}


def seen(request: HttpRequest) -> HttpResponse:
    client().track("seen", properties={"loop": _has_loop(), "thread": threading.get_ident()}, customer_id="nobody")
    client().track("seen_by")
    return HttpResponse("seen")


async def aseen(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return seen(request)


def user_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in" if request.user.is_authenticated else "out")


async def auser_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in" if (await request.auser()).is_authenticated else "out")


def cart(request: HttpRequest) -> HttpResponse:
    request.session["cart"] = ["SKU-1"]
    response = HttpResponse("in the cart")
    response.set_cookie("last_sku", "SKU-1")
    request.touchtrail.set_consent(analytics=True)
    return response


def consent(request: HttpRequest) -> HttpResponse:
    request.touchtrail.set_consent(analytics=request.POST.get("answer") != "no")
    return HttpResponse("thanks")


def sign_in(request: HttpRequest) -> HttpResponse:
    user = auth.authenticate(request, username=request.POST["username"], password=PASSWORD)
    auth.login(request, user)
    client().track("after_sign_in", anonymous_id=None if request.touchtrail.anonymous_id else "device")
    return HttpResponse("welcome")


async def asign_in(request: HttpRequest) -> HttpResponse:
    user = await auth.aauthenticate(request, username=request.POST["username"], password=PASSWORD)
    await auth.alogin(request, user)
    client().track("after_sign_in", anonymous_id=None if request.touchtrail.anonymous_id else "device")
    return HttpResponse("welcome")


def sign_out(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    client().track("after_sign_out", anonymous_id=None if request.touchtrail.anonymous_id else "device")
    return HttpResponse("bye")


async def asign_out(request: HttpRequest) -> HttpResponse:
    await auth.alogout(request)
    client().track("after_sign_out", anonymous_id=None if request.touchtrail.anonymous_id else "device")
    return HttpResponse("bye")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        for number in range(3):
            client().track(f"part_{number}")
            yield f"{number};"

    return StreamingHttpResponse(parts())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            client().track(f"part_{number}")
            yield f"{number};"

    return StreamingHttpResponse(parts())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the shop's own bug")


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


urlpatterns = [
    path("seen/", seen),
    path("aseen/", aseen),
    path("user/", user_page),
    path("auser/", auser_page),
    path("cart/", cart),
    path("consent/", consent),
    path("sign-in/", sign_in),
    path("asign-in/", asign_in),
    path("sign-out/", sign_out),
    path("asign-out/", asign_out),
    path("stream/", stream),
    path("astream/", astream),
    path("file/", file),
    path("fail/", fail),
]
