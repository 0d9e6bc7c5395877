"""Each finding: what makes it, and that an installation in good order makes none."""

import re
from collections.abc import Callable
from typing import Any

import click
import pytest

from shared.policy.document import read_policy
from tests.tunnel_relay.report import a_report
from tests.tunnel_relay.report.a_report import DAY, NOW, ONE
from tunnel_client.cli import cli as client
from tunnel_relay.cli import build
from tunnel_relay.report.document import CHECKS, document
from tunnel_relay.report.findings import Check
from tunnel_relay.report.parts import Part
from tunnel_relay.report.rules import rules_of

Doc = dict[str, Any]


class Spoilt:
    """All that a report is made of, in good order, and a hand to spoil it with."""

    def __init__(self) -> None:
        self.facts = a_report.clean_facts()
        self.part = a_report.clean_part().facts
        self.log = a_report.clean_log()

    @property
    def upstream(self) -> Doc:
        one: Doc = self.part["upstreams"][0]
        return one

    @property
    def tunnel(self) -> Doc:
        one: Doc = self.facts["tunnels"][0]
        return one

    def rule(self, text: str, *, client: bool = False) -> None:
        policy = read_policy(f"version: 1\nrules:\n  - {{id: bad, {text}}}\n", "policy")
        (self.part if client else self.facts)["policy"]["rules"] += rules_of(policy)

    def found(self) -> list[str]:
        policy = read_policy(a_report.POLICY, "policy")
        doc = document(self.facts, [Part(self.part, policy)], self.log)
        return [each["id"] for each in doc["findings"]]


def spoil(path: str, value: Any) -> Callable[[Spoilt], None]:
    """Return what sets one value: `facts.settings.admin.loopback`."""

    def work(spoilt: Spoilt) -> None:
        whose, *names = path.split(".")
        place = getattr(spoilt, whose)
        for name in names[:-1]:
            place = place[int(name) if name.isdigit() else name]
        place[names[-1]] = value

    return work


def everything(*, client: bool) -> Callable[[Spoilt], None]:
    return lambda on: on.rule('match: {method: "*"}, effect: allow', client=client)


def broken(log: Doc) -> Doc:
    return log | {"ok": False, "first_bad": 7, "reason": "does not follow"}


def stranger(on: Spoilt) -> None:
    on.part["key"] = "SHA256:other"
    on.tunnel["instances"] = []


SPOILT: dict[str, Callable[[Spoilt], None]] = {
    "policy-broken": spoil("facts.policy.problem", "line 3: no"),
    "audit-off": spoil("facts.settings.audit.on", False),
    "audit-failing": spoil("facts.audit.failing", "disk full"),
    "log-broken": lambda on: on.log.update(broken(on.log)),
    "log-unproven": spoil("log.unproven", "no checkpoint vouches for records 0 to 9"),
    "log-unsigned": spoil("log.checkpoints", 0),
    "log-unseen": lambda on: on.log.update(looked=False, problem="from afar"),
    "reads-unrecorded": spoil("facts.settings.audit.reads_without", True),
    "demo-certificate": spoil("facts.settings.demo_certificate", True),
    "admin-open": spoil("facts.settings.admin.loopback", False),
    "open-registration": spoil("facts.settings.registration", True),
    "secret-readable": spoil("facts.files.0.open", True),
    "old-key": spoil("tunnel.instances", [a_report.instance(created=NOW - 400 * DAY)]),
    "unstored": spoil("facts.relay.unstored", 2),
    "unowned": spoil("tunnel.owner_is", "disabled"),
    "key-copied": spoil("tunnel.instances", [a_report.instance(locked=True)]),
    "one-admin": spoil("facts.users.1.disabled", NOW),
    "no-auditor": spoil("facts.users.2.roles", ["user"]),
    "everywhere": spoil("facts.users.3.servers", ["*"]),
    "old-token": spoil(
        "facts.tokens", [{"id": "t", "user": "ada", "name": "ci", "created": NOW - 100 * DAY}]
    ),
    "never-idle": spoil("facts.sessions.never_idle", 1),
    "long-session": spoil("facts.sessions.longest", [a_report.session(expires=NOW + 20 * DAY)]),
    "tool-changed": spoil("facts.tools", [a_report.tool("x", "changed")]),
    "tool-new": spoil("facts.tools", [a_report.tool("x", "new", None)]),
    "tool-unclassified": spoil("facts.tools", [a_report.tool("x", "pinned", None)]),
    "clients-differ": spoil("facts.tools", [a_report.tool("x") | {"agreed": False}]),
    "allows-everything": everything(client=False),
    "client-allows-everything": everything(client=True),
    "admin-allowed": lambda on: on.rule("match: {class: admin, group: ops}, effect: allow"),
    "anybody-changes": lambda on: on.rule("match: {class: write}, effect: allow", client=True),
    "own-approval": lambda on: on.rule(
        "match: {class: admin}, effect: require_approval, "
        "approvers: {group: [a], not_requester: false}"
    ),
    "not-told": spoil("tunnel.instances", [a_report.instance(), a_report.instance(id="2" * 32)]),
    "unknown-client": stranger,
    "unsandboxed": lambda on: on.upstream.update(caged=False, sandbox="UNSANDBOXED: off"),
    "all-network": spoil("upstream.network", True),
    "pinning-off": spoil("upstream.pinning", False),
    "any-version": spoil("upstream.any_version", True),
    "not-started": spoil("upstream.consent", "MT2061"),
    "in-clear": lambda on: on.upstream.update(transport="http", caged=None, in_clear=True),
    "shared-credential": spoil("upstream.for_each_user", False),
    "unscrubbed": spoil("upstream.scrubbed", False),
    "client-policy-broken": spoil("part.policy.problem", "MT2060: line 1"),
    "relay-signs": spoil("part.policy.approver_keys", {}),
    "client-audit-off": spoil("part.audit.on", False),
    "client-log-unproven": spoil("part.audit.unproven", "no checkpoint vouches for it"),
    "client-log-broken": spoil("part.audit.ok", False),
    "client-secret-readable": spoil("part.files.0.open", True),
}


