"""Broken relays, made one by one: the relay's doctor names what is broken and changes nothing."""

import json
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from shared.audit.log import AuditLog
from shared.checkup import Line, summary
from shared.record import encode
from tests.helpers.tunnel import free_port
from tests.tunnel_relay.making import an_admin, make_relay
from tunnel_relay.doctor import outside
from tunnel_relay.doctor.findings import FoundError
from tunnel_relay.doctor.local import judge_clock
from tunnel_relay.doctor.table import CHECKS, examine
from tunnel_relay.settings import AdminListen, Settings, parse_settings
from tunnel_relay.store.schema import steps


class Verdict(NamedTuple):
    broken: str | None
    code: str
    lines: dict[str, Line]

    def outcome(self, name: str) -> str:
        return self.lines[name].outcome.value


async def verdict(
    folder: Path, settings: Settings, now: Callable[[], float] = time.time
) -> Verdict:
    lines = [line async for line in examine(folder / "relay.toml", settings, {}, now)]
    broken = summary(lines)["broken"]
    found = {line.name: line for line in lines}
    fault = found[broken].fault if broken else None
    return Verdict(broken, "" if fault is None else fault.code, found)


def fresh(folder: Path, **changed: object) -> Settings:
    """Make a relay on a port that is free."""
    made = make_relay(folder)
    listen = made.listen.model_copy(update={"port": free_port()})
    policy = folder / "relay-policy.yaml"
    return made.model_copy(update={"listen": listen, "policy": policy, **changed})


def test_the_steps_that_are_known_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", "tunnel_relay.store:migrations")
    config.set_main_option("path_separator", "os")
    known = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    assert known[::-1] == steps()


def test_each_line_needs_lines_that_come_before_it() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen
        seen.add(check.name)


async def test_a_new_relay_has_nothing_wrong(tmp_path: Path) -> None:
    found = await verdict(tmp_path, fresh(tmp_path))
    assert found.broken is None, [line.text() for line in found.lines.values()]
    assert found.outcome("store") == found.outcome("public url") == "SKIP"
    assert found.lines["public url"].next == "tunnel-relay serve"


