"""Which customer is signed in, as Django's sessions and users know it, and the events of signing in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from touchtrail.events import CustomerSignedIn, CustomerSignedOut

from .report import counted
from .tracking import current_tracking

CustomerId = Callable[[Any], object]


def customer_of(request: HttpRequest) -> str | None:
    """Return the signed-in customer's number; None = nobody is signed in, or no customer.

    Who brings no session cookie is nobody, without a look at the session. Where the session says that nobody is
    signed in, looking leaves no trace: the answer does not get `Vary: Cookie` for it.
    """
    options = current_tracking().django
    if not options.recognise_users or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    with counted("read the signed-in user"):
        session = getattr(request, "session", None)
        if session is None or not hasattr(request, "user"):
            return None
        was_accessed = session.accessed
        if SESSION_KEY not in session:
            session.accessed = was_accessed
            return None
        return number_of(request.user, options.customer_id)
    return None


async def acustomer_of(request: HttpRequest) -> str | None:
    """As ``customer_of``, without holding up the event loop."""
    options = current_tracking().django
    if not options.recognise_users or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return None
    session: Any = getattr(request, "session", None)
    if not hasattr(session, "ahas_key") or not hasattr(request, "auser"):
        # Django before 5.1 reads sessions in threads only.
        return await sync_to_async(customer_of)(request)
    with counted("read the signed-in user"):
        was_accessed = session.accessed
        if not await session.ahas_key(SESSION_KEY):
            session.accessed = was_accessed
            return None
        user = await request.auser()
        if options.customer_id is None:
            return number_of(user, None)
        # The shop's function may ask the database.
        return await sync_to_async(number_of)(user, options.customer_id)
    return None


def number_of(user: Any, customer_id: CustomerId | None) -> str | None:
    """Return a user's customer number; None for nobody, and for a user who is no customer."""
    if user is None or not user.is_authenticated:
        return None
    number = user.pk if customer_id is None else customer_id(user)
    return None if number is None or number == "" else str(number)


def on_sign_in(*, request: HttpRequest | None, user: Any, **_: object) -> None:
    """Let the rest of the request be this customer's, and track that they signed in."""
    visit = getattr(request, "touchtrail", None)
    if visit is None:
        return  # no request of a browser: a test's `force_login`, a script
    with counted("track a sign-in"):
        tracking = current_tracking()
        number = number_of(user, tracking.django.customer_id)
        if number is None:
            return
        visit.identify(number)
        if tracking.django.track_sign_in:
            tracking.client.track(CustomerSignedIn(), customer_id=number)


def on_sign_out(*, request: HttpRequest | None, user: Any, **_: object) -> None:
    """Track that the customer signed out; what follows in this request is nobody's."""
    visit = getattr(request, "touchtrail", None)
    if visit is None:
        return
    with counted("track a sign-out"):
        tracking = current_tracking()
        number = number_of(user, tracking.django.customer_id)
        if number is not None and tracking.django.track_sign_out:
            tracking.client.track(CustomerSignedOut(), customer_id=number)
        visit.identify(None)
