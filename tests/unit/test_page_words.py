"""Which language a page is in, and that nothing is missing in any of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.services.reports import REPORTS
from touchtrail_collector.web.errors import CODES
from touchtrail_collector.web.pages.words import FAILED, LANGUAGES, REFUSED, choose_language


@pytest.mark.parametrize(
    ("wanted", "header", "code"),
    [
        (None, "", "en"),
        (None, "de", "de"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "en-GB,de;q=0.9", "en"),
        (None, "fr,de;q=0.5,en;q=0.6", "en"),
        (None, "fr, DE ; q=0.4", "de"),
        (None, "fr", "en"),
        (None, "*", "en"),
        (None, "de;q=0, en;q=0.1", "en"),
        (None, "de;q=0", "en"),
        (None, "de;q=nan,en;q=0.1", "en"),
        (None, "de;q=7,en;q=0.1", "en"),
        (None, "de;level=1", "en"),
        ("de", "en", "de"),
        ("en", "de", "en"),
        ("xx", "de", "de"),
        ("", "de", "de"),
    ],
)
def test_the_address_decides_then_what_the_browser_rates_highest(wanted: str | None, header: str, code: str) -> None:
    assert choose_language(wanted, header) == code


@given(st.none() | st.text(), st.text(max_size=200))
def test_there_is_a_language_whatever_is_asked_for(wanted: str | None, header: str) -> None:
    assert choose_language(wanted, header) in LANGUAGES


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_text_and_every_report_is_there_in_every_language(code: str) -> None:
    words = msgspec.structs.asdict(LANGUAGES[code])
    by_report, by_error = words.pop("by_report"), words.pop("by_error")
    assert all(isinstance(text, str) and text.strip() == text != "" for text in words.values())
    assert list(by_report) == list(REPORTS)
    assert all(text for report in by_report.values() for text in report)
    assert words["too_many_attempts"].count("{}") == 1
    assert {REFUSED, FAILED} < set(by_error)
    assert set(by_error) - {REFUSED, FAILED} <= {code for codes in CODES.values() for code in codes}
    for error_code, said in by_error.items():
        assert said.title
        assert said.text.strip() == said.text != ""
        has_wait = error_code in CODES[429] + CODES[503]
        assert said.text.count("{}") == has_wait, "every 429 and 503 says when to come again"


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_error_has_words(code: str) -> None:
    words = LANGUAGES[code]
    own = 0
    for status, codes in CODES.items():
        for error_code in codes:
            said = words.error(error_code, status)
            if said not in (words.by_error[REFUSED], words.by_error[FAILED]):
                own += 1
            else:
                assert said == words.by_error[FAILED if status >= 500 else REFUSED]
    assert own >= 8


def test_who_sends_events_is_called_the_same_in_every_text() -> None:
    texts = repr(msgspec.structs.asdict(LANGUAGES["de"]))
    assert ("Sender" in texts, "Quelle" in texts) == (True, False)


def test_no_text_is_the_same_in_two_languages() -> None:
    texts = [msgspec.structs.asdict(words) for words in LANGUAGES.values()]
    alike = [name for name in texts[0] if len({repr(words[name]) for words in texts}) < len(texts)]
    assert alike == []
