"""The status is one screen for people: no raw keys, and what needs somebody is loud."""

from typing import Any

from tunnel_client.catalog.catalog import PINNING_OFF
from tunnel_client.status_view import span, status_text

NOW = 10_000.0
QUIET = {"pinning": "required", "pinned": 12, "new": 0, "changed": 0, "gone": 0, "flagged": 0}
BACK = "secrets came back in answers"
SEEN = {"held_back": 0, "listed": True}


def answer(**changed: Any) -> dict[str, Any]:
    link = {"connected": True, "relay": "wss://relay.example", "tunnel": "office", "links_made": 1}
    link |= {"last_error": None, "retry_at": None, "epoch": 4, "since": NOW - 7300, "streams": 1}
    link |= {"grants": 5, "round_trip_ms": 12.4, "instance": "a" * 32}
    policy: dict[str, Any] = {"digest": "d" * 64, "problem": None, "approvers": {}}
    return {
        "schema_version": 1,
        "version": "1.2.3",
        "pid": 77,
        "upstreams": ["tickets"],
        **link,
        "policy": policy,
        "tools": {"tickets": QUIET | SEEN},
        **changed,
    }


def test_a_log_that_is_off_or_fails_is_loud() -> None:
    def shown(**audit: Any) -> str:
        return status_text(answer(audit=audit), {}, NOW)

    assert "audit    7 records written" in shown(on=True, records=7, failing=None)
    assert "AUDIT    OFF" in shown(on=False)
    failing = shown(on=True, records=7, failing="No space left on device", unrecorded=2)
    assert "AUDIT    CANNOT BE WRITTEN, so calls are refused: No space left" in failing
    assert "2 READS WENT ON WITHOUT A RECORD" in failing


def test_a_quiet_client_fits_on_a_few_lines() -> None:
    assert status_text(answer(), {"tickets": "http"}, NOW).splitlines() == [
        "link     connected to wss://relay.example as tunnel office for 2h",
        "         round trip 12.4 ms, 1 call running, 5 sessions granted",
        "client   version 1.2.3, pid 77, instance aaaaaaaaaaaa",
        "policy   digest dddddddddddd",
        "permits  signed by the relay: the policy lists no approvers' keys",
        "",
        "UPSTREAM  KIND   PINNED  NEW  CHANGED  GONE  FLAGGED",
        "tickets   http       12    0        0     0        0",
    ]


def test_what_is_wrong_is_loud_and_names_the_next_command() -> None:
    tools = {
        "tickets": QUIET | SEEN | {"changed": 1, "changed_tools": ["dr\u202eop"], "held_back": 1},
        "files": QUIET | SEEN | {"pinning": PINNING_OFF, "new": 3},
        "mail": QUIET | {"held_back": 0, "listed": False, "listing_error": "\x1b[2Jrefused"},
        "time": QUIET | {"held_back": 2, "listed": False, "new": 2},
    }
    policy = {"digest": "d" * 64, "problem": "p.yaml:3: odd\np.yaml:4: \x1bodder"}
    changed = answer(
        connected=False,
        last_error="link closed: 1006",
        retry_at=NOW + 12,
        policy=policy,
        tools=tools,
        upstreams=list(tools),
    )
    said = status_text(changed, {}, NOW)
    for line in (
        "NOT CONNECTED to wss://relay.example as tunnel office",
        "why: link closed: 1006",
        "dials again in 12s",
        "POLICY   the file cannot be used (MT2504); the policy before it holds",
        "         p.yaml:4: \\u{1b}odder",
        "blocked: dr\\u{202e}op",
        "tunnel-client tool diff tickets",
        "1 prompt or resource held back: tunnel-client tool pin tickets --held-back",
        "PINNING IS OFF: agents can call every tool",
        "NOT LISTED: \\u{1b}[2Jrefused",
        "not listed yet",
        "tunnel-client tool pin time",
        "2 prompts or resources held back",
    ):
        assert line in said, line
    assert not set(said) & set("\u202e\x1b")
    assert "tunnel-client tool pin files" not in said


