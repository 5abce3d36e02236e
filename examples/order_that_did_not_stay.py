"""The order that did not stay.

Ben sees a display ad and does not click. He clicks a newsletter and orders a jacket and trousers. The jacket comes
back, its refund is reported twice; later the shop cancels the rest.

Look at: an order with net 0.00, and the credit taken back on the day it happened, from Display and Email alike.

    python examples/order_that_did_not_stay.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from telling import tell

if __name__ == "__main__":
    raise SystemExit(tell("order_that_did_not_stay", __doc__))
