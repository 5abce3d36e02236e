"""The password's hash follows the parameters of the day, and no sign-in brings an old password back."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import CHEAPEST

from touchtrail_collector.errors import StoreUnavailable
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.password import Password, hash_password
from touchtrail_collector.store.sqlite import password as stored

PASSWORD = "four words in a row"
OLD_HASH = PasswordHasher.from_parameters(CHEAPEST).hash(PASSWORD)
TODAY = extract_parameters(PasswordHasher().hash("x"))


def kept(collector: Collector) -> str:
    """Return what the file keeps, once everything queued before is written."""
    collector.store.write(lambda connection: connection.execute("SELECT 1"))
    with collector.store.reading() as reader:
        found = stored.load_hash(reader)
    assert found is not None
    return found


def test_a_hash_of_other_parameters_is_made_anew_with_the_right_password_alone(collector: Collector) -> None:
    assert extract_parameters(OLD_HASH) != TODAY
    collector.password.put(OLD_HASH)
    assert not collector.password.verify(PASSWORD + "!")
    assert kept(collector) == OLD_HASH
    assert collector.password.verify(PASSWORD)
    new = kept(collector)
    assert extract_parameters(new) == TODAY
    assert collector.password.verify(PASSWORD)
    assert not collector.password.verify(PASSWORD + "!")
    assert kept(collector) == new, "once is enough"
    assert Password(collector.store).verify(PASSWORD), "the next process knows it by the new hash"


def test_a_hash_of_todays_parameters_stays(collector: Collector) -> None:
    today = hash_password(PASSWORD)
    collector.password.put(today)
    assert collector.password.verify(PASSWORD)
    assert kept(collector) == today


@pytest.mark.parametrize("then", [None, hash_password("quite another password")], ids=["removed", "changed"])
def test_a_password_that_is_changed_while_somebody_signs_in_is_not_put_back(
    collector: Collector, then: str | None
) -> None:
    """The change comes after the old password was found right and before its hash is made anew."""
    collector.password.put(OLD_HASH)
    collector.password.put(then)
    collector.password._replace(OLD_HASH, hash_password(PASSWORD))
    collector.store.write(lambda connection: stored.replace_hash(connection, kept=OLD_HASH, password_hash="never"))
    assert not collector.password.verify(PASSWORD)
    assert not Password(collector.store).verify(PASSWORD)


def test_many_who_sign_in_at_once_leave_one_hash_that_is_right(collector: Collector) -> None:
    collector.password.put(OLD_HASH)
    right: list[bool] = []
    threads = [threading.Thread(target=lambda: right.append(collector.password.verify(PASSWORD))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 4
    assert extract_parameters(kept(collector)) == TODAY
    assert collector.password.verify(PASSWORD)


def test_signing_in_works_where_nothing_can_be_written(open_collector: Callable[..., Collector]) -> None:
    collector = open_collector()
    collector.password.put(OLD_HASH)
    path: Path = collector.store.path
    collector.store.close()
    with pytest.raises(StoreUnavailable):
        collector.store.begin_write(lambda connection: None)
    assert collector.password.verify(PASSWORD)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        assert stored.load_hash(reader) == OLD_HASH
    finally:
        reader.close()
