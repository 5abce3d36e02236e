"""Settings: who wins, what is refused, and that one error says everything that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from touchtrail_collector.errors import SettingsError
from touchtrail_collector.settings import Given, Settings, is_debug, read_struct


def write(folder: Path, text: str, name: str = "touchtrail.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(*, config: Path | None = None, **arguments: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(config=config, **{"environ": {}, **arguments})
    return caught.value.problems


def test_defaults_hold_when_nobody_says_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ={})
    assert settings == Settings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8377)
    assert settings.store.db == Path("touchtrail.db")
    assert settings.config is None


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    config = write(tmp_path, "[server]\nport = 1\nhost = '0.0.0.0'\n[journey]\nsession_gap_min = 45\n")
    environ = {"TOUCHTRAIL_PORT": "2", "TOUCHTRAIL_HOST": "localhost"}
    settings = Settings.load(config=config, environ=environ, overrides={"server.port": 3})
    assert settings.server.port == 3
    assert settings.server.host == "localhost"
    assert settings.journey.session_gap_min == 45
    assert settings.journey.click_landing_min == 30
    assert settings.config == config


def test_the_settings_file_is_found_beside_the_database_however_that_is_named(tmp_path: Path) -> None:
    write(tmp_path, "[shop]\nname = 'shoes'\n")
    db = tmp_path / "shop.db"
    assert Settings.load(db=db, environ={}).shop.name == "shoes"
    by_variable = Settings.load(environ={"TOUCHTRAIL_DB": str(db)})
    assert (by_variable.shop.name, by_variable.store.db) == ("shoes", db)


def test_a_database_named_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    config = write(tmp_path, "[store]\ndb = 'data/shop.db'\n", "elsewhere.toml")
    assert Settings.load(config=config, environ={}).store.db == tmp_path / "data" / "shop.db"
    assert Settings.load(config=config, db=Path("other.db"), environ={}).store.db == Path("other.db")


def test_variables_name_section_and_setting_and_lists_are_separated_by_commas() -> None:
    settings = Settings.load(
        environ={
            "TOUCHTRAIL_SHOP_CURRENCY": "CHF",
            "TOUCHTRAIL_SHOP_HOSTS": "Shop.Example, www.shop.example",
            "TOUCHTRAIL_PLUGINS_DISABLED": "source.segment",
            "TOUCHTRAIL_ATTRIBUTION_IMPRESSIONS": "false",
            "TOUCHTRAIL_STORE_REPORT_DEADLINE_S": "2.5",
            "TOUCHTRAIL_SHOP_NAME": "",
        }
    )
    assert settings.shop.currency == "CHF"
    assert settings.shop.hosts == ("shop.example", "www.shop.example")
    assert settings.plugins.disabled == ("source.segment",)
    assert settings.attribution.impressions is False
    assert settings.store.report_deadline_s == 2.5
    assert settings.shop.name == "default"


def test_the_sdks_variables_are_left_alone() -> None:
    environ = {
        "TOUCHTRAIL_URL": "http://x",
        "TOUCHTRAIL_KEY": "k",
        "TOUCHTRAIL_SPOOL_DIR": "/x",
        "TOUCHTRAIL_DEBUG": "1",
    }
    assert Settings.load(environ=environ) == Settings.load(environ={})


def test_a_flag_that_was_not_given_covers_nothing() -> None:
    settings = Settings.load(environ={"TOUCHTRAIL_PORT": "9000"}, overrides={"server.port": None})
    assert settings.server.port == 9000


def test_one_error_lists_every_problem_of_every_place_with_where_it_came_from(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        """
        prot = 1
        [server]
        prot = 1
        port = "high"
        [shop]
        time_zone = "Europe/Berln"
        hosts = ["https://shop.example/"]
        currency = "EURO"
        [attribution]
        repeat = "sometimes"
        lookback_days = 0
        """,
    )
    environ = {"TOUCHTRAIL_PORT": "99999", "TOUCHTRAIL_SHOP_CURRENY": "EUR"}
    problems = problems_of(config=config, environ=environ, overrides={"server.host": "a b"})
    expected = [
        ("TOUCHTRAIL_SHOP_CURRENY", "did you mean TOUCHTRAIL_SHOP_CURRENCY?"),
        (f"{config}: prot", "is unknown"),
        (f"{config}: server.prot", "did you mean server.port?"),
        (f"{config}: server.port:", "expected `int`, got `str`"),
        (f"{config}: shop.time_zone:", "did you mean Europe/Berlin?"),
        (f"{config}: shop.hosts:", "without scheme"),
        (f"{config}: shop.currency:", "ISO 4217"),
        (f"{config}: attribution.repeat:", "expected one of full, since_last"),
        (f"{config}: attribution.lookback_days:", ">= 1"),
        ("TOUCHTRAIL_PORT:", "<= 65535"),
        ("--host:", "without scheme"),
    ]
    for where, what in expected:
        assert any(problem.startswith(where) and what in problem for problem in problems), (where, problems)
    assert len(problems) == len(expected)


def test_a_value_that_a_stronger_place_covers_is_checked_all_the_same(tmp_path: Path) -> None:
    config = write(tmp_path, "[server]\nport = -1\n")
    assert problems_of(config=config, overrides={"server.port": 80}) == (f"{config}: server.port: expected `int` >= 0",)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        pytest.param("server = 1", ["server must be a table, [server]"], id="section-is-no-table"),
        pytest.param("[sever]\nport = 1", ["sever is unknown; did you mean server?"], id="unknown-section"),
        pytest.param("port = 1", ["port is unknown; did you mean server.port?"], id="section-forgotten"),
        pytest.param("[server\nport = 1", ["line 1"], id="no-toml"),
        pytest.param(
            "[plugins.channel.default]\na = 1", ['[plugins."channel.default"]'], id="plugin-id-without-quotes"
        ),
        pytest.param("[plugins]\ndisabled = 'x'", ["plugins.disabled: expected `array`"], id="list-as-text"),
        pytest.param("[store]\ndb = 5", ["store.db: expected `Path`, got `int`"], id="path-as-number"),
        pytest.param("[server]\nshutdown_timeout_s = nan", ["shutdown_timeout_s: expected `float` > 0.0"], id="nan"),
        pytest.param("[attribution]\nimpressions = 1", ["expected `bool`, got `int`"], id="number-as-switch"),
    ],
)
def test_a_file_is_read_strictly(tmp_path: Path, text: str, fragments: list[str]) -> None:
    config = write(tmp_path, text)
    (problem,) = problems_of(config=config)
    assert problem.startswith(str(config))
    assert all(fragment in problem for fragment in fragments), problem


def test_a_file_asked_for_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    expected = f"{missing}: there is no such file; make it, or name another one with --config"
    assert problems_of(config=missing) == (expected,)


def test_a_folder_or_a_dead_link_in_the_files_place_is_no_silent_default(tmp_path: Path) -> None:
    folder, dead = tmp_path / "folder", tmp_path / "dead"
    (folder / "touchtrail.toml").mkdir(parents=True)
    dead.mkdir()
    (dead / "touchtrail.toml").symlink_to(tmp_path / "nowhere.toml")
    (problem,) = problems_of(db=folder / "shop.db")
    assert problem.startswith(f"{folder / 'touchtrail.toml'}: it is a folder; ")
    (problem,) = problems_of(db=dead / "shop.db")
    assert problem.startswith(f"{dead / 'touchtrail.toml'}: there is no such file; ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[server]\nport = \n", "line 2, column 8: this is no TOML: invalid value; correct it"),
        (b"[server", "at its end: this is no TOML: "),
        (b"[server]\n\xff\xfe", "line 2: it is not UTF-8 text; save it as UTF-8"),
        (b"\x7fELF\x02\x00\x00", "line 1, column 1: this is no TOML: "),
        (b"a = " + b"[" * 100_000, "it is nested too deeply; "),
        (b"a = " + b"9" * 5_000, "this is no TOML: "),
    ],
    ids=["a value", "the end", "another encoding", "a program", "depth", "a long number"],
)
def test_a_damaged_file_is_named_with_the_line_and_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    config = tmp_path / "touchtrail.toml"
    config.write_bytes(content)
    (problem,) = problems_of(config=config)
    assert problem.startswith(f"{config}: {said}")
    assert ("codec" in problem, problem.count("; ") >= 1) == (False, True)


def test_a_flag_for_a_setting_that_does_not_exist_is_a_problem() -> None:
    (problem,) = problems_of(overrides={"server.prot": 1})
    assert "did you mean server.port?" in problem


def test_plugins_own_tables_are_kept_raw_and_their_secrets_out_of_the_repr(tmp_path: Path) -> None:
    config = write(tmp_path, '[plugins]\nstrict = true\n[plugins."exporter.x"]\napi_key = "hunter2"\n')
    settings = Settings.load(config=config, environ={})
    assert settings.plugins.tables == {"exporter.x": {"api_key": "hunter2"}}
    assert settings.plugins.strict is True
    assert "exporter.x" in repr(settings)
    assert "hunter2" not in repr(settings)


def test_messages_do_not_repeat_values_that_may_be_secret() -> None:
    kind = msgspec.defstruct("Kind", [("api_key", int)], kw_only=True)
    _, problems = read_struct(kind, {"api_key": Given("hunter2", "x.api_key")}, "x")
    assert problems == ["x.api_key: expected `int`, got `str`"]


class Range(msgspec.Struct, frozen=True, kw_only=True):
    low: int
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"low": 1}, []),
        ({}, ["t.low is required"]),
        ({"low": "a", "high": "b", "hihg": 1}, 3),
        ({"low": 11}, ["t: low is above high"]),
    ],
    ids=["good", "required", "all-wrong", "fields-that-do-not-go-together"],
)
def test_a_struct_is_read_whole_and_every_problem_named(table: dict[str, Any], expected: list[str] | int) -> None:
    given_values = {key: Given(value, f"t.{key}") for key, value in table.items()}
    struct, problems = read_struct(Range, given_values, "t")
    if isinstance(expected, int):
        assert len(problems) == expected
    else:
        assert problems == expected
    assert (struct is None) == bool(problems)


@hypothesis_settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from(["server", "shop", "plugins", "x"]), st.text(max_size=20), max_size=3), st.text()
)
def test_no_variable_makes_anything_but_settings_or_a_settings_error(sections: dict[str, str], tail: str) -> None:
    environ = {f"TOUCHTRAIL_{section.upper()}_{tail.upper()}": value for section, value in sections.items()}
    environ |= {f"TOUCHTRAIL_{name}": tail for name in ("PORT", "SHOP_CURRENCY", "SHOP_TIME_ZONE", "SHOP_HOSTS")}
    try:
        port = Settings.load(config=None, db=Path("none/such.db"), environ=environ).server.port
    except SettingsError:
        port = 0
    assert 0 <= port <= 65_535


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_debug_is_asked_for_by_a_variable(value: str, expected: bool) -> None:
    assert is_debug({"TOUCHTRAIL_DEBUG": value}) is expected
    assert is_debug({}) is False
