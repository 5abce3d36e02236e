"""The demo shop's people: who they are, which devices they use and what the shop may know of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from touchtrail.context import Consent, Device

from .catalogue import PRODUCTS, Product

CLOCK_OFFSETS_S = (-10_800, 7_200, 43_200)
"""How wrong device clocks are: a sender needs one client for each of these."""

DESKTOPS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Safari/605.1.15",
)
PHONES = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
)
TABLETS = (
    "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1",
)
SCREENS = {"desktop": "1920x1080", "mobile": "390x844", "tablet": "820x1180"}
COUNTRIES = (("DE", 0.80), ("AT", 0.13), ("CH", 0.07))


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of customer.

    Args:
        share: how many of a hundred people are of this kind.
        propensity: how ready to buy they are without any contact.
        likes: beginnings of the category paths they look at.
        coupon: probability that they look for a coupon.
        returns: probability that something of an order comes back.
    """

    name: str
    share: int
    propensity: float
    likes: tuple[str, ...]
    coupon: float
    returns: float


PERSONAS = (
    Persona(
        name="hobby jogger",
        share=28,
        propensity=0.030,
        likes=("Schuhe/Laufen", "Hosen/Laufen", "Shirts/Laufen"),
        coupon=0.2,
        returns=0.18,
    ),
    Persona(
        name="mountain hiker",
        share=24,
        propensity=0.026,
        likes=("Schuhe/Wandern", "Rucksäcke", "Hosen/Wandern"),
        coupon=0.15,
        returns=0.12,
    ),
    Persona(
        name="trail runner",
        share=12,
        propensity=0.040,
        likes=("Schuhe/Trail", "Rucksäcke/Laufen"),
        coupon=0.15,
        returns=0.15,
    ),
    Persona(
        name="family",
        share=16,
        propensity=0.028,
        likes=("Kinder", "Jacken/Regen", "Zubehör"),
        coupon=0.35,
        returns=0.22,
    ),
    Persona(name="gift buyer", share=10, propensity=0.018, likes=("Zubehör", "Jacken"), coupon=0.25, returns=0.28),
    Persona(
        name="bargain hunter",
        share=10,
        propensity=0.010,
        likes=("Jacken", "Schuhe", "Zubehör"),
        coupon=0.8,
        returns=0.3,
    ),
)
_SHARES = [persona.share for persona in PERSONAS]
_LIKED = {
    persona.name: tuple(product for product in PRODUCTS if product.category.startswith(persona.likes))
    for persona in PERSONAS
}


class Gadget(msgspec.Struct, kw_only=True):
    """A browser or app on a device; its anonymous id changes when cookies are lost."""

    source: str
    device: Device
    anonymous_id: str
    clock_offset_s: int = 0
    is_shared: bool = False


class Person(msgspec.Struct, kw_only=True):
    """One true person and what has become of them so far."""

    number: int
    persona: Persona
    country: str
    gadgets: list[Gadget]
    email: str
    phone: str
    wants_account: bool
    gives_phone: bool
    near_store: bool
    propensity: float
    consent: Consent
    customer_id: str | None = None
    loyalty_card: str | None = None
    card_is_linked: bool = False
    is_subscribed: bool = False
    vouchers: list[tuple[int, str]] = []
    referral_code: str | None = None
    orders: int = 0
    points: int = 0

    @property
    def liked(self) -> tuple[Product, ...]:
        """The products this kind of customer looks at."""
        return _LIKED[self.persona.name]


def make_people(count: int, rng: random.Random) -> list[Person]:
    """Return ``count`` people; about one in twelve shares a tablet with the next one."""
    people = [_make_person(number, rng) for number in range(count)]
    for first, second in zip(people[0::24], people[1::24], strict=False):
        tablet = make_gadget("tablet", rng)
        tablet.is_shared = True
        for member in (first, second):
            member.wants_account = True
            member.gadgets.append(tablet)
    return people


def make_gadget(kind: str, rng: random.Random) -> Gadget:
    """Return a new device of a kind (`desktop`, `mobile`, `tablet`, `app`) with a fresh anonymous id."""
    is_app = kind == "app"
    agents = {"desktop": DESKTOPS, "tablet": TABLETS}.get(kind, PHONES)
    device = Device(
        user_agent="Gipfelwerk/4.2 (Android 15)" if is_app else rng.choice(agents),
        locale="de-DE",
        time_zone="Europe/Berlin",
        screen=SCREENS.get(kind, "390x844"),
        kind="mobile" if is_app else kind,
    )
    offset = rng.choice(CLOCK_OFFSETS_S) if rng.random() < 0.02 else 0
    return Gadget(
        source="app" if is_app else "web", device=device, anonymous_id=make_anonymous_id(rng), clock_offset_s=offset
    )


def make_anonymous_id(rng: random.Random) -> str:
    """Return a first-party id as a browser tracker would make it."""
    return f"{rng.getrandbits(80):020x}"


def _make_person(number: int, rng: random.Random) -> Person:
    persona = rng.choices(PERSONAS, _SHARES)[0]
    country = rng.choices([name for name, _ in COUNTRIES], [share for _, share in COUNTRIES])[0]
    kinds = ["mobile" if rng.random() < 0.6 else "desktop"]
    if rng.random() < 0.45:
        kinds.append("desktop" if kinds[0] == "mobile" else "mobile")
    if rng.random() < 0.12:
        kinds.append("app")
    ads = rng.random() < 0.7
    is_near = rng.random() < 0.35
    return Person(
        number=number,
        persona=persona,
        country=country,
        gadgets=[make_gadget(kind, rng) for kind in kinds],
        email=f"person{number}@{_pick_host(rng)}",
        phone=f"+49 89 5550{number:05d}",
        wants_account=rng.random() < 0.55,
        gives_phone=rng.random() < 0.5,
        near_store=is_near,
        # Lognormal: most people hardly buy by themselves, a few buy a lot.
        propensity=persona.propensity * rng.lognormvariate(-0.3, 0.8),
        consent=Consent(analytics=True, ads=ads, personalisation=ads),
        loyalty_card=f"GW{number:07d}" if rng.random() < (0.6 if is_near else 0.08) else None,
        vouchers=[],
    )


def _pick_host(rng: random.Random, hosts: Sequence[str] = ("mail.example", "post.example", "web.example")) -> str:
    return rng.choice(hosts)
