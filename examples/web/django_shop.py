"""A Django shop in one file: product page, consent banner, sign-in, order.

    touchtrail serve &
    KEY=$(touchtrail keys create --source web)
    python examples/web/django_shop.py --url http://127.0.0.1:8377 --key "$KEY"

Open http://127.0.0.1:8000/?utm_source=news&utm_medium=email, agree, sign in as `ada` with the password `ada`, order.
Then look at `touchtrail report journeys`.

A server of your own takes `application` (WSGI) or `asgi_application`, after `--prepare` made the database once;
address and key then come from TOUCHTRAIL_URL and TOUCHTRAIL_KEY:

    python examples/web/django_shop.py --prepare
    gunicorn --chdir examples/web --threads 4 django_shop:application
    uvicorn --app-dir examples/web django_shop:asgi_application
"""

from __future__ import annotations

import argparse
import os
import tempfile
import uuid
from pathlib import Path

import django
from django.conf import settings

PAGE = """{% load touchtrail %}<!doctype html>
<title>Running shoe</title>
<h1>Running shoe, 129.90 EUR</h1>
{% if request.touchtrail.consent is None %}
<form action="/consent/" method="post">{% csrf_token %}
  <p>May we count how you found us?</p>
  <button name="answer" value="yes">Yes</button> <button name="answer" value="no">No</button>
</form>
{% endif %}
{% if user.is_authenticated %}
<form action="/order/" method="post">{% csrf_token %}
  <label><input type="checkbox" name="card" value="expired"> pay with an expired card</label>
  <button>Order</button>
</form>
<form action="/sign-out/" method="post">{% csrf_token %}<button>Sign out {{ user }}</button></form>
{% else %}
<form action="/sign-in/" method="post">{% csrf_token %}
  <input name="username" value="ada"> <input name="password" type="password"> <button>Sign in</button>
</form>
{% endif %}
{% touchtrail_snippet %}
"""

HOME = Path(os.environ.get("SHOP_DIR") or Path(tempfile.gettempdir(), "touchtrail-django-shop"))

settings.configure(
    SECRET_KEY="for this example only",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "touchtrail.integrations.django",
        __name__,
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "touchtrail.integrations.django.middleware.TouchtrailMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": HOME / "shop.sqlite3",
            "OPTIONS": {"timeout": 20},
        }
    },
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                ],
                "loaders": [("django.template.loaders.locmem.Loader", {"shop.html": PAGE})],
            },
        }
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    # Staff are users of the shop, but no customers. Address and key come from the TOUCHTRAIL_* variables.
    TOUCHTRAIL={"customer_id": lambda user: None if user.is_staff else user.get_username()},
)
django.setup()

# Django's parts can be imported only when the settings are there.
from django.contrib import auth  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import redirect, render  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

from touchtrail import events  # noqa: E402
from touchtrail.integrations.django import client, track_on_commit  # noqa: E402


class Order(models.Model):
    """An order somebody placed."""

    number = models.CharField(max_length=40, unique=True)
    customer = models.CharField(max_length=150)
    total = models.DecimalField(max_digits=9, decimal_places=2)

    class Meta:
        db_table = "shop_order"  # the same however this module is started


class CardRefusedError(Exception):
    """The bank does not pay."""


def product(request: HttpRequest) -> HttpResponse:
    """Show the product; who sees it and how they came here stands in the context already."""
    client().track(events.ProductViewed(sku="SKU-1", name="Running shoe", price="129.90", currency="EUR"))
    return render(request, "shop.html")


async def search(request: HttpRequest) -> HttpResponse:
    """Answer the search field while somebody types: `track` never waits, so it stands in async code as it is."""
    words = request.GET.get("q", "")
    client().track(events.ProductSearched(query=words))
    return JsonResponse({"found": ["SKU-1"] if words in "running shoe" else []})


@require_POST
def consent(request: HttpRequest) -> HttpResponse:
    """Take the answer to the banner; cookies and events follow from it."""
    said_yes = request.POST.get("answer") == "yes"
    request.touchtrail.set_consent(analytics=said_yes, ads=said_yes)
    return redirect("/")


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as always: the integration hears of it and puts visitor and customer together."""
    user = auth.authenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("no such user or password", status=403)
    auth.login(request, user)
    return redirect("/")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out as always."""
    auth.logout(request)
    return redirect("/")


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Place an order; an order that is rolled back is tracked by nobody."""
    if not request.user.is_authenticated:
        return HttpResponse("sign in first", status=403)
    number = f"O-{uuid.uuid4().hex[:12]}"
    try:
        with transaction.atomic():
            Order.objects.create(number=number, customer=request.user.get_username(), total="129.90")
            track_on_commit(
                events.OrderPlaced(
                    order_id=number,
                    currency="EUR",
                    total="129.90",
                    lines=[events.Line(sku="SKU-1", name="Running shoe", unit_price="129.90")],
                )
            )
            if request.POST.get("card") == "expired":
                raise CardRefusedError
    except CardRefusedError:
        return HttpResponse("the bank does not pay", status=402)
    return HttpResponse(number, content_type="text/plain", status=201)


urlpatterns = [
    path("", product),
    path("search/", search),
    path("consent/", consent),
    path("sign-in/", sign_in),
    path("sign-out/", sign_out),
    path("order/", order),
]

if __name__ != "__main__":
    application = get_wsgi_application()
    asgi_application = get_asgi_application()


def prepare() -> None:
    """Make the database and its one customer, unless they are there."""
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    if Order._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)
    users = auth.get_user_model().objects
    if not users.filter(username="ada").exists():
        users.create_user("ada", password="ada")


def main() -> None:
    """Prepare the database and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8377", help="the collector's address")
    parser.add_argument("--key", help="a write key, made with `touchtrail keys create --source web`")
    parser.add_argument("--port", type=int, default=8000, help="where the shop listens")
    parser.add_argument("--prepare", action="store_true", help="make the database and stop")
    options = parser.parse_args()
    prepare()
    if options.prepare:
        return
    if not options.key:
        parser.error("--key is missing")
    settings.TOUCHTRAIL |= {"url": options.url, "key": options.key}
    call_command("runserver", f"127.0.0.1:{options.port}", use_reloader=False)


if __name__ == "__main__":
    main()
