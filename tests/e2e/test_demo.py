"""`touchtrail demo` does the main job in one go, and says how far its reports are from the truth."""

from __future__ import annotations

from pathlib import Path

from collector_process import touchtrail


def test_the_demo_delivers_everything_and_its_books_agree_with_the_truth(tmp_path: Path) -> None:
    done = touchtrail("demo", "--no-serve", "--people", "200", "--db", str(tmp_path / "demo.db"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ", 0 rejected, 0 dropped" in done.stdout
    truth = next(line for line in done.stdout.splitlines() if line.startswith("Orders: "))
    orders, revenue = truth.removeprefix("Orders: ").split(". Net revenue: ")
    assert orders.split(" of ")[0] == orders.split(" of ")[1]
    assert revenue.rstrip(".").split(" of ")[0] == revenue.rstrip(".").split(" of ")[1]


def test_the_demo_does_not_touch_a_database_that_is_there(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    db.write_bytes(b"")
    done = touchtrail("demo", "--no-serve", "--db", str(db))
    assert done.returncode == 2
    assert "the demo needs a new file" in done.stderr
