"""A shop on FastAPI with ordinary handlers, which FastAPI runs in threads: the context is there all the same.

Shows: ``app.add_middleware``, a ``Client`` closed at shutdown, an event from a background task.

    pip install touchtrail fastapi uvicorn
    python examples/web/fastapi_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio.to_thread
import storefront
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from touchtrail import Client, events
from touchtrail.integrations.asgi import TouchtrailMiddleware


async def read_form(request: Request) -> dict[str, str]:
    """Read the fields of a form."""
    return storefront.read_form(await request.body())


Form = Annotated[dict[str, str], Depends(read_form)]


def build_app(client: Client) -> FastAPI:
    """Return the shop."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # Closing waits for the collector for a moment; the event loop must not.
        await anyio.to_thread.run_sync(client.close)

    app = FastAPI(lifespan=lifespan, default_response_class=HTMLResponse)
    app.add_middleware(TouchtrailMiddleware, client=client)

    @app.get("/")
    def home() -> str:
        return storefront.home_page()

    @app.get("/p/{sku}")
    def product(sku: str) -> str:
        page = storefront.product_page(sku)
        if page is None:
            raise HTTPException(404)
        client.track(storefront.viewed(sku))
        return page

    @app.get("/cart")
    def cart(sku: str = "") -> str:
        return storefront.cart_page(sku)

    @app.post("/cart")
    def add_to_cart(form: Form) -> Response:
        sku = storefront.sku_in(form)
        if sku is None:
            raise HTTPException(400)
        client.track(storefront.added(sku))
        return RedirectResponse(f"/cart?sku={sku}", 303)

    @app.post("/order")
    def order(form: Form, background: BackgroundTasks) -> str:
        sku = storefront.sku_in(form)
        if sku is None:
            raise HTTPException(400)
        storefront.sign_in(form)
        client.track(events.CustomerSignedIn())
        placed = storefront.placed(sku)
        # After the answer has gone out; the customer who signed in above is known there too.
        background.add_task(client.track, placed)
        return storefront.thanks_page(placed.order_id)

    @app.post("/consent")
    def consent(form: Form, request: Request) -> Response:
        storefront.answer_banner(form, request.headers)
        return RedirectResponse(storefront.local_path(request.headers.get("referer", "")), 303)

    return app


def main() -> None:
    """Serve the shop until it is stopped."""
    arguments = storefront.read_arguments(__doc__)
    app = build_app(Client(arguments.url, key=arguments.key))
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False)
    uvicorn.Server(config).run(sockets=[storefront.listen(arguments.port)])


if __name__ == "__main__":
    main()
