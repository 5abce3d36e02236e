"""What pages say, in every language there is; a text that is missing in one of them is a type error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec


class ReportWords(NamedTuple):
    """A report's name, and the question it answers."""

    title: str
    question: str


class ErrorWords(NamedTuple):
    """What happened, and what to do.

    In ``text``, `{}` stands for the seconds to wait, `{message}` for what programs are told, in English.
    """

    title: str
    text: str


REFUSED: Final = "refused"
FAILED: Final = "failed"
"""In the place of the codes of errors that have no words of their own: 4xx, 5xx."""


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
    first_page: str
    by_error: Mapping[str, ErrorWords]
    by_report: Mapping[str, ReportWords]

    def error(self, code: str, status: int) -> ErrorWords:
        """Return the words for an error."""
        return self.by_error.get(code) or self.by_error[REFUSED if status < 500 else FAILED]


ENGLISH: Final = Words(
    language="English",
    sign_in="Sign in",
    link_is_good="This link lets you in once.",
    link_has_ended="This link is not known here (used, older than 15 minutes, or from before a restart).",
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
    first_page="To the first page",
    by_error={
        "wrong_csrf_token": ErrorWords(
            "This page is out of date",
            "You signed in again since it was opened. Nothing was changed. Go to the first page and do it there again.",
        ),
        "cross_site": ErrorWords(
            "The request came from another page", "Nothing was changed. Open touchtrail itself and do it there."
        ),
        "not_found": ErrorWords("There is nothing here", "Check the address, or begin at the first page."),
        "unknown_report": ErrorWords("There is no such report", "The first page links all there are."),
        "unknown_token": ErrorWords("You are not signed in", "Sign in on the first page, then open the report again."),
        "invalid_parameter": ErrorWords(
            "This report cannot be made like that", "What the address asks for does not fit: {message}"
        ),
        "busy": ErrorWords("Other reports are being made", "Open the page again in {} seconds."),
        "method_not_allowed": ErrorWords(
            "This address cannot be opened", "It takes what a button sends. Begin at the first page."
        ),
        "rate_limited": ErrorWords("Too many requests", "Wait {} seconds, then open the page again."),
        "wrong_host": ErrorWords(
            "This name is not known here",
            "The collector does not answer under this name. Whoever runs it adds the name to the setting "
            "server.allowed_hosts.",
        ),
        "unavailable": ErrorWords(
            "The database cannot be used at the moment", "Nothing is lost. Open the page again in {} seconds."
        ),
        "query_timeout": ErrorWords(
            "This takes too long at the moment", "Open the page again in {} seconds, or choose a shorter period."
        ),
        REFUSED: ErrorWords("That did not work", "What was sent cannot be read. Begin again at the first page."),
        FAILED: ErrorWords(
            "The collector failed", "Nothing was changed. Its log says why; touchtrail doctor finds most causes."
        ),
    },
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
    link_has_ended="Dieser Link ist hier nicht bekannt (benutzt, älter als 15 Minuten oder von vor einem Neustart).",
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
    first_page="Zur ersten Seite",
    by_error={
        "wrong_csrf_token": ErrorWords(
            "Diese Seite ist veraltet",
            "Sie haben sich neu angemeldet, seit sie geöffnet wurde. Es wurde nichts geändert. Gehen Sie zur ersten "
            "Seite und wiederholen Sie es dort.",
        ),
        "cross_site": ErrorWords(
            "Die Anfrage kam von einer anderen Seite",
            "Es wurde nichts geändert. Öffnen Sie touchtrail selbst und wiederholen Sie es dort.",
        ),
        "not_found": ErrorWords("Hier ist nichts", "Prüfen Sie die Adresse oder beginnen Sie auf der ersten Seite."),
        "unknown_report": ErrorWords("Diesen Bericht gibt es nicht", "Die erste Seite führt zu allen, die es gibt."),
        "unknown_token": ErrorWords(
            "Sie sind nicht angemeldet",
            "Melden Sie sich auf der ersten Seite an und öffnen Sie den Bericht dann erneut.",
        ),
        "invalid_parameter": ErrorWords(
            "So lässt sich der Bericht nicht erstellen", "Was die Adresse verlangt, passt nicht: {message}"
        ),
        "busy": ErrorWords(
            "Es werden gerade andere Berichte erstellt", "Öffnen Sie die Seite in {} Sekunden noch einmal."
        ),
        "method_not_allowed": ErrorWords(
            "Diese Adresse lässt sich nicht öffnen",
            "Sie nimmt, was eine Schaltfläche sendet. Beginnen Sie auf der ersten Seite.",
        ),
        "rate_limited": ErrorWords(
            "Zu viele Anfragen", "Warten Sie {} Sekunden und öffnen Sie die Seite dann noch einmal."
        ),
        "wrong_host": ErrorWords(
            "Dieser Name ist hier nicht bekannt",
            "Unter diesem Namen antwortet der Collector nicht. Wer ihn betreibt, trägt den Namen in die Einstellung "
            "server.allowed_hosts ein.",
        ),
        "unavailable": ErrorWords(
            "Die Datenbank ist im Augenblick nicht zu benutzen",
            "Es ist nichts verloren. Öffnen Sie die Seite in {} Sekunden noch einmal.",
        ),
        "query_timeout": ErrorWords(
            "Das dauert im Augenblick zu lange",
            "Öffnen Sie die Seite in {} Sekunden noch einmal oder wählen Sie einen kürzeren Zeitraum.",
        ),
        REFUSED: ErrorWords(
            "Das hat nicht geklappt",
            "Was gesendet wurde, ist nicht zu lesen. Beginnen Sie noch einmal auf der ersten Seite.",
        ),
        FAILED: ErrorWords(
            "Der Collector hat versagt",
            "Es wurde nichts geändert. Sein Protokoll sagt, warum; touchtrail doctor findet die meisten Ursachen.",
        ),
    },
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
        "orders": ReportWords("Bestellungen", "Was wurde bestellt, was davon blieb, wo widersprechen sich die Sender?"),
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
