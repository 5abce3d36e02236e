"""The laptop buyer.

Jonas searches "new Windows laptops" and reads a post of the shop's blog. He searches the brand, compares prices, reads
the detailed review, looks for a coupon code, searches "buy ... online" and orders with the coupon. Two weeks later an
e-mail asks how it is going; a personal offer follows; he recommends the shop.

Look at: five touches that share one order in `touchtrail report attribution`, and how the models differ.

    python examples/laptop_buyer.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from telling import tell

if __name__ == "__main__":
    raise SystemExit(tell("laptop_buyer", __doc__))
