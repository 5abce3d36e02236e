"""The pages of a tiny shop and what it sells; the web examples differ only in the framework they serve them with."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Mapping
from html import escape
from itertools import count
from urllib.parse import parse_qs

from touchtrail import events
from touchtrail.integrations.visit import current_visit

PRODUCTS = {"SHOE-1": ("Trail shoe", "129.90"), "SOCK-1": ("Wool socks", "14.90")}
CURRENCY = "EUR"
_order_numbers = count(1)


def read_arguments(description: str | None) -> argparse.Namespace:
    """Return what the command line says: collector, key and port."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8377", help="the collector's address")
    parser.add_argument("--key", required=True, help="a write key, made with `touchtrail keys create --source web`")
    parser.add_argument("--port", type=int, default=8000, help="where the shop listens; 0 takes a free port")
    return parser.parse_args()


def listen(port: int) -> socket.socket:
    """Return a socket that listens on this machine only, and say where."""
    listener = socket.create_server(("127.0.0.1", port))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(f"shop listening on {address}", flush=True)
    print(f"open {address}/p/SHOE-1?utm_source=newsletter&utm_medium=email&utm_campaign=spring", flush=True)
    print("then look at: touchtrail report journeys", flush=True)
    return listener


def read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def local_path(referer: str) -> str:
    """Return where a form was sent from, without the host: a redirect must not lead to another shop."""
    path = referer.partition("//")[2].partition("/")[2]
    return "/" + path.partition("?")[0].lstrip("/\\")


def home_page() -> str:
    """Return the list of products."""
    rows = "".join(
        f'<li><a href="/p/{sku}">{escape(name)}</a> {price} {CURRENCY}</li>' for sku, (name, price) in PRODUCTS.items()
    )
    return _page("A small shop", f"<ul>{rows}</ul>")


def product_page(sku: str) -> str | None:
    """Return a product's page; None when there is no such product."""
    if sku not in PRODUCTS:
        return None
    name, price = PRODUCTS[sku]
    form = f'<form method="post" action="/cart"><button name="sku" value="{sku}">Add to cart</button></form>'
    return _page(name, f"<p>{price} {CURRENCY}</p>{form}")


def cart_page(sku: str) -> str:
    """Return the cart with the form that orders what is in it."""
    form = (
        '<form method="post" action="/order">Customer number <input name="customer" value="c-42">'
        f'<button name="sku" value="{escape(sku)}">Order</button></form>'
    )
    return _page("Your cart", f"<p>{escape(PRODUCTS.get(sku, ('', ''))[0])}</p>{form}")


def thanks_page(order_id: str) -> str:
    """Return the page after an order."""
    return _page("Thank you", f"<p>Your order {escape(order_id)} is on its way.</p>")


def viewed(sku: str) -> events.ProductViewed:
    """Return the event of a product page."""
    name, price = PRODUCTS[sku]
    return events.ProductViewed(sku=sku, name=name, price=price, currency=CURRENCY)


def added(sku: str) -> events.CartItemAdded:
    """Return the event of a product that was put into the cart."""
    name, price = PRODUCTS[sku]
    return events.CartItemAdded(sku=sku, name=name, price=price, currency=CURRENCY)


def placed(sku: str) -> events.OrderPlaced:
    """Return the event of an order over one piece."""
    name, price = PRODUCTS[sku]
    line = events.Line(sku=sku, name=name, quantity=1, unit_price=price)
    return events.OrderPlaced(order_id=f"O-{next(_order_numbers)}", currency=CURRENCY, total=price, lines=[line])


def sku_in(form: Mapping[str, str]) -> str | None:
    """Return which product a form is about; None when it names none that is sold here."""
    sku = form.get("sku")
    return sku if sku in PRODUCTS else None


def answer_banner(form: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Take the answer to the consent banner: the one call a shop's banner needs.

    Args:
        headers: of the request; an answer that a page of another site sent is not the visitor's.
    """
    visit = current_visit()
    if visit is not None and _is_from_here(headers):
        says_yes = form.get("answer") == "yes"
        visit.set_consent(analytics=says_yes, ads=says_yes, personalisation=says_yes)


def sign_in(form: Mapping[str, str]) -> None:
    """Say who the customer is; every event of this request carries the number from here on."""
    visit = current_visit()
    if visit is not None:
        visit.identify(form.get("customer") or None)


def _is_from_here(headers: Mapping[str, str]) -> bool:
    """Say whether one of the shop's own pages sent a form; a browser says where from, a program need not.

    Source:
        Fetch Metadata Request Headers, section 2.3 (``Sec-Fetch-Site``); RFC 6454, section 7 (``Origin``).
    """
    if site := headers.get("Sec-Fetch-Site"):
        return site in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is None or origin.partition("//")[2] == headers.get("Host")


def _page(title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<h1>{escape(title)}</h1>{content}{_banner()}"
    )


def _banner() -> str:
    visit = current_visit()
    if visit is None or visit.consent is not None:
        return ""
    return (
        '<form method="post" action="/consent"><p>May we see which pages lead to an order?</p>'
        '<button name="answer" value="yes">Yes</button> <button name="answer" value="no">No</button></form>'
    )