async def test_a_relay_that_served_has_a_database_and_a_log_that_verify(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    async with an_admin(tmp_path):
        pass
    found = await verdict(tmp_path, settings)
    assert found.broken is None, [line.text() for line in found.lines.values()]
    assert "at step 00" in found.lines["store"].note
    assert "records verify" in found.lines["audit"].note


async def test_a_log_that_somebody_changed(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    async with an_admin(tmp_path):
        pass
    part = next(settings.audit_folder.glob("*.jsonl"))
    part.write_bytes(part.read_bytes().replace(b"relay", b"delay", 1))
    found = await verdict(tmp_path, settings)
    assert (found.broken, found.code) == ("audit", "MT1206")


async def test_a_log_that_is_not_signed(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    async with an_admin(tmp_path):
        pass
    log = AuditLog(settings.audit_folder, "tests/log")
    for second in range(300):
        log.take(encode.event("test", {}, log.size, second * 1_000_000))
    log.close()
    (settings.audit_folder / "checkpoints").unlink()
    found = await verdict(tmp_path, settings)
    assert (found.broken, found.code) == ("audit", "MT1206")
    assert "not proven: no checkpoint vouches for" in found.lines["audit"].text()


@pytest.mark.parametrize(("step", "code"), [("9999", "MT1203"), (None, "MT1010")])
async def test_a_database_of_a_newer_program_or_of_none(
    tmp_path: Path, step: str | None, code: str
) -> None:
    settings = fresh(tmp_path)
    with sqlite3.connect(settings.database) as database:
        if step is not None:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (step,))
    database.close()
    settings.database.chmod(0o600)
    found = await verdict(tmp_path, settings)
    assert (found.broken, found.code) == ("store", code)


async def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    settings.relay_key.chmod(0o644)
    found = await verdict(tmp_path, settings)
    assert found.code == "MT1003"
    assert found.broken in ("config", "keys")


async def test_a_policy_that_is_gone(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    (tmp_path / "relay-policy.yaml").unlink()
    found = await verdict(tmp_path, settings)
    assert (found.broken, found.code) == ("policy file", "MT1100")


@pytest.mark.parametrize(
    ("changed", "outcome", "note"),
    [
        ({}, "PASS", "ALL AGENTS HAVE THE BALANCER'S ADDRESS"),
        ({"trusted_proxies": ("127.0.0.1/32",)}, "PASS", "127.0.0.1/32"),
        ({"public_url": ("http://127.0.0.1:8443",)}, "SKIP", "none"),
    ],
)
async def test_a_balancer_whose_forwarded_addresses_are_not_believed(
    tmp_path: Path, changed: dict[str, object], outcome: str, note: str
) -> None:
    """Plain HTTP on loopback for a public URL of https: somebody in front ends TLS."""
    found = await verdict(tmp_path, fresh(tmp_path, **changed))
    assert found.outcome("balancer") == outcome
    assert note in found.lines["balancer"].note


async def test_with_its_own_certificate_there_is_no_balancer_to_name(tmp_path: Path) -> None:
    found = await verdict(tmp_path, make_relay(tmp_path, demo=True))
    assert found.outcome("balancer") == "SKIP"


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    """That of `init --demo` is for localhost, and the public URL is not."""
    made = make_relay(tmp_path, demo=True)
    found = await verdict(tmp_path, made)
    assert (found.broken, found.code) == ("certificate", "MT1201")


async def test_a_certificate_that_is_over(tmp_path: Path) -> None:
    made = make_relay(tmp_path, demo=True)
    later = time.time() + 30 * 365 * 86400
    found = await verdict(tmp_path, made, lambda: later)
    assert (found.broken, found.code) == ("certificate", "MT1200")


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.listen.port))
        other.listen(1)
        found = await verdict(tmp_path, settings)
    assert (found.broken, found.code) == ("listeners", "MT1202")


@pytest.mark.parametrize("active", [True, False])
async def test_a_port_that_systemd_holds_for_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, active: bool
) -> None:
    """No systemd runs where tests do, so another program says whether its unit is active."""
    settings = fresh(tmp_path)
    monkeypatch.setattr(outside, "_UNITS", (tmp_path,))
    unit = f"[Socket]\nListenStream=127.0.0.1:{settings.listen.port}\n"
    (tmp_path / "tunnel-relay.socket").write_text(unit)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nexit {0 if active else 3}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", settings.listen.port)):
        found = await verdict(tmp_path, settings)
    assert found.code == ("" if active else "MT1202")
    if active:
        assert "held by systemd" in found.lines["listeners"].note


async def test_an_issuer_that_is_away(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = fresh(tmp_path)
    issuer = parse_settings(
        f'public_url = "https://a.example"\nstate_dir = "/x"\n'
        f"trusted_proxies = []\n[[issuer]]\nurl = {json.dumps(url)}\n",
        "relay.toml",
        {},
    ).issuer
    found = await verdict(tmp_path, settings.model_copy(update={"issuer": issuer}))
    assert (found.broken, found.code) == ("issuers", "MT1060")


async def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    settings = fresh(tmp_path)
    async with an_admin(tmp_path):
        pass
    found = await verdict(tmp_path, settings, lambda: time.time() - 7200)
    assert (found.broken, found.code) == ("clock", "MT1204")
    with pytest.raises(FoundError):
        judge_clock(100.0, 161.0)


async def test_an_admin_listener_without_tls_off_loopback(tmp_path: Path) -> None:
    """Settings refuse it too; a doctor that only believed them would not notice a hole there."""
    exposed = AdminListen().model_copy(update={"host": "0.0.0.0", "port": 0})
    found = await verdict(tmp_path, fresh(tmp_path, admin=exposed))
    assert (found.broken, found.code) == ("admin listener", "MT1207")
