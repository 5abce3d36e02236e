"""What a plugin author has to write: the conformance kit, and the figures one can work out by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from touchtrail_podcast import channel, exporter, model

from touchtrail_collector.api import Channel, Column, Dataset, Paths, Traffic
from touchtrail_collector.testing import check_channels, check_exporter, check_model


def test_podcast_visits_fall_into_the_channel_and_nothing_else_does() -> None:
    rules = channel.touchtrail_channels(channel.Settings(hosts=("notes.example",)))
    check_channels(
        rules,
        {
            Traffic(event="page_viewed", source="episode-12", medium="podcast"): "Podcast",
            Traffic(event="page_viewed", referrer_host="podcasts.apple.com", referrer_domain="apple.com"): "Podcast",
            Traffic(event="page_viewed", referrer_host="show.podigee.io", referrer_domain="podigee.io"): "Podcast",
            Traffic(event="page_viewed", referrer_host="notes.example"): "Podcast",
            Traffic(
                event="page_viewed", referrer_host="au.com.shiftyjelly.pocketcasts", referrer_is_app=True
            ): "Podcast",
            Traffic(event="page_viewed", referrer_host="www.apple.com", referrer_domain="apple.com"): None,
            Traffic(event="page_viewed", referrer_host="notovercast.fm", referrer_domain="notovercast.fm"): None,
        },
    )
    assert all(rule.priority < 1000 for rule in rules.rules)


def test_a_podcast_earns_three_times_the_credit_of_another_touch() -> None:
    (boost,) = model.touchtrail_attribution_models()
    check_model(boost)
    check_model(boost, model.BoostParameters(boost=10.0))
    paths = Paths(
        channels=(Channel(name="Podcast", medium="earned"), Channel(name="Email", medium="owned")),
        offsets=np.array([0, 2]),
        channel_codes=np.array([0, 1], np.int32),
        ages_ms=np.array([5, 0]),
        converted=np.array([True]),
        value_minor=np.array([100]),
        weight=np.array([1]),
    )
    assert boost.credit(paths, model.BoostParameters()).tolist() == [0.75, 0.25]


def test_a_boost_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"boost is 0\.5"):
        model.BoostParameters(boost=0.5)


def test_a_table_keeps_its_shape_whatever_a_cell_holds() -> None:
    (markdown,) = exporter.touchtrail_exporters()
    check_exporter(markdown)
    file = io.BytesIO()
    rows = [("a|b\nc", 5), (None, None)]
    markdown.write(Dataset(name="d", columns=(Column("text"), Column("n", "integer")), rows=rows), file, {})
    assert file.getvalue().decode() == "| text | n |\n| --- | --- |\n| a\\|b c | 5 |\n|  |  |\n"
