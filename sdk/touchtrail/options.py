"""Every knob of a client, with its default and unit; the only place of the SDK that reads the environment."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from .errors import OptionsError

ADDRESS: Final = ("url", "key")
"""What a client that is not disabled cannot be without."""

_PREFIX: Final = "TOUCHTRAIL_"
_ALIKE: Final = 0.9
"""How alike a variable's name must be to be a slip of ours: the collector's own variables are not."""
_warned: set[str] = set()
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})
_LIMITS: Final[dict[str, tuple[float, float]]] = {
    "max_spool_bytes": (65_536, 2**40),
    "max_spool_age_s": (1, 10 * 365 * 86_400),
    "segment_bytes": (4_096, 2**30),
    "max_memory_bytes": (65_536, 2**36),
    "max_event_bytes": (256, 1_048_576),
    "batch_events": (1, 2_500),
    "batch_bytes": (1_024, 5_000_000),
    "gzip_above_bytes": (0, 2**40),
    "linger_s": (0, 3_600),
    "connect_timeout_s": (0.001, 3_600),
    "timeout_s": (0.001, 3_600),
    "backoff_min_s": (0, 3_600),
    "backoff_max_s": (0, 86_400),
    "retry_after_max_s": (0, 86_400),
    "close_timeout_s": (0, 3_600),
}
"""Smallest and largest value of each number."""
_TEMPORARY: Final = "touchtrail-"
_NAME_BYTES: Final = 255
_DEEPEST_FOLDER: Final = 255
_PATH_BYTES: Final = 4_000
"""Of a path; Linux takes 4,095 (PATH_MAX), of which the folder of one collector and key needs a part."""


class NamesFields(msgspec.StructMeta):
    """For structs that people fill in: a name that is no field is an ``OptionsError`` which names the one meant."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Build the struct."""
        if unknown := [name for name in given if name not in self.__struct_fields__]:
            raise OptionsError([unknown_option(name, self.__struct_fields__) for name in unknown])
        return super().__call__(*args, **given)


