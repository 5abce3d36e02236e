"""A shop in plain WSGI, with nothing but Python's own server; any WSGI framework is wrapped in the same way.

Shows: ``TouchtrailMiddleware(app, client)`` around a WSGI app, threads.

    pip install touchtrail
    python examples/web/wsgi_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import storefront

from touchtrail import Client, events
from touchtrail.integrations.wsgi import TouchtrailMiddleware

Answer = tuple[int, str, str]
"""Status, page, and where a redirect leads."""


class Shop:
    """The shop's own code."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        status, page, location = self._answer(environ)
        headers = [("Content-Type", "text/html; charset=utf-8"), *([("Location", location)] if location else [])]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [page.encode()]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method == "POST":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            names = {"Referer": "HTTP_REFERER", "Origin": "HTTP_ORIGIN", "Host": "HTTP_HOST"}
            names["Sec-Fetch-Site"] = "HTTP_SEC_FETCH_SITE"
            headers = {name: environ[variable] for name, variable in names.items() if variable in environ}
            return self._take(path, storefront.read_form(body), headers)
        if path == "/":
            return 200, storefront.home_page(), ""
        if path == "/cart":
            sku = storefront.read_form(environ.get("QUERY_STRING", "").encode()).get("sku", "")
            return 200, storefront.cart_page(sku), ""
        sku = path.removeprefix("/p/")
        page = storefront.product_page(sku)
        if page is None:
            return 404, "", ""
        self.client.track(storefront.viewed(sku))
        return 200, page, ""

    def _take(self, path: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        if path == "/consent":
            storefront.answer_banner(form, headers)
            return 303, "", storefront.local_path(headers.get("Referer", ""))
        if path not in ("/cart", "/order"):
            return 404, "", ""
        sku = storefront.sku_in(form)
        if sku is None:
            return 400, "", ""
        if path == "/cart":
            self.client.track(storefront.added(sku))
            return 303, "", f"/cart?sku={sku}"
        storefront.sign_in(form)
        self.client.track(events.CustomerSignedIn())
        placed = storefront.placed(sku)
        self.client.track(placed)
        return 200, storefront.thanks_page(placed.order_id), ""


class Server(ThreadingMixIn, WSGIServer):
    """Python's WSGI server, a thread for each request."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Says nothing about single requests."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def main() -> None:
    """Serve the shop until it is stopped."""
    arguments = storefront.read_arguments(__doc__)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Client(arguments.url, key=arguments.key) as client, storefront.listen(arguments.port) as listener:
        server = Server(listener.getsockname(), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        server.server_name, server.server_port = listener.getsockname()
        server.setup_environ()
        server.set_app(TouchtrailMiddleware(Shop(client), client))
        with suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
