"""What the demo shop sells, its coupons and its pages."""

from __future__ import annotations

import msgspec

from touchtrail.events import Event, EventSpec

SHOP = "https://www.gipfelwerk.example"
"""Address of the demo shop: a small German shop for running and mountain gear."""

CURRENCY = "EUR"
STORES = ("muenchen", "innsbruck")

SHARED_COUPONS = ("HERBST10", "WILLKOMMEN5", "LAUFEN10")
"""Codes printed everywhere and used by hundreds: they say nothing about who somebody is."""

VAT_PERCENT = {"DE": 19.0, "AT": 20.0, "CH": 8.1}
SHIPPING_MINOR = 495
FREE_SHIPPING_FROM_MINOR = 6_000


class Product(msgspec.Struct, frozen=True):
    """An article: prices are minor units including VAT."""

    sku: str
    name: str
    category: str
    brand: str
    price_minor: int
    colours: tuple[str, ...] = ("schwarz", "blau")


class SizeAdvisorUsed(Event, frozen=True):
    """The shop's own event, unknown to the vocabulary: the size advisor gave an answer."""

    spec = EventSpec("size_advisor_used", None, "none")

    size: str
    sku: str | None = None


class GiftWrapChosen(Event, frozen=True):
    """The shop's own event, unknown to the vocabulary: the parcel is to be a present."""

    spec = EventSpec("gift_wrap_chosen", None, "none")

    paper: str


PRODUCTS = (
    Product("RS-101", "Laufschuh Isar", "Schuhe/Laufen", "Gipfelwerk", 12_990, ("rot", "blau", "grau")),
    Product("RS-102", "Laufschuh Isar Plus", "Schuhe/Laufen", "Gipfelwerk", 15_990, ("rot", "schwarz")),
    Product("RS-110", "Trailschuh Karwendel", "Schuhe/Trail", "Felsgang", 14_995),
    Product("RS-111", "Trailschuh Wetterstein", "Schuhe/Trail", "Felsgang", 17_900),
    Product("WS-201", "Wanderstiefel Tegernsee", "Schuhe/Wandern", "Felsgang", 18_990),
    Product("WS-202", "Wanderschuh Ammer", "Schuhe/Wandern", "Gipfelwerk", 11_950),
    Product("JK-301", "Regenjacke Loisach", "Jacken/Regen", "Wolkenbruch", 13_900, ("gelb", "blau", "oliv")),
    Product("JK-302", "Daunenjacke Zugspitz", "Jacken/Winter", "Wolkenbruch", 24_990, ("schwarz", "rot")),
    Product("JK-303", "Softshell Kochel", "Jacken/Softshell", "Gipfelwerk", 9_995),
    Product("MT-310", "Wintermantel Garmisch", "Jacken/Winter", "Wolkenbruch", 29_900, ("camel", "schwarz")),
    Product("HS-401", "Laufhose Würm", "Hosen/Laufen", "Gipfelwerk", 5_990),
    Product("HS-402", "Tourenhose Rofan", "Hosen/Wandern", "Felsgang", 8_995),
    Product("SH-501", "Laufshirt Amper", "Shirts/Laufen", "Gipfelwerk", 3_495),
    Product("SH-502", "Merinoshirt Alm", "Shirts/Wandern", "Schafwerk", 6_490),
    Product("SH-503", "Langarmshirt Spitzing", "Shirts/Laufen", "Gipfelwerk", 4_495),
    Product("RK-601", "Rucksack Hütte 28", "Rucksäcke/Touren", "Traglast", 10_990),
    Product("RK-602", "Laufweste Föhn 5", "Rucksäcke/Laufen", "Traglast", 7_995),
    Product("AC-701", "Socken Doppelpack", "Zubehör/Socken", "Schafwerk", 1_590),
    Product("AC-702", "Stirnlampe Dämmerung", "Zubehör/Licht", "Traglast", 4_290),
    Product("AC-703", "Trinkflasche Quelle", "Zubehör/Flaschen", "Traglast", 1_995),
    Product("AC-704", "Stirnband Grat", "Zubehör/Mützen", "Schafwerk", 1_295),
    Product("KD-801", "Kinderjacke Murmel", "Kinder/Jacken", "Wolkenbruch", 6_995),
    Product("KD-802", "Kinderstiefel Gams", "Kinder/Schuhe", "Felsgang", 5_495),
    Product("ST-901", "Trekkingstöcke Carbon", "Zubehör/Stöcke", "Felsgang", 8_990),
)

GUIDES = (
    "laufschuhe-richtig-waehlen",
    "schichten-im-winter",
    "erste-huettentour-packliste",
    "daune-oder-kunstfaser",
    "trailrunning-fuer-einsteiger",
)

SEARCHES = ("laufschuhe herren", "regenjacke", "rucksack 28 liter", "stirnlampe", "merino", "kinderjacke", "socken")
EMPTY_SEARCHES = ("eispickel", "zelt 3 personen", "langlaufski", "kletterseil")
