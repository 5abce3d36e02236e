"""Options: every problem named at construction; the environment; secrets stay hidden."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from touchtrail import Client, Options, OptionsError
from touchtrail.integrations.web_options import WebOptions
from touchtrail.options import default_spool_dir
from touchtrail.testing import ScriptedTransport


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
        ({"spool_dir": b"/x"}, "spool_dir"),
        ({"spool_dir": "a\0b"}, "spool_dir"),
        ({"spool_dir": Path("a\0b")}, "spool_dir"),
        ({"spool_dir": "\ud800"}, "spool_dir"),
        ({"spool_dir": "/" + "é" * 128}, "spool_dir"),
        ({"spool_dir": "/a" * 1_000}, "spool_dir"),
        ({"spool_dir": f"/{'a' * 99}" * 41}, "spool_dir"),
        ({"url": "http://user:pw@host"}, "url"),
        ({"url": "https://ttw_key@host/sub"}, "url"),
    ],
    ids=lambda value: ascii(value)[:60],
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


def test_an_address_with_a_password_says_where_the_key_goes() -> None:
    with pytest.raises(OptionsError, match="url: must be without user and password; the write key goes into key"):
        Client("http://user:pw@host", key="k")


@pytest.mark.parametrize("options", [3, "http://x", {"url": "http://x"}, Options])
def test_options_that_are_none_are_an_options_error(options: object) -> None:
    with pytest.raises(OptionsError, match=r"options: must be a touchtrail\.Options"):
        Client(options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", ["x" * 200, "y/" * 100 + "z", "ünïcode"])
def test_a_long_folder_that_can_be_takes_events(tmp_path: Path, folder: str) -> None:
    where = tmp_path / folder
    with Client("http://x", key="k", spool_dir=where, transport=ScriptedTransport()) as client:
        assert client.track("clicked", anonymous_id="a")
        assert any(where.iterdir())


@pytest.fixture
def lost_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is one that was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()


@pytest.mark.usefixtures("lost_folder")
def test_a_relative_folder_below_a_folder_that_is_gone_is_an_options_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"spool_dir: .* give an absolute path"):
        Client("http://x", key="k", spool_dir="spool")
    for works in ({"memory_only": True, "spool_dir": "spool"}, {"spool_dir": tmp_path}):
        with Client("http://x", key="k", transport=ScriptedTransport(), **works) as client:
            assert client.track("clicked", anonymous_id="a")


HOMELESS = """
import os, pwd, tempfile
from touchtrail.options import default_spool_dir
os.setuid(54321)
print(os.geteuid(), default_spool_dir())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without an entry")
def test_a_user_without_a_home_gets_a_folder_below_the_temporary_one() -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_STATE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], env=variables, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == f"54321 {os.path.join(tempfile.gettempdir(), 'touchtrail-54321', 'spool')}"


def test_a_folder_that_somebody_else_put_in_place_of_the_homeless_users_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"touchtrail-{os.geteuid()}").symlink_to(tmp_path / "theirs")
    code = "from touchtrail import Client; Client('http://127.0.0.1:1', key='k')"
    variables = os.environ | {"HOME": "~", "TMPDIR": str(tmp_path)}
    variables.pop("XDG_STATE_HOME", None)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OptionsError: spool_dir: there is no home, and" in done.stderr
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_home_that_is_no_whole_path_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    expected = os.path.join(tempfile.gettempdir(), f"touchtrail-{os.geteuid()}", "spool")
    assert default_spool_dir() == expected
    monkeypatch.setenv("HOME", "/srv/shop")
    assert default_spool_dir() == "/srv/shop/.local/state/touchtrail/spool"
