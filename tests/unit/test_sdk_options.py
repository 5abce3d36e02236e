"""Options: every problem named at construction; the environment; secrets stay hidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from touchtrail import Client, Options, OptionsError
from touchtrail.integrations.web_options import WebOptions


def test_every_option_can_be_read_from_the_environment() -> None:
    variables = {
        "TOUCHTRAIL_URL": "https://collect.example",
        "TOUCHTRAIL_KEY": "secret",
        "TOUCHTRAIL_STRICT": "yes",
        "TOUCHTRAIL_SPOOL_DIR": "/var/spool/shop",
        "TOUCHTRAIL_BATCH_EVENTS": "7",
        "TOUCHTRAIL_LINGER_S": "1.5",
        "UNRELATED": "x",
    }
    options = Options.from_env(variables, linger_s=2.5)
    assert (options.url, options.key, options.strict) == ("https://collect.example", "secret", True)
    assert (options.spool_dir, options.batch_events, options.linger_s) == ("/var/spool/shop", 7, 2.5)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: Options(spooldir="/x", zzz=1),
            "spooldir: no such option; did you mean spool_dir?; zzz: no such option",
        ),
        (lambda: WebOptions(visitorid="never"), "visitorid: no such option; did you mean visitor_id?"),
        (lambda: Client("http://x", key="k", batch_event=1), "batch_event: no such option; did you mean batch_events?"),
        (lambda: Client.from_env(urls="x"), "urls: no such option; did you mean url?"),
    ],
    ids=["Options", "WebOptions", "Client", "from_env"],
)
def test_a_misspelt_option_is_an_options_error_that_names_the_one_meant(build: Callable[[], object], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        build()
    assert said in str(caught.value)


def test_a_misspelt_variable_is_said_once_with_the_one_meant_and_nobody_elses_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collectors = ["DB", "HOST", "PORT", "DEBUG", "STORE_DB", "SERVER_PORT", "SERVER_BODY_TIMEOUT_S", "SHOP_NAME"]
    collectors += ["SERVER_BATCH_LIMIT", "SERVER_KEEP_ALIVE_TIMEOUT_S", "PLUGINS_STRICT", "PLUGINS_DISABLED"]
    variables = {f"TOUCHTRAIL_{name}": "x" for name in collectors}
    variables |= {"TOUCHTRAIL_SPOOLDIR": "/x", "TOUCHTRAIL_MEMORYONLY": "1", "touchtrail_spool_di": "/x"}
    for _ in range(3):
        assert Options.from_env(variables) == Options()
    assert sorted(caplog.messages) == [
        f"TOUCHTRAIL_{slip} is no variable of the SDK and does nothing; did you mean TOUCHTRAIL_{meant}?"
        for slip, meant in (("MEMORYONLY", "MEMORY_ONLY"), ("SPOOLDIR", "SPOOL_DIR"))
    ]
    assert "/x" not in caplog.text


def test_all_bad_variables_are_named_in_one_error() -> None:
    with pytest.raises(OptionsError) as caught:
        Options.from_env({"TOUCHTRAIL_BATCH_EVENTS": "many", "TOUCHTRAIL_DISABLED": "perhaps"}, lingers=1)
    assert caught.value.problems == (
        "lingers: no such option; did you mean linger_s?",
        "TOUCHTRAIL_DISABLED: must be 1 or 0",
        "TOUCHTRAIL_BATCH_EVENTS: must be a number",
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "collect.example"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://x:port"}, "url"),
        ({"url": "http://x?y=1"}, "url"),
        ({"key": "two words"}, "key"),
        ({"key": "line\nbreak"}, "key"),
        ({"key": "schlüssel"}, "key"),
        ({"batch_events": 0}, "batch_events"),
        ({"batch_events": 1.5}, "batch_events"),
        ({"linger_s": float("nan")}, "linger_s"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"strict": 1}, "strict"),
        ({"spool_dir": 7}, "spool_dir"),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused_with_the_options_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(OptionsError) as caught:
        Options(**given)  # type: ignore[arg-type]
    assert [problem.partition(":")[0].split(",")[0] for problem in caught.value.problems] == [named]


def test_a_client_without_address_or_key_cannot_be_built() -> None:
    with pytest.raises(OptionsError) as caught:
        Client()
    assert caught.value.problems == ("url: missing", "key: missing")
    with pytest.raises(OptionsError, match="no such option"):
        Client("http://x", key="k", colour="red")


def test_arguments_win_over_the_options_struct(tmp_path: Path) -> None:
    base = Options(url="http://one", key="k", linger_s=1.0, spool_dir=tmp_path)
    with Client("http://two", options=base, linger_s=0.5) as client:
        assert (client.options.url, client.options.key, client.options.linger_s) == ("http://two", "k", 0.5)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    variables = {
        "TOUCHTRAIL_URL": "nope",
        "TOUCHTRAIL_KEY": "",
        "TOUCHTRAIL_BATCH_EVENTS": "many",
        "TOUCHTRAIL_LINGER_S": "-1",
        "TOUCHTRAIL_TIMEOUT_S": "soon",
    }
    with pytest.raises(OptionsError) as caught:
        Options.from_env(variables)
    named = [problem.partition(":")[0] for problem in caught.value.problems]
    assert named == ["TOUCHTRAIL_BATCH_EVENTS", "TOUCHTRAIL_TIMEOUT_S", "linger_s", "url", "key"]
    with pytest.raises(OptionsError) as caught:
        Client("nope", key="", bogus=1)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["bogus", "url", "key"]


def test_a_client_from_the_environment_names_what_is_missing_beside_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TOUCHTRAIL_KEY", raising=False)
    monkeypatch.setenv("TOUCHTRAIL_URL", "")
    monkeypatch.setenv("TOUCHTRAIL_BATCH_EVENTS", "many")
    with pytest.raises(OptionsError) as caught:
        Client.from_env(colour="red")
    assert caught.value.problems == (
        "colour: no such option",
        "TOUCHTRAIL_BATCH_EVENTS: must be a number",
        "url: missing",
        "key: missing",
    )


def test_a_disabled_client_may_have_an_empty_address_and_key() -> None:
    variables = {"TOUCHTRAIL_URL": "", "TOUCHTRAIL_KEY": "", "TOUCHTRAIL_DISABLED": "1"}
    assert Client(options=Options.from_env(variables)).track("x", anonymous_id="a") is False


def test_the_key_is_not_in_the_repr() -> None:
    shown = repr(Options(url="http://x", key="top-secret"))
    assert "top-secret" not in shown
    assert "linger_s=0.2" in shown


def test_every_number_has_limits() -> None:
    for field in msgspec.structs.fields(Options):
        if field.type in (int, float):
            with pytest.raises(OptionsError, match=field.name):
                Options(**{field.name: -1})