def test_an_installation_in_good_order_has_no_finding() -> None:
    """None of the checks sees anything here: what triggers each is below."""
    assert Spoilt().found() == []


def test_every_check_has_its_case() -> None:
    assert sorted(SPOILT) == sorted(each.id for each in CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_to_do_next_names_commands_and_options_that_are_there(check: Check) -> None:
    for program, words in re.findall(r"tunnel-(relay|client)((?: [a-zA-Z/-]+)*)", check.next):
        command: click.Command = build() if program == "relay" else client
        for word in words.split():
            if isinstance(command, click.Group):
                assert word in command.commands, check.next
                command = command.commands[word]
            elif word.startswith("--"):
                known = {each for one in command.params for each in one.opts}
                assert word in known, check.next


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_is_found_and_nothing_else(name: str) -> None:
    spoilt = Spoilt()
    SPOILT[name](spoilt)
    assert spoilt.found() == [name]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ('tool: "*"', ["client-allows-everything"]),
        ('server: "*", user: "*"', ["client-allows-everything"]),
        ('class: write, user: "*"', ["anybody-changes"]),
        ("server: git", ["admin-allowed", "anybody-changes"]),
        ("server: git, group: ops", ["admin-allowed"]),
        ("tool: [git_log, git_show]", []),
        ('tool: "*/*"', []),
    ],
)
def test_a_rule_is_judged_by_what_it_lets_through(match: str, expected: list[str]) -> None:
    """Wildcards alone narrow nothing, and a rule without a class is about every class."""
    spoilt = Spoilt()
    spoilt.rule(f"match: {{{match}}}, effect: allow", client=True)
    assert sorted(spoilt.found()) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("class: [admin, break_glass, write, external_send]}, effect: deny", []),
        ("class: [admin, break_glass]}, effect: deny", ["anybody-changes"]),
        ("class: admin}, effect: deny", ["admin-allowed", "anybody-changes"]),
        (
            "class: [admin, break_glass, write, external_send], user: ada}, effect: deny",
            ["admin-allowed", "anybody-changes"],
        ),
        ("server: '*'}, effect: require_approval, approvers: {group: [approvers]}", []),
    ],
)
def test_what_another_rule_holds_back_is_not_let_through(more: str, expected: list[str]) -> None:
    """Denial goes before approval, and approval before allowance."""
    spoilt = Spoilt()
    rules = [
        f"- {{id: held, match: {{{more}}}",
        "- {id: wide, match: {server: git}, effect: allow}",
    ]
    policy = read_policy("version: 1\nrules:\n" + "\n".join(f"  {each}" for each in rules), "p")
    spoilt.part["policy"]["rules"] = rules_of(policy)
    assert sorted(spoilt.found()) == expected


def test_calls_that_do_not_fit_together_break_a_log() -> None:
    spoilt = Spoilt()
    odd = {"kind": "second_completion", "seq": 4, "name": "c", "grave": True}
    spoilt.log.update(ok=False, odd=[odd])
    assert spoilt.found() == ["log-broken"]


def test_a_client_that_names_no_record_of_its_broken_log_is_told_in_words() -> None:
    spoilt = Spoilt()
    spoilt.part["audit"]["ok"] = False
    (finding,) = document(spoilt.facts, [a_report.clean_part(**spoilt.part)], spoilt.log)[
        "findings"
    ]
    assert "do not fit together" in str(finding["places"])
    assert "None" not in str(finding)


def test_the_word_of_a_client_that_nobody_enrolled_is_left_aside() -> None:
    """A stranger's file neither adds to the map nor hides that a real client said nothing."""
    facts = a_report.clean_facts()
    part = a_report.clean_part(key="SHA256:other", upstreams=[a_report.upstream(caged=False)])
    doc = document(facts, [part], a_report.clean_log())
    assert doc["clients"] == []
    assert {each["id"] for each in doc["findings"]} == {"unknown-client", "not-told"}


def test_the_map_is_the_stricter_word_of_both_ends() -> None:
    facts = a_report.clean_facts()
    classes = {kind: ["allow"] for kind in ("read", "draft", "write", "external_send", "admin")}
    facts["map"] = [
        {
            "user": "uma",
            "groups": ["staff"],
            "agent": "bot",
            "server": "office/git",
            "live": True,
            "classes": {**classes, "break_glass": ["deny"]},
            "tools": {"git_log": ["deny"]},
            "rules": ["all"],
        }
    ]
    (row,) = document(facts, [a_report.clean_part()], a_report.clean_log())["map"]
    assert row["judged_by"] == "both ends"
    assert row["classes"]["read"] == row["classes"]["write"] == ["allow"]
    assert row["classes"]["admin"] == ["require_approval"]
    assert row["classes"]["break_glass"] == ["deny"]
    assert row["tools"] == {"git_log": ["deny"]}
    (alone,) = document(facts, [], a_report.clean_log())["map"]
    assert (alone["judged_by"], alone["classes"]["admin"]) == ("the relay", ["allow"])


def test_the_last_word_of_a_client_counts() -> None:
    old = a_report.clean_part(upstreams=[a_report.upstream(pinning=False)])
    doc = document(a_report.clean_facts(), [old, a_report.clean_part()], a_report.clean_log())
    assert [each["instance"] for each in doc["clients"]] == [ONE]
    assert doc["findings"] == []
