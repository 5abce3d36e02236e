"""What pages say, in every language there is; a text that is missing in one of them is a type error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec


class ReportWords(NamedTuple):
    """A report's name, and the question it answers."""

    title: str
    question: str


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """Every text of the pages; `{}` stands for a number."""

    language: str
    sign_in: str
    link_is_good: str
    link_has_ended: str
    password: str
    wrong_password: str
    too_many_attempts: str
    other_page: str
    insecure: str
    insecure_way: str
    how_to_get_a_link: str
    signed_out: str
    sign_out: str
    reports: str
    reports_as_json: str
    one_moment: str
    go_on: str
    by_report: Mapping[str, ReportWords]


ENGLISH: Final = Words(
    language="English",
    sign_in="Sign in",
    link_is_good="This link lets you in once.",
    link_has_ended="This link has been used or is older than 15 minutes.",
    password="Password",  # noqa: S106 - the word itself
    wrong_password="That is not the password.",  # noqa: S106 - a sentence
    too_many_attempts="Too many attempts. Try again in {} seconds.",
    other_page="The request came from another page. Sign in here.",
    insecure="This connection is not encrypted.",
    insecure_way="Open this page over https, or on the machine itself by its address 127.0.0.1. Behind a proxy that "
    "does TLS, name the proxy in the setting server.trusted_proxies.",
    how_to_get_a_link="On the machine the collector runs on, this command gives a link that lets you in once:",
    signed_out="You are signed out.",
    sign_out="Sign out",
    reports="Reports",
    reports_as_json="Each link opens the report's whole result as JSON.",
    one_moment="One moment …",
    go_on="Go on",
    by_report={
        "overview": ReportWords("Overview", "Do enough people see us, do they feel well, do visits become orders?"),
        "attribution": ReportWords(
            "Attribution", "Which channels earned the orders, by each model, net of what was taken back?"
        ),
        "channels": ReportWords("Channels", "What does each channel bring, and how do people feel there?"),
        "journeys": ReportWords("Journeys", "What was one person's whole road, and whose is worth looking at?"),
        "paths": ReportWords("Paths", "Over which channels, in which order, do people come to an order?"),
        "orders": ReportWords("Orders", "What was ordered, what of it stayed, where do senders disagree?"),
        "data-quality": ReportWords("Data quality", "What could make the other numbers wrong, and what is to be done?"),
    },
)

GERMAN: Final = Words(
    language="Deutsch",
    sign_in="Anmelden",
    link_is_good="Dieser Link meldet Sie einmal an.",
    link_has_ended="Dieser Link ist benutzt oder älter als 15 Minuten.",
    password="Passwort",  # noqa: S106 - the word itself
    wrong_password="Das ist nicht das Passwort.",  # noqa: S106 - a sentence
    too_many_attempts="Zu viele Versuche. Versuchen Sie es in {} Sekunden noch einmal.",
    other_page="Die Anfrage kam von einer anderen Seite. Melden Sie sich hier an.",
    insecure="Diese Verbindung ist nicht verschlüsselt.",
    insecure_way="Öffnen Sie diese Seite über https oder auf dem Rechner selbst unter seiner Adresse 127.0.0.1. Hinter "
    "einem Proxy, der TLS übernimmt, gehört dessen Adresse in die Einstellung server.trusted_proxies.",
    how_to_get_a_link="Auf dem Rechner, auf dem der Collector läuft, gibt dieser Befehl einen Link, der Sie einmal "
    "anmeldet:",
    signed_out="Sie sind abgemeldet.",
    sign_out="Abmelden",
    reports="Berichte",
    reports_as_json="Jeder Link öffnet das ganze Ergebnis des Berichts als JSON.",
    one_moment="Einen Augenblick …",
    go_on="Weiter",
    by_report={
        "overview": ReportWords(
            "Überblick", "Sehen uns genug Leute, fühlen sie sich wohl, werden aus Besuchen Bestellungen?"
        ),
        "attribution": ReportWords(
            "Attribution", "Welche Kanäle haben die Bestellungen verdient, nach jedem Modell, ohne was zurückging?"
        ),
        "channels": ReportWords("Kanäle", "Was bringt jeder Kanal, und wie fühlen sich die Leute dort?"),
        "journeys": ReportWords("Kundenreisen", "Wie war der ganze Weg einer Person, und welcher ist sehenswert?"),
        "paths": ReportWords("Pfade", "Über welche Kanäle, in welcher Folge, kommen Leute zu einer Bestellung?"),
        "orders": ReportWords(
            "Bestellungen", "Was wurde bestellt, was davon blieb, wo widersprechen sich die Quellen?"
        ),
        "data-quality": ReportWords(
            "Datenqualität", "Was könnte die anderen Zahlen verfälschen, und was ist dagegen zu tun?"
        ),
    },
)

LANGUAGES: Final[Mapping[str, Words]] = {"en": ENGLISH, "de": GERMAN}
DEFAULT: Final = "en"


def choose_language(wanted: str | None, accept_language: str) -> str:
    """Return the code of the language to show.

    Args:
        wanted: what the address says, `?lang=de`; it counts where there is such a language.
        accept_language: the browser's header: the language it rates highest, of those there are, else English.

    Source: RFC 9110, section 12.5.4.
    """
    if wanted is not None and wanted in LANGUAGES:
        return wanted
    best, best_rating = DEFAULT, 0.0
    for part in accept_language.split(","):
        tag, _, rating_text = part.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        rating = read_rating(rating_text)
        if code in LANGUAGES and rating > best_rating:
            best, best_rating = code, rating
    return best


def read_rating(text: str) -> float:
    """Return the number of `q=0.8`, 1 where there is none, 0 where it is no number from 0 to 1."""
    if not text.strip():
        return 1.0
    try:
        rating = float(text.strip().lower().removeprefix("q="))
    except ValueError:
        return 0.0
    return rating if 0 <= rating <= 1 else 0.0
