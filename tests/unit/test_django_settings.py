"""`settings.TOUCHTRAIL`: what it may hold, what `manage.py check` says about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import django_site  # configures Django, before its models can be imported

# isort: split
from django.core.checks import run_checks
from django.test import override_settings

from touchtrail import Options, OptionsError
from touchtrail.integrations.django.conf import DjangoOptions, read_configuration
from touchtrail.integrations.visit import HttpRequest, WebOptions

ADDRESS = {"url": "https://collect.shop.example", "key": "k"}
NAMES = [name for kind in (Options, WebOptions, DjangoOptions) for name in kind.__struct_fields__]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Options.__struct_fields__:
        monkeypatch.delenv(f"TOUCHTRAIL_{name.upper()}", raising=False)


def consent_of(request: HttpRequest) -> None:
    """What a shop with a consent manager would write."""


async def number_later(user: object) -> None:
    """What cannot be used: nobody would await it."""


def test_every_option_has_one_meaning_and_its_default_is_accepted() -> None:
    assert len(NAMES) == len(set(NAMES))
    defaults = {
        name: value
        for kind in (Options, WebOptions, DjangoOptions)
        for name, value in zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True)
    }
    known = read_configuration(defaults | ADDRESS)
    assert (known.client, known.web, known.django) == (Options(**ADDRESS), WebOptions(), DjangoOptions())


def test_lists_and_sets_do_where_options_are_tuples() -> None:
    known = read_configuration(ADDRESS | {"own_hosts": ["a.example"], "hidden_parameters": {"token"}})
    assert known.web.own_hosts == ("a.example",)
    assert known.web.hidden_parameters == frozenset({"token"})


def test_functions_are_given_as_such_or_by_their_path() -> None:
    known = read_configuration(ADDRESS | {"customer_id": str, "consent": "django_site.seen"})
    assert known.django.customer_id is str
    assert known.django.consent is django_site.seen


def test_what_the_settings_leave_out_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHTRAIL_URL", "https://variable.example")
    monkeypatch.setenv("TOUCHTRAIL_KEY", "variable")
    monkeypatch.setenv("TOUCHTRAIL_LINGER_S", "3")
    known = read_configuration({"url": "https://setting.example", "key": None})
    assert (known.client.url, known.client.key) == ("https://setting.example", "variable")
    assert known.client.linger_s == 3


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param([], ["TOUCHTRAIL"], id="no-dict"),
        pytest.param({1: 2}, ["TOUCHTRAIL"], id="no-names"),
        pytest.param({}, ["url: missing", "key: missing"], id="nothing"),
        pytest.param({"url": "", "key": None}, ["url: missing", "key: missing"], id="empty"),
        pytest.param({"colour": 1, "size": 2, **ADDRESS}, ["colour", "size"], id="unknown"),
        pytest.param({"url": "ftp://x", "linger_s": -1}, ["url", "linger_s", "key: missing"], id="client"),
        pytest.param({"cookie_name": 7, "landings": "no", **ADDRESS}, ["cookie_name", "landings"], id="web"),
        pytest.param({"cookie_max_age_s": 10**9, **ADDRESS}, ["cookie_max_age_s"], id="web-range"),
        pytest.param({"customer_id": "no.such.thing", "consent": 5, **ADDRESS}, ["customer_id", "consent"], id="functions"),
        pytest.param({"customer_id": number_later, **ADDRESS}, ["customer_id"], id="coroutine"),
        pytest.param({"browser_url": "collect", "track_sign_in": "yes", **ADDRESS}, ["browser_url", "track_sign_in"], id="own"),
        pytest.param({"url": "x", "cookie_name": "", "capture": 1, "red": 1}, ["url", "cookie_name", "capture", "red", "key"], id="all-at-once"),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_named_at_once(values: object, problems: list[str]) -> None:
    with pytest.raises(OptionsError) as error:
        read_configuration(values)
    assert len(error.value.problems) == len(problems)
    assert all(any(found.startswith(problem) for found in error.value.problems) for problem in problems)


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_dict_is_read_or_each_of_its_strangers_is_named(values: dict[str, object]) -> None:
    strangers = {name for name in values if name not in NAMES}
    problems: tuple[str, ...] = ()
    try:
        read_configuration(values | ADDRESS)
    except OptionsError as error:
        problems = error.problems
    named = {text.rpartition(": no such option")[0] for text in problems if ": no such option" in text}
    assert named == strangers


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"urll": "x"}, "urll: no such option; did you mean url?"),
        ({"visitorid": "never"}, "visitorid: no such option; did you mean visitor_id?"),
        ({"browserkey": "b"}, "browserkey: no such option; did you mean browser_key?"),
        ({"visitor_id": "always"}, "visitor_id: must be one of with_consent, unless_refused, never"),
        ({"landings": "no"}, "landings: must be True or False"),
        ({"cookie_max_age_s": "1"}, "cookie_max_age_s: must be between 1 and 34128000 (13 months)"),
        ({"own_hosts": [7]}, "own_hosts: must be a tuple of texts"),
        ({"track_sign_in": "yes"}, "track_sign_in: must be True or False"),
        ({"browser_key": 7}, "browser_key: must be text"),
    ],
    ids=str,
)
def test_the_check_names_the_option_meant_and_what_a_value_may_be(values: dict[str, object], problem: str) -> None:
    with override_settings(TOUCHTRAIL=ADDRESS | values, MIDDLEWARE=MIDDLEWARE):
        found = run_checks(tags=["touchtrail"])
    assert [message.msg for message in found if message.id == "touchtrail.E002"] == [f"TOUCHTRAIL: {problem}"]


@pytest.mark.parametrize("values", [{"disabled": True}, {"capture": True}])
def test_where_nothing_is_sent_no_address_is_needed(values: dict[str, object]) -> None:
    assert read_configuration(values).client.url == ""


def test_the_key_is_in_no_repr_of_the_settings() -> None:
    assert "s3cret" not in repr(read_configuration({"url": "https://a.example", "key": "s3cret"}))


MIDDLEWARE = [django_site.SESSIONS, django_site.AUTHENTICATION, django_site.TOUCHTRAIL]
BROWSER = {"browser_key": "b", "browser_tracker": True}
CHECKS = [
    pytest.param({}, False, [], id="good"),
    pytest.param({"TOUCHTRAIL": {}}, False, ["E001", "E001"], id="nothing"),
    pytest.param({"TOUCHTRAIL": {"disabled": True}}, False, [], id="disabled"),
    pytest.param({"TOUCHTRAIL": {"red": 1, "linger_s": "x", "url": "https://a.example"}}, False, ["E002", "E002", "E001"], id="wrong"),
    pytest.param({"MIDDLEWARE": MIDDLEWARE[:2]}, False, ["W001"], id="no-middleware"),
    pytest.param({"MIDDLEWARE": MIDDLEWARE[::-1]}, False, ["W002", "W002"], id="middleware-first"),
    pytest.param({"MIDDLEWARE": [MIDDLEWARE[0], MIDDLEWARE[2], MIDDLEWARE[1]]}, False, ["W002"], id="middleware-between"),
    pytest.param({"MIDDLEWARE": ["no.such.Middleware", *MIDDLEWARE]}, False, [], id="others-are-not-our-business"),
    pytest.param({"MIDDLEWARE": [*MIDDLEWARE[:2], "django_site.OwnMiddleware"]}, False, [], id="derived"),
    pytest.param({"USE_X_FORWARDED_HOST": True, "TOUCHTRAIL": ADDRESS | {"client_address": "full"}}, False, ["W003"], id="proxy"),
    pytest.param({"USE_X_FORWARDED_HOST": True, "TOUCHTRAIL": ADDRESS | {"client_address": "full", "trusted_proxies": ["10.0.0.0/8"]}}, False, [], id="trusted-proxy"),
    pytest.param({"TOUCHTRAIL": ADDRESS | BROWSER}, False, [], id="browser"),
    pytest.param({"TOUCHTRAIL": ADDRESS | BROWSER | {"browser_key": "k"}}, False, ["W004"], id="own-key-for-browsers"),
    pytest.param({"TOUCHTRAIL": ADDRESS | {"browser_key": "b"}}, False, ["W005"], id="unreadable-cookie"),
    pytest.param({"TOUCHTRAIL": {"capture": True}}, True, ["W006"], id="capture-deployed"),
    pytest.param({"TOUCHTRAIL": {"capture": True}}, False, [], id="capture"),
    pytest.param({"TOUCHTRAIL": ADDRESS | {"strict": True}}, True, ["W007"], id="strict-deployed"),
    pytest.param({"TOUCHTRAIL": {}}, True, ["E001", "E001"], id="nothing-deployed"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "is_deployed", "ids"), CHECKS)
def test_checks_name_what_is_wrong_and_what_to_do(
    changed: dict[str, object], is_deployed: bool, ids: list[str]
) -> None:
    with override_settings(**{"TOUCHTRAIL": ADDRESS, "MIDDLEWARE": MIDDLEWARE} | changed):
        found = run_checks(tags=["touchtrail"], include_deployment_checks=is_deployed)
    assert [message.id for message in found] == [f"touchtrail.{id_}" for id_ in ids]
    assert all(message.hint or message.id == "touchtrail.E002" for message in found)


def test_each_kind_of_message_is_tried_here() -> None:
    tried = {id_ for case in CHECKS for id_ in case.values[2]}
    assert tried == {"E001", "E002", *(f"W00{number}" for number in range(1, 8))}