class Options(msgspec.Struct, metaclass=NamesFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client can be told; each is a keyword argument of ``Client`` and a ``TOUCHTRAIL_*`` variable.

    Args:
        url: the collector's address, `https://collect.shop.example`; events go to its `/v1/events`.
        key: the write key of the source; never shown in a repr or a log line.
        disabled: take no event and send none: ``track`` returns False. For machines that must not report.
        strict: raise ``EventRefusedError`` instead of returning False, and check every event as the collector will.
            For tests and development.
        memory_only: keep waiting events in memory, not on disk; they are lost with the process.
        spool_dir: folder of the spool; in it there is one folder per collector address and key. None = the
            user's state directory; for a user without a home, a folder below the system's temporary one.
        max_spool_bytes: how much waiting events may take on disk, over all processes with the same spool.
        max_spool_age_s: how long an event waits at most before it is given up, while the collector cannot be reached
            and some process tries; one that can be reached gets older events too.
        segment_bytes: size at which a spool file is finished and the next begun.
        max_memory_bytes: how much waiting events may take in memory, where there is no disk to take them.
        max_event_bytes: largest event, encoded.
        batch_events: most events in one request.
        batch_bytes: most bytes in one request, before compression.
        gzip_above_bytes: a request with more bytes than this is compressed.
        linger_s: how long the first waiting event waits for others to share its request.
        connect_timeout_s: how long a connection may take, name look-up and TLS included.
        timeout_s: how long a request may take in total, however slowly the other side sends or takes its bytes.
        backoff_min_s: upper bound of the first random wait after a failure; it doubles with each failure.
        backoff_max_s: largest bound of that wait.
        retry_after_max_s: longest wait the collector may ask for.
        close_timeout_s: how long leaving a ``with`` block and the interpreter's exit wait for delivery at most; at
            exit all clients together.

    Raises:
        OptionsError: values that cannot work, all of them named.
    """

    url: str = ""
    key: str = ""
    disabled: bool = False
    strict: bool = False
    memory_only: bool = False
    spool_dir: str | os.PathLike[str] | None = None
    max_spool_bytes: int = 64 * 1024 * 1024
    max_spool_age_s: float = 7 * 86_400.0
    segment_bytes: int = 1024 * 1024
    max_memory_bytes: int = 16 * 1024 * 1024
    max_event_bytes: int = 64 * 1024
    batch_events: int = 100
    batch_bytes: int = 500_000
    gzip_above_bytes: int = 1024
    linger_s: float = 0.2
    connect_timeout_s: float = 3.0
    timeout_s: float = 15.0
    backoff_min_s: float = 1.0
    backoff_max_s: float = 60.0
    retry_after_max_s: float = 300.0
    close_timeout_s: float = 0.5

    def __post_init__(self) -> None:
        problems = [*_number_problems(self), *_address_problems(self)]
        if self.spool_dir is not None:
            problems += _folder_problems(self.spool_dir)
        if problems:
            raise OptionsError(problems)

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "key")
        text = f"Options({', '.join(shown)}, key={'***' if self.key else ''!r})"
        # An address may hold a password too: https://user:password@collect.shop.example
        return re.sub(r"(?<=//)[^/@\s']*@", "***@", text)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Options:
        """Return the options the ``TOUCHTRAIL_*`` variables set; an argument given here wins over its variable.

        Args:
            environment: variables to read instead of the process's own.

        Raises:
            OptionsError: every value that cannot be read or cannot work, an address or key that is set to nothing
                (unless ``disabled``), and every unknown argument.
        """
        values, problems = read_variables(os.environ if environment is None else environment, given)
        everything = values | given
        return assemble(everything, problems, needs=[name for name in ADDRESS if name in everything])


def default_spool_dir() -> str:
    """Return the spool's folder in the user's state directory (XDG Base Directory: ``$XDG_STATE_HOME``).

    A user without a home, as containers have them, gets a folder below the system's temporary one.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return _temporary_spool_dir()
        state = os.path.join(home, ".local", "state")
    return os.path.join(state, "touchtrail", "spool")


def whole_spool_dir(options: Options) -> str:
    """Return the spool's folder from the root on: the process may go to another folder, its spool must not go along.

    Raises:
        OptionsError: there can be no such folder.
    """
    try:
        base = default_spool_dir() if options.spool_dir is None else os.fspath(options.spool_dir)
        folder = os.path.abspath(base)
    except FileNotFoundError:
        raise OptionsError(["spool_dir: the current folder is gone; give an absolute path"]) from None
    if problems := _folder_problems(folder):
        raise OptionsError(problems)
    own = os.path.dirname(folder)
    is_temporary = options.spool_dir is None and os.path.basename(own).startswith(_TEMPORARY)
    if is_temporary and _is_somebody_elses(own):
        raise OptionsError([f"spool_dir: there is no home, and {own} is not this user's own; give a folder"])
    return folder


def _temporary_spool_dir() -> str:
    from tempfile import gettempdir

    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    return os.path.join(gettempdir(), f"{_TEMPORARY}{user}", "spool")


def assemble(values: Mapping[str, Any], problems: Iterable[str] = (), *, needs: Iterable[str] = ()) -> Options:
    """Return the options, or raise one error about all that is wrong.

    Args:
        values: by name; unknown names are problems.
        problems: what was wrong before.
        needs: names that must not be empty, unless the client is disabled.

    Raises:
        OptionsError: with every problem.
    """
    known = {name: value for name, value in values.items() if name in Options.__struct_fields__}
    found = [unknown_option(name, Options.__struct_fields__) for name in values if name not in known]
    found += problems
    options = None
    try:
        options = Options(**known)
    except OptionsError as error:
        found += error.problems
    if known.get("disabled") is not True:
        found += [f"{name}: missing" for name in needs if not known.get(name)]
    if options is None or found:
        raise OptionsError(found)
    return options


def unknown_option(name: str, known: Iterable[str]) -> str:
    """Return what to say of an option there is not."""
    meant = _nearest(name, known, 0.75)
    return f"{name}: no such option" + (f"; did you mean {meant}?" if meant else "")


def _nearest(name: str, known: Iterable[str], alike: float) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), 1, alike)), None)


