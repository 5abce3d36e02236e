"""The files for running it: units, container, proxies. Read by the real programs where they are, their commands run."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import httpx
import pytest
from collector_process import touchtrail

from reference_page import ROOT
from shop_events import wire_event
from touchtrail_collector.cli import cli

DEPLOY = ROOT / "examples" / "deploy"
PROGRAM = Path(sys.executable).with_name("touchtrail")
INSTALLED = "/opt/touchtrail/bin/touchtrail"
HOST = "collect.shop.example"
INSTRUCTIONS = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
}  # fmt: skip


def need(program: str) -> str:
    """Return where a program is; without it skip aloud, and fail where changes are judged."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


@contextmanager
def running(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the end of the block, its stderr in `stderr.txt`."""
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def wait_until(is_so: object, what: str) -> None:
    ends_at = time.monotonic() + 15
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < ends_at, what
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHTRAIL_")}
    return kept | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"} | variables


def read_unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Return a unit's sections: settings may stand more than once."""
    sections: dict[str, dict[str, list[str]]] = {}
    own: dict[str, list[str]] = {}
    for line in (DEPLOY / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            own = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            own.setdefault(key, []).append(value)
    return sections


UNITS = sorted(path.name for path in DEPLOY.glob("touchtrail*.*") if path.suffix in (".service", ".timer"))


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units with the program where it is here."""
    paths = []
    for name in UNITS:
        path = tmp_path / name
        path.write_text((DEPLOY / name).read_text("utf-8").replace(INSTALLED, str(PROGRAM)), "utf-8")
        paths.append(str(path))
    return paths


def test_systemd_finds_nothing_wrong_with_the_units(units: list[str]) -> None:
    assert len(units) == 3
    verified = run(need("systemd-analyze"), "verify", *units)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "most"), [("touchtrail.service", 15), ("touchtrail-backup.service", 30)])
def test_systemd_finds_little_that_a_broken_collector_could_reach(units: list[str], name: str, most: int) -> None:
    (unit,) = [path for path in units if path.endswith(f"/{name}")]
    judged = run(
        need("systemd-analyze"), "security", "--offline=true", f"--threshold={most}", "--no-pager", unit
    )  # of 100: 0 is nothing
    assert judged.returncode == 0, judged.stdout[-300:]
    assert "Overall exposure level" in judged.stdout


def test_the_services_command_serves_and_stops_in_time_with_a_log_of_json(tmp_path: Path) -> None:
    service = read_unit("touchtrail.service")["Service"]
    command = shlex.split(service["ExecStart"][0].replace(INSTALLED, str(PROGRAM)))
    (variable,) = service["Environment"]
    name, _, path = variable.partition("=")
    db = path.replace("%S/touchtrail", str(tmp_path))
    with running(command, environment(**{name: db, "TOUCHTRAIL_PORT": "0"}), tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/readyz").json()["is_ready"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(float(service["TimeoutStopSec"][0])) == 0
    assert Path(db).stat().st_mode & 0o077 == 0
    assert [json.loads(line)["level"] for line in (tmp_path / "stderr.txt").read_text().splitlines()] == []


def test_the_backup_services_command_makes_a_file_for_the_day(tmp_path: Path) -> None:
    service = read_unit("touchtrail-backup.service")["Service"]
    db = tmp_path / "touchtrail.db"
    assert touchtrail("keys", "create", "--source", "web", db=db).returncode == 0
    command = shlex.split(service["ExecStart"][0].replace(INSTALLED, str(PROGRAM)).replace("%%", "%"))
    given = environment(TOUCHTRAIL_DB=str(db), STATE_DIRECTORY_BACKUP=str(tmp_path))
    for _ in range(2):  # next week the same file again
        done = run(*command, env=given)
        assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("day-[1-7].db")
    assert touchtrail("doctor", "--json", db=made).stdout.count('"problem"') == 0


class Instruction(NamedTuple):
    """One of a Dockerfile, its lines joined."""

    name: str
    rest: str


def read_dockerfile() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


def last(name: str) -> str:
    return [one.rest for one in read_dockerfile() if one.name == name][-1]


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def test_the_dockerfile_is_well_formed_and_ends_as_a_user_without_rights() -> None:
    found = read_dockerfile()
    assert {one.name for one in found} <= INSTRUCTIONS
    names = [one.name for one in found]
    assert names[0] == "FROM"
    assert len(found) > 12
    assert all(re.fullmatch(r"python:3\.\d+-slim( AS \w+)?", one.rest) for one in found if one.name == "FROM")
    assert last("USER").split(":")[0].isdigit()
    assert int(last("USER").split(":")[0]) >= 10_000
    assert max(place for place, name in enumerate(names) if name in ("RUN", "COPY")) < names.index("USER")
    stages = {one.rest.split()[-1] for one in found if one.name == "FROM" and " AS " in one.rest}
    assert set(re.findall(r"--from=(\w+)", " ".join(one.rest for one in found))) == stages
    volumes = json.loads(last("VOLUME"))
    assert str(Path(variables()["TOUCHTRAIL_DB"]).parent) in volumes
    made = [one.rest for one in found if one.name == "RUN"][-1]
    assert all(volume in made for volume in volumes)  # else a volume would belong to root
    assert last("EXPOSE") == variables()["TOUCHTRAIL_PORT"]


def test_the_containers_command_serves_and_its_health_check_tells_the_truth(tmp_path: Path) -> None:
    port = free_port()
    given = {name: value for name, value in variables().items() if name.startswith("TOUCHTRAIL_")}
    given |= {
        "TOUCHTRAIL_DB": str(tmp_path / "touchtrail.db"),
        "TOUCHTRAIL_PORT": str(port),
        "TOUCHTRAIL_HOST": "127.0.0.1",
    }
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    check[0] = sys.executable
    command = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    assert run(*check, env=environment(**given)).returncode != 0
    with running(command, environment(**given), tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"touchtrail listening on http://127.0.0.1:{port}"
        healthy = run(*check, env=environment(**given))
        assert healthy.returncode == 0, healthy.stderr
        process.send_signal(getattr(signal, last("STOPSIGNAL")))
        assert process.wait(20) == 0
    assert run(*check, env=environment(**given)).returncode != 0


def test_the_compose_file_fits_the_dockerfile_and_gives_nothing_away() -> None:
    try:
        import yaml
    except ModuleNotFoundError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PyYAML is not installed")
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    assert composed.keys() == {"services", "networks", "volumes"}
    service = composed["services"]["collector"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    mounted = dict(reversed(one.split(":")) for one in service["volumes"])
    assert list(mounted) == json.loads(last("VOLUME"))
    assert set(mounted.values()) == set(composed["volumes"])
    assert service["ports"] == [f"127.0.0.1:8377:{variables()['TOUCHTRAIL_PORT']}"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    gateway = composed["networks"]["inside"]["ipam"]["config"][0]["gateway"]
    assert service["environment"]["TOUCHTRAIL_SERVER_TRUSTED_PROXIES"] == gateway


class Proxied(NamedTuple):
    """A collector behind a proxy."""

    url: str
    key: str
    log: Path


@contextmanager
def collector_behind_a_proxy(folder: Path, port: int, proxy_port: int, scheme: str) -> Iterator[Proxied]:
    """Run a collector with the settings that the proxies' files ask for."""
    db = folder / "touchtrail.db"
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    asked = re.findall(r"(allowed_hosts|trusted_proxies) = (\[[^]]*\])", text)
    assert len(asked) == 2
    settings = "\n".join(f"{name} = {value}" for name, value in asked)
    (folder / "touchtrail.toml").write_text(f"[server]\naccess_log = true\nport = {port}\n{settings}\n")
    key = touchtrail("keys", "create", "--source", "web", db=db).stdout.strip()
    with running([str(PROGRAM), "serve"], environment(TOUCHTRAIL_DB=str(db)), folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("touchtrail listening")
        yield Proxied(f"{scheme}://127.0.0.1:{proxy_port}", key, folder / "stderr.txt")


def check_proxied(proxied: Proxied) -> None:
    """Send an event through a proxy, and what a proxy must keep from the collector."""
    forged = {"X-Forwarded-For": "198.51.100.9", "Host": HOST}
    with httpx.Client(base_url=proxied.url, verify=False, headers=forged) as client:
        event = client.post(f"/v1/events?key={proxied.key}", json=[wire_event("1")])
        assert (event.status_code, event.json()["accepted"]) == (200, 1), event.text
        assert client.get("/metrics").status_code == 404
        assert client.post("/api/v1/admin/plugins").status_code == 404
        assert client.get("/readyz").json()["is_ready"] is True
        assert client.post(f"/v1/events?key={proxied.key}", content=b"x" * 6_000_000).status_code == 413
    log = proxied.log.read_text()
    assert "127.0.0.0 POST /v1/events 200" in log, log
    assert "198.51.100" not in log
    assert proxied.key not in log


def test_nginx_takes_its_file_and_passes_requests_on(tmp_path: Path) -> None:
    nginx, openssl = need("nginx"), need("openssl")
    port, proxy_port = free_port(), free_port()
    pem = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"))
    made = run(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}", *pem)
    assert made.returncode == 0, made.stderr
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{proxy_port} ssl",
        "server 127.0.0.1:8377": f"server 127.0.0.1:{port}",
        "/etc/ssl/collect.shop.example.pem": str(tmp_path / "cert.pem"),
        "/etc/ssl/collect.shop.example.key": str(tmp_path / "key.pem"),
        "/var/log/nginx": str(tmp_path),
    }
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for ours, here in changes.items():
        assert ours in text
        text = text.replace(ours, here)
    (tmp_path / "site.conf").write_text(text, "utf-8")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "main.conf").write_text(
        f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\nevents {{}}\n"
        f"http {{\n{temporary}include {tmp_path}/site.conf;\n}}\n"
    )
    command = [nginx, "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", str(tmp_path / "main.conf")]
    tested = run(*command, "-t")
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    proxy = tmp_path / "in-front"
    proxy.mkdir()
    with (
        collector_behind_a_proxy(tmp_path, port, proxy_port, "https") as proxied,
        running(command, os.environ, proxy) as process,
    ):
        wait_until(lambda: answers(proxy_port) or process.poll() is not None, "nginx does not listen")
        check_proxied(proxied)
        assert ssl.get_server_certificate(("127.0.0.1", proxy_port)).startswith("-----BEGIN")
    assert proxied.key not in (tmp_path / "touchtrail.log").read_text()


def test_caddy_takes_its_file_and_passes_requests_on(tmp_path: Path) -> None:
    caddy = need("caddy")
    port, proxy_port = free_port(), free_port()
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    given = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    validated = run(caddy, "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile"), env=given)
    assert validated.returncode == 0, validated.stderr
    here = text.replace(f"{HOST} {{", f"http://{HOST}:{proxy_port} {{").replace("127.0.0.1:8377", f"127.0.0.1:{port}")
    assert here != text
    (tmp_path / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + here, "utf-8")
    command = [caddy, "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    proxy = tmp_path / "in-front"
    proxy.mkdir()
    with (
        collector_behind_a_proxy(tmp_path, port, proxy_port, "http") as proxied,
        running(command, given, proxy) as process,
    ):
        wait_until(lambda: answers(proxy_port) or process.poll() is not None, "caddy does not listen")
        check_proxied(proxied)


def test_the_timer_starts_the_backup_every_day() -> None:
    timer = configparser.ConfigParser()
    timer.read(DEPLOY / "touchtrail-backup.timer", "utf-8")
    shown = run(need("systemd-analyze"), "calendar", "--iterations=2", timer["Timer"]["OnCalendar"])
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("03:17:00") >= 2


def test_roots_line_of_shell_runs_every_command_as_the_services_user_on_its_database(tmp_path: Path) -> None:
    (tmp_path / "runuser").write_text('#!/bin/sh\necho "runuser $1 $2 $3" >&2\nshift 3\nexec "$@"\n')
    text = (DEPLOY / "touchtrail.sh").read_text("utf-8")
    assert text.count("/var/lib/touchtrail") >= 3
    script = tmp_path / "touchtrail"
    script.write_text(text.replace("/var/lib/touchtrail", str(tmp_path / "state")).replace(INSTALLED, str(PROGRAM)))
    for file in (script, tmp_path / "runuser"):
        file.chmod(0o755)
    (tmp_path / "state").mkdir()
    given = environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = run(str(script), "keys", "create", "--source", "two words", env=given, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "runuser -u touchtrail --\n")
    assert made.stdout.startswith("ttw_")
    backup = run(str(script), "backup", "copy.db", env=given, cwd=tmp_path)
    assert backup.returncode == 0, backup.stderr
    assert {"touchtrail.db", "copy.db"} <= {path.name for path in (tmp_path / "state").iterdir()}
    assert run(str(script), "nonsense", env=given, cwd=tmp_path).returncode == 2, "its exit code is the command's"


def test_every_command_of_the_operations_page_is_one_with_options_it_has() -> None:
    text = (ROOT / "collector" / "OPERATIONS.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    typed = [line for block in blocks for line in block.splitlines() if line.startswith("touchtrail ")]
    typed += re.findall(r"`(touchtrail [a-z][^`]*)`", text)
    assert len(typed) > 20
    root = click.Context(cli)
    for line in typed:
        words = shlex.split(line, comments=True)[1:]
        command = cli.get_command(root, words[0])
        assert command is not None, line
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.get_command(root, words[1])
            assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_file_the_operations_page_copies_is_there() -> None:
    text = (ROOT / "collector" / "OPERATIONS.md").read_text("utf-8")
    named = set(re.findall(r"examples/deploy/([\w.-]+)", text))
    assert named == {path.name for path in DEPLOY.iterdir()}
