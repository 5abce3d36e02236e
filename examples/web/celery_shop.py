"""An order whose work goes on in the background: the visitor travels with the tasks.

The web process publishes a task while it serves visitor a-1; the worker tracks what became of the order. Nothing is
handed over by hand: every event is about a-1. Broker and worker run inside this script; in a shop the worker is
`celery -A shop worker`, and `install` stands beside the Celery app, which both import.

    pip install touchtrail celery
    python examples/web/celery_shop.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

import argparse
import sys

from celery import Celery
from celery.contrib.testing.worker import start_worker

from touchtrail import Client, Context, current_context, events, use_context
from touchtrail.integrations.celery import install


def main() -> int:
    """Place an order, let the worker do the rest; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8377", help="the collector's address")
    parser.add_argument("--key", required=True, help="a write key, made with `touchtrail keys create --source shop`")
    parser.add_argument("--spool", help="folder of the spool; left out = the user's state directory")
    options = parser.parse_args()

    client = Client(options.url, key=options.key, spool_dir=options.spool)
    app = Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.broker_transport_options = {"polling_interval": 0.05}
    install(client)

    @app.task  # type: ignore[untyped-decorator] # Celery has no types
    def settle_payment(order_id: str) -> str:
        client.track(events.OrderPaid(order_id=order_id, amount="59.00", currency="EUR", method="card"))
        return order_id

    @app.task  # type: ignore[untyped-decorator] # Celery has no types
    def ship(order_id: str) -> str:
        client.track(events.OrderShipped(order_id=order_id, carrier="Parcel Post"))
        context = current_context()
        return f"order_shipped for {context.anonymous_id if context else 'nobody'}"

    with start_worker(app, perform_ping_check=False):
        # A web framework's middleware does this for each request.
        with use_context(Context(anonymous_id="a-1")):
            client.track(events.OrderPlaced(order_id="O-1", currency="EUR", total="59.00"))
            done = (settle_payment.s("O-1") | ship.s()).delay()
        print(done.get(timeout=10))
    if not client.flush(timeout_s=10):
        print(f"{options.url} did not take everything: is it running, is the key right?", file=sys.stderr)
        return 1
    client.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
