"""What a Flask app's configuration may say, and what is wrong with it, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from touchtrail import Client, Options, OptionsError
from touchtrail.integrations.flask import FlaskOptions, Touchtrail
from touchtrail.integrations.flask_options import read_configuration
from touchtrail.integrations.web_options import WebOptions
from touchtrail.testing import CapturingClient

ADDRESS = {"TOUCHTRAIL_URL": "http://127.0.0.1:9", "TOUCHTRAIL_KEY": "k"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "KEY"):
        monkeypatch.delenv(f"TOUCHTRAIL_{name}", raising=False)


@pytest.fixture
def extension() -> Iterator[Touchtrail]:
    made = Touchtrail()
    yield made
    for client in made._clients.values():
        client.close(0)


def app_with(**config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(config)
    return app


def client_of(app: Flask) -> Client:
    found: Client = app.extensions["touchtrail"].client
    return found


@pytest.mark.parametrize(
    "config",
    [
        ADDRESS | {"TOUCHTRAIL_LINGER_S": 2, "TOUCHTRAIL_OWN_HOSTS": ["shop.example"], "TOUCHTRAIL_BROWSER_KEY": "b"},
        {
            "TOUCHTRAIL": {
                "url": "http://127.0.0.1:9",
                "key": "k",
                "linger_s": 2,
                "own_hosts": ("shop.example",),
                "browser_key": "b",
            }
        },
        {"TOUCHTRAIL": {"KEY": "k", "LINGER_S": 2, "BROWSER_KEY": "b"}, "TOUCHTRAIL_URL": "http://127.0.0.1:9"}
        | {"TOUCHTRAIL_OWN_HOSTS": {"shop.example"}},
    ],
    ids=["single keys", "one dict", "both"],
)
def test_single_keys_and_the_dict_say_the_same(config: dict[str, Any]) -> None:
    found = read_configuration(config, needs_client=True)
    assert found.client == Options(url="http://127.0.0.1:9", key="k", linger_s=2)
    assert found.web == WebOptions(own_hosts=("shop.example",))
    assert found.flask == FlaskOptions(browser_key="b")


def test_everything_that_is_wrong_is_named_at_once() -> None:
    config = {
        "TOUCHTRAIL": {"colour": "red", "linger_s": "soon", "cookie_name": ""},
        "TOUCHTRAIL_COLOR": "red",
        "TOUCHTRAIL_COOKIE_NAME": "x",
        "TOUCHTRAIL_BROWSER_URL": "collect.shop.example",
    }
    app = app_with(**config)
    with pytest.raises(OptionsError) as raised:
        Touchtrail(app)
    places = {problem.partition(":")[0] for problem in raised.value.problems}
    assert places == {
        "TOUCHTRAIL['colour']",
        "TOUCHTRAIL_COLOR",
        "TOUCHTRAIL_COOKIE_NAME",
        "browser_url",
        "linger_s",
        "url",
        "key",
    }
    assert "touchtrail" not in app.extensions


def test_a_setting_that_is_no_dict_and_a_client_that_is_none_are_errors() -> None:
    for config in ({"TOUCHTRAIL": "http://127.0.0.1:9"}, {"TOUCHTRAIL": {1: 2}}, {"TOUCHTRAIL_CLIENT": "a client"}):
        with pytest.raises(OptionsError):
            read_configuration(config, needs_client=True)


def test_the_environment_says_what_the_configuration_leaves_out(
    monkeypatch: pytest.MonkeyPatch, extension: Touchtrail
) -> None:
    monkeypatch.setenv("TOUCHTRAIL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TOUCHTRAIL_KEY", "from-environment")
    app, own = app_with(TOUCHTRAIL_URL=""), app_with(TOUCHTRAIL_KEY="own")
    extension.init_app(app)
    extension.init_app(own)
    assert client_of(app).options.key == "from-environment"
    assert client_of(own).options.key == "own"


def test_variables_with_flasks_prefix_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_TOUCHTRAIL_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FLASK_TOUCHTRAIL_KEY", "k")
    monkeypatch.setenv("FLASK_TOUCHTRAIL_TRUSTED_PROXIES", '["10.0.0.0/8"]')
    monkeypatch.setenv("FLASK_TOUCHTRAIL_BROWSER_TRACKER", "true")
    app = Flask("shop")
    app.config.from_prefixed_env()
    found = read_configuration(app.config, needs_client=True)
    assert found.web == WebOptions(trusted_proxies=("10.0.0.0/8",), browser_tracker=True)


def test_apps_of_one_factory_share_a_client_when_their_configuration_is_the_same(extension: Touchtrail) -> None:
    first, second, other = app_with(**ADDRESS), app_with(**ADDRESS), app_with(**ADDRESS | {"TOUCHTRAIL_KEY": "other"})
    for app in (first, second, other):
        extension.init_app(app)
    assert client_of(first) is client_of(second)
    assert client_of(first) is not client_of(other)
    for app in (first, other):
        with app.app_context():
            assert extension.client is client_of(app)


def test_a_client_that_is_given_wins_over_the_configurations_address() -> None:
    with CapturingClient() as capturing:
        by_config, by_argument = app_with(**ADDRESS, TOUCHTRAIL_CLIENT=capturing), app_with(**ADDRESS)
        Touchtrail(by_config)
        Touchtrail(by_argument, client=capturing)
        assert client_of(by_config) is client_of(by_argument) is capturing


def test_a_disabled_client_needs_no_address_and_shows_no_snippet(extension: Touchtrail) -> None:
    app = app_with(TOUCHTRAIL_DISABLED=True, TOUCHTRAIL_BROWSER_KEY="b")
    extension.init_app(app)
    assert app.jinja_env.globals["touchtrail_snippet"]() == ""
    assert app.test_cli_runner().invoke(args=["touchtrail", "flush"]).exit_code == 1


def test_an_app_takes_the_extension_once_and_an_app_without_it_says_so(extension: Touchtrail) -> None:
    app = app_with(**ADDRESS)
    extension.init_app(app)
    with pytest.raises(OptionsError, match="already"):
        extension.init_app(app)
    with Flask("other").app_context(), pytest.raises(OptionsError, match="init_app"):
        _ = extension.client


def test_no_option_of_the_three_kinds_has_the_name_of_another() -> None:
    names = [name for kind in (Options, WebOptions, FlaskOptions) for name in kind.__struct_fields__]
    assert len(names) == len(set(names)) > 30