def _warn_of_slips(variables: Iterable[str]) -> None:
    """Log variables that are none of ours but look like one, each once; the collector has variables of its own."""
    known = [_PREFIX + name.upper() for name in Options.__struct_fields__]
    for name in variables:
        if not name.startswith(_PREFIX) or name in known or name in _warned:
            continue
        if meant := _nearest(name, known, _ALIKE):
            import logging

            _warned.add(name)
            logger = logging.getLogger("touchtrail")
            if not logger.handlers:
                logger.addHandler(logging.NullHandler())
            logger.warning("%s is no variable of the SDK and does nothing; did you mean %s?", name, meant)


def read_variables(variables: Mapping[str, str], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what the ``TOUCHTRAIL_*`` variables set, without what is given, and what is wrong with them."""
    _warn_of_slips(variables)
    values: dict[str, Any] = {}
    problems = []
    for name, default in zip(Options.__struct_fields__, Options.__struct_defaults__, strict=True):
        text = variables.get(_PREFIX + name.upper())
        if text is None or name in given:
            continue
        try:
            values[name] = _read(text, default)
        except ValueError:
            kind = "1 or 0" if isinstance(default, bool) else "a number"
            problems.append(f"{_PREFIX}{name.upper()}: must be {kind}")
    return values, problems


def _read(text: str, default: object) -> str | bool | int | float:
    if isinstance(default, bool):
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(text)
        return word in _TRUE
    if isinstance(default, int | float):
        return type(default)(text)
    return text.strip()


def _number_problems(options: Options) -> list[str]:
    problems = []
    for name, default in zip(options.__struct_fields__, options.__struct_defaults__, strict=True):
        value = getattr(options, name)
        if isinstance(default, bool):
            if not isinstance(value, bool):
                problems.append(f"{name}: must be True or False")
        elif name in _LIMITS:
            least, most = _LIMITS[name]
            kinds = (int,) if isinstance(default, int) and not name.endswith("_s") else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
                problems.append(f"{name}: must be between {least:g} and {most:g}")
    return problems


def _is_somebody_elses(path: str) -> bool:
    """Say whether there is anything but a folder of this user's: everybody may make things in the temporary folder."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(facts.st_mode) or (hasattr(os, "geteuid") and facts.st_uid != os.geteuid())


def _folder_problems(folder: object) -> list[str]:
    """Return what keeps a path from ever being a folder: the disk would say so at each event, with nobody to tell."""
    path = os.fspath(folder) if isinstance(folder, str | os.PathLike) else None
    if not isinstance(path, str) or not path:
        return ["spool_dir: give a folder's path, or None for the user's state directory"]
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        raw = b"\0"
    if b"\0" in raw:
        return ["spool_dir: holds a character that no path can hold; give a path such as /var/spool/shop"]
    parts = raw.split(os.fsencode(os.sep))
    if len(raw) > _PATH_BYTES or len(parts) > _DEEPEST_FOLDER or len(max(parts, key=len)) > _NAME_BYTES:
        limits = f"{_PATH_BYTES} bytes, {_DEEPEST_FOLDER} levels and {_NAME_BYTES} bytes a name"
        return [f"spool_dir: too long or too deep, at most {limits}; give a shorter path such as /var/spool/shop"]
    return []


def _address_problems(options: Options) -> list[str]:
    problems = []
    if not isinstance(options.url, str) or not isinstance(options.key, str):
        return ["url, key: must be text"]
    if options.url and not _is_address(options.url):
        problems.append("url: must be an http or https address such as https://collect.shop.example")
    elif "@" in options.url.partition("//")[2].partition("/")[0]:
        problems.append("url: must be without user and password; the write key goes into key")
    if options.key and not (options.key.isascii() and options.key.isprintable() and " " not in options.key):
        problems.append("key: must be printable ASCII without spaces, as `touchtrail keys create` prints it")
    return problems


def _is_address(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain
