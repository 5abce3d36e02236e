"""A shop in Flask, made by an app factory, with sign-in by Flask's session.

Shows: the extension, `customer_id` from the session, the consent banner, an async view, a streamed answer.

    pip install touchtrail 'flask[async]'
    python examples/web/flask_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import storefront
from flask import Flask, Response, abort, redirect, request, session, stream_with_context
from werkzeug.serving import make_server

from touchtrail import events
from touchtrail.integrations.flask import Touchtrail

# Flask-Login's users: ``customer_id=lambda: current_user.get_id()``.
tt = Touchtrail(customer_id=lambda: session.get("customer"))


def create_app(config: Mapping[str, Any]) -> Flask:
    """Return the shop."""
    app = Flask(__name__)
    app.secret_key = "only-for-this-example"
    app.config.update(config)
    tt.init_app(app)
    app.add_url_rule("/", view_func=storefront.home_page, endpoint="home")
    app.add_url_rule("/p/<sku>", view_func=product)
    app.add_url_rule("/consent", view_func=consent, methods=["POST"])
    app.add_url_rule("/cart", view_func=put_into_cart, methods=["POST"])
    app.add_url_rule("/cart", view_func=cart)
    app.add_url_rule("/order", view_func=order, methods=["POST"])
    app.add_url_rule("/feed.csv", view_func=feed)
    return app


async def product(sku: str) -> str:
    """Show a product."""
    page = storefront.product_page(sku)
    if page is None:
        abort(404)
    tt.client.track(storefront.viewed(sku))
    return page


def consent() -> Any:
    """Take the answer to the banner."""
    storefront.answer_banner(request.form, request.headers)
    return redirect(storefront.local_path(request.headers.get("Referer", "")), 303)


def put_into_cart() -> Any:
    """Put a product into the cart."""
    sku = storefront.sku_in(request.form)
    if sku is None:
        abort(400)
    tt.client.track(storefront.added(sku))
    return redirect(f"/cart?sku={sku}", 303)


def cart() -> str:
    """Show the cart."""
    return storefront.cart_page(request.args.get("sku", ""))


def order() -> str:
    """Sign the customer in and take the order; from the next request on ``customer_id`` knows them."""
    sku = storefront.sku_in(request.form)
    if sku is None:
        abort(400)
    session["customer"] = request.form["customer"]
    storefront.sign_in(request.form)
    tt.client.track(events.CustomerSignedIn())
    placed = storefront.placed(sku)
    tt.client.track(placed)
    return storefront.thanks_page(placed.order_id)


def feed() -> Response:
    """Stream the list of products; the visitor is known to its last line."""

    def lines() -> Iterator[str]:
        for sku, (name, price) in storefront.PRODUCTS.items():
            yield f"{sku},{name},{price}\r\n"
        tt.client.track("feed_read", properties={"products": len(storefront.PRODUCTS)})

    return Response(stream_with_context(lines()), mimetype="text/csv")


def main() -> None:
    """Serve the shop until it is stopped."""
    arguments = storefront.read_arguments(__doc__)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = create_app({"TOUCHTRAIL_URL": arguments.url, "TOUCHTRAIL_KEY": arguments.key})
    with storefront.listen(arguments.port) as listener:
        port = listener.getsockname()[1]
        server = make_server("127.0.0.1", port, app, threaded=True, fd=listener.fileno())
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
