"""`serve`'s link, `touchtrail sign-in` and `touchtrail password` beside a running collector and without one."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from collector_process import COMMAND, RunningCollector, running_collector

from touchtrail_collector.__main__ import main

PASSWORD = "four words in a row"


class Console:
    """Types commands, in this process: most of a second each is spared."""

    def __init__(self, db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.db = db
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def type(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        code = main([*arguments, "--db", str(self.db)])
        return code, *self._capsys.readouterr()

    def run(self, *arguments: str) -> str:
        """Return what a command that succeeds prints."""
        code, printed, errors = self.type(*arguments)
        assert (code, errors) == (0, "")
        return printed

    def set_password(self, password: str) -> tuple[int, str, str]:
        """Set a password as a program does."""
        return self.type("password", "set", stdin=f"{password}\nwhat stands below it\n")


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    return Console(tmp_path / "shop.db", capsys, monkeypatch)


@pytest.fixture
def running(console: Console) -> Iterator[RunningCollector]:
    with running_collector(console.db) as collector:
        yield collector


def use_link(link: str) -> int:
    """Return what a program gets that brings a link's token."""
    url, _, token = link.partition("/sign-in?token=")
    return httpx.post(f"{url}/sign-in", json={"token": token}).status_code


def try_password(url: str, password: str) -> int:
    return httpx.post(f"{url}/sign-in", json={"password": password}).status_code


def test_serve_says_where_it_listens_and_then_a_link_that_lets_in_once(running: RunningCollector) -> None:
    assert running.process.stdout is not None
    line = running.process.stdout.readline()
    found = re.fullmatch(
        r"sign in once, within 15 minutes: (http://127\.0\.0\.1:\d+/sign-in\?token=ttl_[\w-]{43})\n", line
    )
    assert found
    assert found[1].startswith(running.url)
    assert [use_link(found[1]), use_link(found[1])] == [200, 401]


def test_the_running_collector_makes_further_links_alone_on_stdout(running: RunningCollector, console: Console) -> None:
    link = console.run("sign-in").removesuffix("\n")
    assert link.startswith(f"{running.url}/sign-in?token=")
    assert [use_link(link), use_link(link)] == [200, 401]
    public = console.run("sign-in", "--url", "https://collect.shop.example/")
    assert public.startswith("https://collect.shop.example/sign-in?token=ttl_")
    assert use_link(running.url + public.removeprefix("https://collect.shop.example").strip()) == 200


@pytest.mark.parametrize(
    "url", ["collect.shop.example", "ftp://x", "https://", "https://x/y", "https://u@x", "http://[x"]
)
def test_an_address_that_is_none_is_wrong_usage(console: Console, url: str) -> None:
    code, printed, errors = console.type("sign-in", "--url", url)
    assert (code, printed) == (2, "")
    assert "https://collect.shop.example" in errors


def test_without_a_collector_there_is_no_link(console: Console) -> None:
    code, printed, errors = console.type("sign-in")
    assert (code, printed, errors.count("\n")) == (1, "", 1)
    assert "touchtrail serve" in errors
    assert not console.db.exists()


def test_a_password_is_set_changed_and_removed_while_the_collector_runs(
    running: RunningCollector, console: Console
) -> None:
    link = console.run("sign-in").strip()
    assert console.set_password(PASSWORD)[1] == "the password is set; everybody is signed out\n"
    assert use_link(link) == 401
    assert [try_password(running.url, PASSWORD), try_password(running.url, "what stands below it")] == [200, 401]
    assert console.set_password("a b c d e f g h")[1].startswith("the password is changed")
    assert [try_password(running.url, PASSWORD), try_password(running.url, "a b c d e f g h")] == [401, 200]
    assert console.run("password", "remove").startswith("the password is removed; everybody is signed out")
    assert try_password(running.url, "a b c d e f g h") == 401
    assert console.run("password", "remove").startswith("there was no password")


def test_a_password_set_before_the_start_lets_in_after_it(console: Console) -> None:
    assert console.set_password(PASSWORD)[0] == 0
    with running_collector(console.db) as running:
        assert try_password(running.url, PASSWORD) == 200


@pytest.mark.parametrize(
    ("password", "said"),
    [("", "12 to 1,024"), ("short", "12 to 1,024"), ("x" * 1025, "12 to 1,024"), ("aaaaaaaaaaaaaaaa", "over and over")],
)
def test_a_password_that_is_no_good_is_not_taken(console: Console, password: str, said: str) -> None:
    code, printed, errors = console.set_password(password)
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert said in errors
    assert not password or password not in errors
    assert not console.db.exists()


def test_at_a_terminal_the_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "password", "set", "--db", str(tmp_path / "shop.db")]
    # A session of its own, so that what is read is this terminal and not the one the tests run at.
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        shown = b""
        for _ in range(2):
            while not shown.rstrip().endswith(b":"):
                shown += os.read(ours, 1000)
            shown += b"|"
            os.write(ours, PASSWORD.encode() + b"\n")
        with suppress(OSError):  # a terminal that nobody holds any more cannot be read
            while more := os.read(ours, 1000):
                shown += more
    os.close(ours)
    assert process.returncode == 0
    assert shown.count(b": |") == 2
    assert b"the password is set" in shown
    assert PASSWORD.encode() not in shown


def test_behind_a_trusted_proxy_the_cookie_is_for_tls_alone_and_nobody_else_is_believed(console: Console) -> None:
    config = console.db.with_name("touchtrail.toml")
    forwarded = {"host": "collect.shop.example", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
    for trusted, status in (('["127.0.0.1"]', 200), ("[]", 403)):
        config.write_text(f'[server]\nallowed_hosts = ["collect.shop.example"]\ntrusted_proxies = {trusted}\n', "utf-8")
        with running_collector(console.db) as running:
            token = console.run("sign-in").strip().rpartition("=")[2]
            answer = httpx.post(f"{running.url}/sign-in", json={"token": token}, headers=forwarded)
            assert answer.status_code == status
            if status == 200:
                assert answer.headers["set-cookie"].startswith("__Host-touchtrail_session=tts_")
                assert answer.headers["set-cookie"].endswith("SameSite=Strict; Secure")
            else:
                assert answer.json()["code"] == "insecure_connection"


def test_nothing_that_lets_in_stands_in_the_log(tmp_path: Path) -> None:
    config = tmp_path / "touchtrail.toml"
    config.write_text("[server]\naccess_log = true\n", "utf-8")
    log = tmp_path / "log.txt"
    command = [*COMMAND, "serve", "--db", str(tmp_path / "shop.db"), "--port", "0"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        link = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url) as client:
            assert client.get(link).status_code == 200
            assert client.post("/sign-in", json={"password": PASSWORD}).status_code == 401
            assert client.post("/sign-in", data={"password": PASSWORD}).status_code == 401
            assert client.post("/sign-in", data={"token": link.rpartition("=")[2]}).status_code == 303
            assert client.get("/").status_code == 200
            session = next(iter(client.cookies.values()))
        process.terminate()
        process.wait(10)
    text = log.read_text("utf-8")
    assert text.count("/sign-in") == 4
    for secret in (link.rpartition("_")[2], session[4:], PASSWORD, "four+words", "four%20words"):
        assert secret not in text
