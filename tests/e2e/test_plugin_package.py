"""A plugin from a package of a stranger's takes part in every report without a line of ours changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from collector_process import running_collector, touchtrail

from touchtrail import Client, Page, events

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin_podcast"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package into a folder of its own."""
    target = tmp_path_factory.mktemp("podcast") / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(PACKAGE)], check=True)
    return target


@pytest.fixture
def podcast_installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the example package on the path of every process that is started from now on."""
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.usefixtures("podcast_installed")
def test_an_installed_plugin_adds_its_channel_model_and_exporter(tmp_path: Path) -> None:
    with running_collector(tmp_path / "shop.db") as collector:
        with Client(collector.url, key=collector.key(), spool_dir=tmp_path / "spool") as client:
            page = Page(url="https://shop.example/?utm_source=laufpodcast&utm_medium=podcast&utm_campaign=folge-12")
            client.track(events.PageViewed(), anonymous_id="a-1", page=page)
            client.track(events.OrderPlaced(order_id="1", currency="EUR", total="80"), anonymous_id="a-1")
            assert client.flush(timeout_s=10)
        collector.wait_until_derived()
        listed = collector.run("plugins")
        attribution = collector.report("attribution")
        markdown = collector.run("export", "markdown", "--to", "-", "--table", "orders")
    assert [line.split()[0] for line in listed.splitlines() if "podcast" in line]
    assert "broken" not in listed
    models = [used["name"] for used in attribution["models"]]
    assert any("podcast" in model for model in models)
    assert [row["channel"] for row in attribution["channels"]] == ["Podcast"]
    assert {credit["revenue_minor"] for row in attribution["channels"] for credit in row["credits"]} == {8000}
    header, _, row = markdown.splitlines()
    assert header.startswith("| order_id | person_id |")
    assert "| EUR | 8000 |" in row


def test_a_plugin_installed_beside_a_running_collector_is_named_nowhere_as_used_and_the_restart_is_asked_for(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "shop.db"
    with running_collector(db) as collector:
        with Client(collector.url, key=collector.key(), spool_dir=tmp_path / "spool") as client:
            client.track(
                events.PageViewed(), anonymous_id="a-1", page=Page(url="https://s.example/?utm_medium=podcast")
            )
            assert client.flush(timeout_s=10)
        collector.wait_until_derived()
        monkeypatch.setenv("PYTHONPATH", str(site))
        listed = touchtrail("plugins", db=db)
        rebuilt = touchtrail("rebuild", db=db)
        scope = collector.report("channels")["scope"]
        told = touchtrail("report", "data-quality", "--format", "json", db=db)
    assert f"process {collector.process.pid}" in listed.stdout.splitlines()[0]
    assert "channel.podcast was installed after the collector was started: restart the collector" in listed.stdout
    assert rebuilt.returncode == 1
    assert "restart the collector first" in rebuilt.stderr
    assert "channel.podcast was installed" in rebuilt.stderr
    assert [name.partition("/")[0] for name in scope["channel_rule_sets"]] == ["default"]
    assert told.stderr.endswith("restart the collector\n")
    (check,) = (check for check in msgspec.json.decode(told.stdout)["checks"] if check["name"] == "other_rules")
    assert check["state"] == "look"
    with running_collector(db) as collector:
        collector.wait_until_derived()
        after = touchtrail("report", "channels", "--format", "json", db=db)
        assert touchtrail("rebuild", db=db).stdout == "1 event derived anew\n"
    assert after.stderr == ""
    names = msgspec.json.decode(after.stdout)["scope"]["channel_rule_sets"]
    assert sorted(name.partition("/")[0] for name in names) == ["default", "podcast"]


def test_the_example_packages_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PACKAGE / "tests")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=PACKAGE,
        env={"PYTHONPATH": str(PACKAGE / "src"), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
