"""A shop on Starlette; every other ASGI framework without a middleware of its own is wrapped in the same way.

Shows: ``app.add_middleware``, an ``AsyncClient`` that lives as long as the app, events from handlers, a consent banner.

    pip install touchtrail starlette uvicorn
    python examples/web/asgi_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import storefront
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from touchtrail import AsyncClient, events
from touchtrail.integrations.asgi import TouchtrailMiddleware


async def home(request: Request) -> Response:
    """Show what there is."""
    return HTMLResponse(storefront.home_page())


def build_app(client: AsyncClient) -> Starlette:
    """Return the shop."""

    async def product(request: Request) -> Response:
        sku = request.path_params["sku"]
        page = storefront.product_page(sku)
        if page is None:
            return Response(status_code=404)
        client.track(storefront.viewed(sku))
        return HTMLResponse(page)

    async def cart(request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(storefront.cart_page(request.query_params.get("sku", "")))
        sku = storefront.sku_in(storefront.read_form(await request.body()))
        if sku is None:
            return Response(status_code=400)
        client.track(storefront.added(sku))
        return RedirectResponse(f"/cart?sku={sku}", 303)

    async def order(request: Request) -> Response:
        form = storefront.read_form(await request.body())
        sku = storefront.sku_in(form)
        if sku is None:
            return Response(status_code=400)
        storefront.sign_in(form)
        client.track(events.CustomerSignedIn())
        placed = storefront.placed(sku)
        client.track(placed)
        return HTMLResponse(storefront.thanks_page(placed.order_id))

    async def consent(request: Request) -> Response:
        storefront.answer_banner(storefront.read_form(await request.body()), request.headers)
        return RedirectResponse(storefront.local_path(request.headers.get("referer", "")), 303)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [
        Route("/", home),
        Route("/p/{sku}", product),
        Route("/cart", cart, methods=["GET", "POST"]),
        Route("/order", order, methods=["POST"]),
        Route("/consent", consent, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(TouchtrailMiddleware, client=client)
    return app


def main() -> None:
    """Serve the shop until it is stopped."""
    arguments = storefront.read_arguments(__doc__)
    app = build_app(AsyncClient(arguments.url, key=arguments.key))
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False)
    uvicorn.Server(config).run(sockets=[storefront.listen(arguments.port)])


if __name__ == "__main__":
    main()
