"""A shop on Litestar.

Shows: ``DefineMiddleware`` with one client for all routes, closed at shutdown.

    pip install touchtrail litestar uvicorn
    python examples/web/litestar_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from typing import Any

import storefront
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.middleware import DefineMiddleware
from litestar.response import Redirect, Response

from touchtrail import AsyncClient, events
from touchtrail.integrations.asgi import TouchtrailMiddleware


def _html(page: str) -> Response[str]:
    return Response(page, media_type="text/html", status_code=200)


def build_app(client: AsyncClient) -> Litestar:
    """Return the shop."""

    @get("/")
    async def home() -> Response[str]:
        return _html(storefront.home_page())

    @get("/p/{sku:str}")
    async def product(sku: str) -> Response[str]:
        page = storefront.product_page(sku)
        if page is None:
            raise NotFoundException
        client.track(storefront.viewed(sku))
        return _html(page)

    @get("/cart")
    async def cart(sku: str = "") -> Response[str]:
        return _html(storefront.cart_page(sku))

    @post("/cart")
    async def add_to_cart(request: Request[Any, Any, Any]) -> Redirect:
        sku = storefront.sku_in(storefront.read_form(await request.body()))
        if sku is None:
            raise ClientException
        client.track(storefront.added(sku))
        return Redirect(f"/cart?sku={sku}", status_code=303)

    @post("/order")
    async def order(request: Request[Any, Any, Any]) -> Response[str]:
        form = storefront.read_form(await request.body())
        sku = storefront.sku_in(form)
        if sku is None:
            raise ClientException
        storefront.sign_in(form)
        client.track(events.CustomerSignedIn())
        placed = storefront.placed(sku)
        client.track(placed)
        return _html(storefront.thanks_page(placed.order_id))

    @post("/consent")
    async def consent(request: Request[Any, Any, Any]) -> Redirect:
        storefront.answer_banner(storefront.read_form(await request.body()), request.headers)
        return Redirect(storefront.local_path(request.headers.get("referer", "")), status_code=303)

    return Litestar(
        route_handlers=[home, product, cart, add_to_cart, order, consent],
        middleware=[DefineMiddleware(TouchtrailMiddleware, client=client)],
        on_shutdown=[client.close],
    )


def main() -> None:
    """Serve the shop until it is stopped."""
    arguments = storefront.read_arguments(__doc__)
    app = build_app(AsyncClient(arguments.url, key=arguments.key))
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False)
    uvicorn.Server(config).run(sockets=[storefront.listen(arguments.port)])


if __name__ == "__main__":
    main()
