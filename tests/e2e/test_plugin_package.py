"""A plugin from a package of a stranger's takes part in every report without a line of ours changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from collector_process import running_collector

from touchtrail import Client, Page, events

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin_podcast"


@pytest.fixture
def podcast_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the example package into a folder of its own, which the collector's process has on its path."""
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(PACKAGE)], check=True)
    monkeypatch.setenv("PYTHONPATH", str(target))


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
