"""Listings for people."""

import time
from typing import Any

import pytest

from tunnel_relay import render

SESSION = {
    "id": "0123456789abcdef" * 2,
    "fingerprint": "deadbeef",
    "user": "bob [bold]",
    "agent": "claude",
    "server": "office/git",
    "state": "live",
    "created": 0.0,
    "expires": 0.0,
    "idle": 3600.0,
    "last_used": 0.0,
    "revoked": None,
    "reason": None,
    "granted_by": "operator",
    "door": "token",
    "calls": 7,
}


def test_into_a_pipe_goes_one_tab_separated_line_each() -> None:
    lines = render.table(("A", "B"), [("1", "2"), ("3", "4")], "none").splitlines()
    assert lines == ["A\tB", "1\t2", "3\t4"]
    assert render.table(("A",), [], "none") == "none"


def test_on_a_terminal_a_table_shows_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    assert "bob [bold]" in render.sessions([SESSION])


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("columns", [80, 40])
def test_what_one_copies_stays_whole_where_a_terminal_is_narrow(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    on_a_terminal(monkeypatch, columns)
    server = "home/a-server-with-quite-a-name"
    agent = "an-agent-that-registered-itself"
    said = render.sessions([{**SESSION, "user": "grace", "agent": agent, "server": server}])
    for word in ("0123456789ab", "grace", agent, server):
        assert word in said
    lock = {"id": "e" * 32, "kind": "user", "subject": "grace", "created": 0.0, "expires": None}
    _, *lines = render.locks([{**lock, "reason": "left " * 40}]).splitlines()
    assert "eeeeeeeeeeee" in lines[0]
    assert "grace" in lines[0]
    assert len(lines) > 3  # what is said beside them folds
    assert max(map(len, lines)) <= max(columns, 60)


def test_a_table_that_nearly_fits_moves_together(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_terminal(monkeypatch, 20)
    said = render.table(("ID", "STATE", "ENDS"), [("123456", "pending", "in 3m")], "none")
    assert said.splitlines()[1:] == ["123456 pending in 3m"]


def test_a_session_says_when_it_was_used_and_when_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    monkeypatch.setattr("tunnel_relay.render.time.time", lambda: now)
    ahead = {**SESSION, "created": now - 1500, "expires": now + 25300, "last_used": now - 1500}

    def times(**more: Any) -> list[str]:
        return render.sessions([{**ahead, **more}]).splitlines()[1].split("\t")[-2:]

    assert times() == ["in 7h", "25m ago"]
    assert times(calls=0) == ["in 7h", "never"]
    assert times(state="locked") == ["in 7h", "25m ago"]
    assert times(state="revoked", revoked=now - 600) == ["10m ago", "25m ago"]
    assert times(state="idle", idle=1200.0) == ["5m ago", "25m ago"]
    shown = render.session({**ahead, "calls": 0, "state": "revoked", "revoked": now - 600})
    assert "last_used    never\n" in shown
    assert "expires      10m ago\n" in shown


def test_what_keeps_tokens_out_is_listed() -> None:
    bar = {**SESSION, "session": "b" * 32, "since": 0.0, "reason": "gone"}
    assert "gone" in render.barred([bar])
    assert render.barred([]).startswith("no revoked")


def test_times_are_relative_to_now() -> None:
    assert render.when(None) == "-"
    assert render.when(time.time() - 7200 - 1) == "2h ago"
    assert render.when(time.time() + 8 * 3600 + 30) == "in 8h"


def test_a_session_shows_all_its_facts() -> None:
    said = render.session(SESSION)
    for word in ("deadbeef", "office/git", "live", "1h", "operator", "7"):
        assert word in said


def test_a_client_that_is_locked_says_why() -> None:
    instance = {
        "id": "i",
        "key": "k",
        "locked": "cloned",
        "connected": False,
        "host": "",
        "created": 0.0,
    }
    shown = {
        "name": "office",
        "owner": "a",
        "disabled": False,
        "links": 0,
        "upstreams": [],
        "created": 0.0,
        "instances": [instance],
    }
    assert "i\tk\tcloned\t-" in render.tunnel(shown)
    assert "KEY LOCKED" not in render.tunnels([shown])
    next_command = "KEY LOCKED, a copy was seen (MT1031): tunnel-relay tunnel rotate office"
    for links, state in ((0, "not connected"), (2, "connected")):
        said = render.tunnels([{**shown, "links": links, "cloned": True}])
        assert f"\t{state}, {next_command}\t" in said
    assert "KEY" not in render.tunnels([{**shown, "disabled": True, "cloned": True}])


def test_status_shows_links_and_what_is_not_stored() -> None:
    link = {
        "tunnel": "office",
        "instance": "0123456789abcdef",
        "peer": "192.0.2.1",
        "since": 0.0,
        "round_trip_ms": 1.5,
        "streams": 2,
        "upstreams": ["git", "time"],
    }
    late = {"behind": 7, "missed": 2, "problem": "it does not answer in time"}
    said = render.status(
        {
            "serving": True,
            "uptime": 60.0,
            "version": "0",
            "public_url": ["https://a.example"],
            "tunnels": 1,
            "cloned": ["plant"],
            "disabled": 0,
            "sessions": {"live": 1, "ended": 0},
            "locks": 1,
            "approvals": 2,
            "policy": {
                "digest": "ab" * 32,
                "rules": 3,
                "problem": "p.yaml:3: odd\np.yaml:4: odder",
            },
            "tools": {"office": {"pinned": 4, "new": 1, "changed": 2, "differs": 0}},
            "unstored": 1,
            "forgettable": 1,
            "store": {"problem": "full", "lapsed": False, "lease": 30.0, "left": 21.0, "silent": 9},
            "links": [link, link | {"detached": True}, link | {"draining": True}],
            "audit": {
                "on": True,
                "records": 9,
                "failing": None,
                "exports": [{"name": "siem", "format": "cef", "to": "syslog+tls://siem"} | late],
            },
            "issuers": [
                {"issuer": "https://a", "ready": True, "keys": 2, "age": 60, "problem": None},
                {"issuer": "https://b", "ready": True, "keys": 1, "age": 600, "problem": "gone"},
                {"issuer": "https://c", "ready": False, "keys": 0, "age": None, "problem": "no"},
            ],
        }
    )
    assert "failing for 9 s, agents are refused in 21 s: full" in said
    assert "https://a: 2 keys, fetched 1m ago\n" in said
    assert "https://b: 1 keys, fetched 10m ago; the last fetch failed: gone\n" in said
    assert (
        "https://c: no keys yet: its tokens are refused (MT1060); the last fetch failed: no" in said
    )
    assert "policy     3 rules, digest abababababab\n" in said
    assert "cannot be used (MT1101); the policy before it holds: p.yaml:3: odd\n" in said
    assert "           p.yaml:4: odder\n" in said
    assert "audit      9 records\n" in said
    assert (
        "siem (cef) to syslog+tls://siem: DOES NOT GO OUT, 7 records wait: it does not answer in "
        "time; 2 WERE REMOVED BEFORE\n" in said
    )
    assert "office: 4 pinned, 1 new, 2 CHANGED\n" in said
    assert "CLONED     plant: KEY LOCKED, a copy was seen (MT1031): tunnel-relay tunnel" in said
    assert "MT1071" in said
    assert "serving for 1m" in said
    assert "MT1013" in said
    assert "office\t0123456789ab\t192.0.2.1\t" in said
    assert "192.0.2.1, CUT\t" in said
    assert "192.0.2.1, DRAINING\t" in said
    assert "1.5 ms\t2\tgit, time" in said


def test_a_cut_names_who_confirmed_it_and_until_when_others_may_go_on() -> None:
    clients = [
        {"instance": "a" * 32, "connected": True, "ended": 3, "ms": 1.2, "lease": None},
        {"instance": "b" * 32, "connected": True, "ended": None, "ms": None, "lease": 30.0},
        {"instance": "c" * 32, "connected": False, "ended": None, "ms": None, "lease": 12.3},
    ]
    cut = {"streams": 3, "links": 2, "ms": 2000.4, "clients": clients, "silent": [], "lease": 30.0}
    assert render.cut({"cut": cut, "sessions": 2, "closed": 1}).splitlines() == [
        "cut 3 streams of 2 sessions on 2 links in 2000 ms, closed 1 links",
        "  aaaaaaaaaaaa: ended 3 calls after 1 ms",
        "  bbbbbbbbbbbb: no word from it; its lease ends in 30 s",
        "  cccccccccccc: not connected; its lease ends in 12 s",
    ]
    late = {**cut, "timed_out": True}
    assert "ends within 30 s" in render.cut({"cut": late})
