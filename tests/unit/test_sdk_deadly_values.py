"""Values that never end, fill the memory or change under the writer's hands: each in a process that could die of it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LONGEST_CALL_S = 10.0
DEADLY = {
    "a mapping that never ends": """
        import itertools
        from collections.abc import Mapping
        class Endless(Mapping):
            def __iter__(self): return (str(number) for number in itertools.count())
            def __getitem__(self, key): return 1
            def __len__(self): return 1
        value = Endless()
    """,
    "a list that never ends": """
        import itertools
        class Endless(list):
            def __iter__(self): return itertools.count()
        value = Endless([1])
    """,
    "a set that never ends": """
        import itertools
        class Endless(set):
            def __iter__(self): return itertools.count()
        value = Endless([1])
    """,
    "few lists that stand for a million million values": """
        value = ["x"]
        for _ in range(40): value = [value, value]
    """,
    "few mappings that stand for a million million values": """
        value = {"x": 1}
        for _ in range(40): value = {"a": value, "b": value}
    """,
    "a length that fills the memory": """
        class Long(list):
            def __len__(self): return 2**40
            def __length_hint__(self): return 2**40
        value = Long([1])
    """,
    "twenty million numbers": """
        value = [1] * 20_000_000
    """,
    "a hundred megabytes of text": """
        value = "x" * 100_000_000
    """,
    "a deep call on top of a deep value": """
        value = "x"
        for _ in range(900): value = [value]
        def dig(levels): return track() if not levels else dig(levels - 1)
        later = lambda: dig(940)
    """,
    "a list that grows while it is written": """
        class Growing:
            asked = 0
            @property
            def __class__(self):
                Growing.asked += 1
                value.extend([["x" * 50] for _ in range(20_000)])
                return Growing
            def __index__(self): return 7
        value = [Growing()] + [[f"item-{number}"] for number in range(500)]
    """,
    "a mapping that shrinks while it is written": """
        class Shrinking:
            @property
            def __class__(self):
                for key in list(value)[1:]: del value[key]
                return Shrinking
            def __index__(self): return 7
        value = {"first": Shrinking(), **{f"k{number}": [f"item-{number}"] for number in range(500)}}
    """,
    "a list that another thread fills and clears": """
        import enum, threading, sys
        sys.setswitchinterval(1e-5)
        class Sku(str): pass
        value = []
        def shop():
            while True:
                value.extend(Sku(f"sku-{number}" * 4) for number in range(200))
                value.clear()
        threading.Thread(target=shop, daemon=True).start()
        calls = 20_000
    """,
    "a mapping that another thread fills and clears": """
        import enum, threading, sys
        sys.setswitchinterval(1e-5)
        class Sku(str): pass
        value = {}
        def shop():
            while True:
                for number in range(200): value[f"sku-{number}"] = [Sku(f"sku-{number}" * 4)]
                value.clear()
        threading.Thread(target=shop, daemon=True).start()
        calls = 20_000
    """,
}
DEADLY_LIMIT_S = 30.0
AROUND = """
import resource, sys, time
from touchtrail import Client
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
calls, later = 1, None
client = Client("http://127.0.0.1:9", key="k", spool_dir=sys.argv[1], linger_s=60)
def track():
    return client.track("clicked", anonymous_id="a", properties={"value": value})
def go():
    began = time.monotonic()
    until, said, longest = began + 1.5, [], 0.0
    while len(said) < calls and time.monotonic() < until:
        before = time.monotonic()
        said.append((later or track)())
        longest = max(longest, time.monotonic() - before)
    health = client.health()
    assert health.tracked == said.count(True) and sum(health.refused.values()) == said.count(False), health
    print(len(said), longest)
"""


@pytest.mark.parametrize("making", DEADLY.values(), ids=DEADLY)
def test_values_that_could_kill_or_stop_a_process_do_neither(tmp_path: Path, making: str) -> None:
    """Each in a process of its own, with 2 GB and six seconds to live."""
    code = "\n".join([AROUND, textwrap.dedent(making), "go()"])
    try:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code, str(tmp_path)],
            capture_output=True, text=True, timeout=DEADLY_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.fail(f"track() does not come back within {DEADLY_LIMIT_S} s")
    assert (done.returncode, done.stderr) == (0, "")
    calls, longest_s = done.stdout.split()
    assert int(calls) >= 1
    assert float(longest_s) < LONGEST_CALL_S


MUTATIONS = {
    "through a time zone": "value.append(datetime.datetime(2026, 1, 1, tzinfo=Zone()))",
    "through a number": "value.append(Number())",
    "through a number that stands for text": "event = events.OrderPlaced(order_id=Number(), currency='EUR', coupon_codes=value)",
    "of a page": "facts['page'] = touchtrail.Page(url=Number(), title=value)",
}
MUTATE = """
import datetime, touchtrail
from touchtrail import events
from touchtrail.testing import CapturingClient

value, facts, event = [], {{}}, 'clicked'

class Zone(datetime.tzinfo):
    def utcoffset(self, moment):
        value.clear()
        return datetime.timedelta(0)

class Number:
    def __index__(self):
        value.clear()
        return 1

{mutation}
value.extend(["x" * 50, {{"q": [n]}}] for n in range(300))
with CapturingClient(strict=False) as client:
    properties = {{"list": value}} if event == "clicked" else None
    print(client.track(event, properties=properties, anonymous_id="a", **facts))
"""


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_values_that_change_while_they_are_encoded_do_not_end_the_process(mutation: str) -> None:
    program = MUTATE.format(mutation=mutation)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    # A page's title is no list: taken or not, the list must not change under the encoder's hands.
    assert (done.returncode, done.stdout) == (0, f"{'Page' not in mutation}\n"), done.stderr


def test_a_log_handler_that_raises_or_tracks_does_not_reach_the_shop(tmp_path: Path) -> None:
    """The shop's own logging is the shop's own code: it may be broken as well."""
    code = """
        import logging, sys, threading
        from touchtrail import Client

        client = Client("http://127.0.0.1:9", key="k", memory_only=True, max_memory_bytes=65_536, max_event_bytes=2048)
        seen, locked_up = [], []

        class Broken(logging.Handler):
            def emit(self, record):
                seen.append(record.getMessage())
                # A shop that counts its own warnings as events, in a thread of its own.
                caller = threading.Thread(target=client.track, args=("logged",), kwargs={"anonymous_id": "a"})
                caller.start()
                caller.join(1)
                locked_up.append(caller.is_alive())
                raise RuntimeError("the log server is down")

        logging.getLogger("touchtrail").addHandler(Broken())
        said = [client.track("clicked", properties={"x": object()}, anonymous_id="a")]
        said += [client.track("clicked", properties={"x": "y" * 500}, anonymous_id="a") for _ in range(300)]
        assert said[0] is False and True in said and len(seen) >= 2, (seen, said.count(True))
        print(len(seen), sum(locked_up))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    messages, locked_up = map(int, done.stdout.split())
    assert messages >= 2
    assert locked_up == 0