def test_it_says_whose_keys_permits_are_signed_with() -> None:
    policy = {"digest": "d" * 64, "problem": None, "approvers": {"anna": "SHA256:abc"}}
    said = status_text(answer(policy=policy), {}, NOW)
    assert "permits  signed by approvers' keys: anna (SHA256:abc)" in said


def test_a_link_that_was_lost_before_says_why() -> None:
    said = status_text(answer(links_made=3, last_error="link closed: 1006"), {}, NOW)
    assert "3 links since the start; the one before: link closed: 1006" in said


def test_each_of_several_links_is_shown_and_loudly_where_there_is_none() -> None:
    up = {"slot": 0, "relay": "a.example", "connected": True, "round_trip_ms": 2, "streams": 1}
    gone = {"slot": 1, "relay": "b.example", "connected": False, "retry_at": NOW + 9}
    said = status_text(answer(links=[up, gone | {"last_error": "refused"}], links_made=2), {}, NOW)
    assert "link 1   a.example: round trip 2 ms, 1 call running" in said
    assert "LINK 2   NOT CONNECTED to b.example, dials again in 9s: refused" in said
    said = status_text(answer(links=[up | {"draining": True}, up | {"slot": 1}]), {}, NOW)
    assert "1 call running, DRAINING" in said
    assert "link 1" not in status_text(answer(links=[up]), {}, NOW)


def test_what_a_newer_client_says_besides_is_shown_too() -> None:
    tools = {"tickets": QUIET | SEEN | {"sandbox": "full"}}
    said = status_text(answer(secrets={"scrubbed": 4}, tools=tools), {}, NOW)
    assert "sandbox  full" in said
    assert "scrubbed  4" in said
    assert "no upstreams" in status_text({"connected": False}, {}, NOW)


def test_what_was_added_since_the_start_waits_for_a_restart() -> None:
    again = "start tunnel-client run again (systemctl restart tunnel-client)"
    kinds = {"tickets": "http", "time": "stdio", "git": "stdio"}
    lines = status_text(answer(), kinds, NOW).splitlines()
    assert lines[-1] == f"2 of the configuration NOT SERVED YET (git, time): {again}"
    said = status_text(answer(upstreams=[]), {"time": "stdio"}, NOW)
    assert f"1 of the configuration NOT SERVED YET (time): {again}" in said
    assert "upstream add" not in said
    assert "NOT SERVED" not in status_text(answer(), {"tickets": "http"}, NOW)


def test_spans_have_one_unit() -> None:
    assert [span(each) for each in (-1, 45, 119, 120, 7200, 172800)] == [
        *("0s", "45s", "119s", "2m", "2h", "2d"),
    ]


def test_programs_and_credentials_stand_below_their_upstream() -> None:
    program = {"name": "tickets", "sandbox": "full", "unpinned": True, "children": 1}
    secret = {"upstream": "tickets", "kind": "bearer", "scrub": False, "scrub_hits": 2}
    changed = answer(
        stdio=[program | {"refused": "MT2560: nobody agreed\x1b"}],
        credentials=[secret | {"alarm": True, "problem": "vault \u202e", "users": 3}],
    )
    lines = status_text(changed, {"tickets": "stdio"}, NOW).splitlines()
    assert [line.strip() for line in lines[8:]] == [
        "sandbox: full; 1 program running",
        "NOT STARTED: MT2560: nobody agreed\\u{1b}",
        "RUNS WHATEVER IT FETCHES: its program is not pinned",
        "credential: bearer for 3 users, ANSWERS ARE NOT SCRUBBED",
        "CREDENTIAL: vault \\u{202e}",
        f"{BACK} 2 times and were taken out, which is an ALARM: look at the server",
    ]
    fine = {"upstream": "tickets", "kind": "environment", "scrub": True, "scrub_hits": 0}
    said = status_text(answer(credentials=[fine]), {}, NOW)
    assert "credential: environment, answers scrubbed" in said


def test_a_credential_that_is_shown_is_loud() -> None:
    """C13."""
    tools = {"tickets": QUIET | SEEN | {"credential": 2, "credential_tools": ["a", "b"]}}
    shown = status_text(answer(tools=tools), {}, NOW)
    assert "ALARM: IT SHOWS ITS CREDENTIAL, and these are blocked (MT2620): a, b" in shown
    assert "credential_tools" not in shown
