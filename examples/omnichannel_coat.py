"""The omnichannel coat.

Aylin clicks a Facebook ad on the tablet and lands on a confusing product page. On the laptop a helpful agent answers
in the chat. She tries the coat on in the store and buys it on her phone, because the coupon is valid online only.

Look at: three devices and a loyalty card that are one person with one order, and the pain at the landing page.

    python examples/omnichannel_coat.py --url http://127.0.0.1:8377 --key KEY
"""

from __future__ import annotations

from telling import tell

if __name__ == "__main__":
    raise SystemExit(tell("omnichannel_coat", __doc__))
