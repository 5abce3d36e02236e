"""What the demo prints at the end fits a terminal of 80 columns, with every heading whole."""

from __future__ import annotations

import io

from rich.console import Console

from touchtrail_collector.cli.demo import comparison_tables
from touchtrail_collector.cli.rendering import print_tables
from touchtrail_collector.demo import BASELINE
from touchtrail_collector.demo.run import ChannelTruth, Comparison
from touchtrail_collector.demo.truth import IdentityScore

MODELS = ("first_touch", "last_non_direct", "last_touch", "linear", "position_based", "time_decay", "markov")


def test_the_truth_is_printed_whole_in_a_narrow_terminal() -> None:
    identity = IdentityScore(
        precision=1, recall=1, f1=1, events=1, missing=0, true_people=1, found_people=1, split_people=0, merged_people=0
    )
    comparison = Comparison(
        currency="EUR",
        orders=1,
        true_orders=1,
        revenue_minor=123_456_789,
        true_revenue_minor=123_456_789,
        identity=identity,
        distance=dict.fromkeys(MODELS, 0.125),
        channels=(
            ChannelTruth(channel=BASELINE, caused_minor=1, credited_minor=dict.fromkeys(MODELS, 2)),
            ChannelTruth(channel="Paid Search", caused_minor=3, credited_minor=dict.fromkeys(MODELS, 123_456_789)),
        ),
    )
    out = io.StringIO()
    print_tables(comparison_tables(comparison), Console(file=out, width=80, markup=False, highlight=False))
    shown = out.getvalue()
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "…" not in shown
    assert (shown.count("1,234,567.89"), shown.count("12.5 %")) == (7, 7)
    assert shown.count("(no contact)") == shown.count("Paid Search") > 1
    assert "without the stories" in shown
    for name in MODELS:
        assert f"\n{name.replace('_', ' ')} " in shown
