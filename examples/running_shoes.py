"""Sofia's running shoes.

A friend recommends a shoe. Sofia reads a forum and a review portal, orders, follows the parcel, has it in three days
with a voucher, and the first run is a joy. She orders a second pair with the voucher, writes a review and recommends
the shoe to everybody.

Look at: the moments of truth on her road, and Word of Mouth in the credit although it was reported after the order.

    python examples/running_shoes.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from telling import tell

if __name__ == "__main__":
    raise SystemExit(tell("running_shoes", __doc__))
