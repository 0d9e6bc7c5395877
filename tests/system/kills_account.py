"""Holds two logs against what agents asked and what an upstream counted."""

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.audit.keys import read_public
from shared.audit.reconciling import reconcile_folders
from shared.audit.verifying import verify_folder

Record = dict[str, Any]
Answers = dict[str, str]
"""By digest of the body: `answered`, `cut`, `never_sent`, `unknown`, or `refused` by nobody."""
MOST_FAULTS = 20


@dataclass
class Account:
    """What was counted, and what does not fit together."""

    counts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def check(self, held: bool, what: str) -> None:
        """Note what does not hold."""
        if not held and len(self.faults) < MOST_FAULTS:
            self.faults.append(what)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self.counts, "faults": self.faults}


@dataclass
class Log:
    """The calls of one log: intents and completions by the name of the call."""

    intents: dict[str, Record] = field(default_factory=dict)
    ends: dict[str, Record] = field(default_factory=dict)

    @property
    def bodies(self) -> Counter[str]:
        """How many intents there are of each body."""
        return Counter(each["body"] for each in self.intents.values())

    def results(self) -> dict[str, int]:
        """Count the completions by their result."""
        return dict(sorted(Counter(each["result"] for each in self.ends.values()).items()))


def account(folder: Path, counted: Mapping[str, int], answers: Answers) -> Account:
    """Look at both logs of a lab whose programs have ended."""
    found = Account()
    logs = [folder / name / "state" / "audit" for name in ("relay", "client")]
    relay, client = (
        _log(log, name, found) for log, name in zip(logs, ("relay", "client"), strict=True)
    )
    _upstream(found, client, counted, answers)
    _both(found, relay, client)
    _agents(found, relay, counted, answers)
    _reconciled(found, *logs)
    found.counts |= {
        "calls made": len(answers),
        "calls of the upstream": sum(counted.values()),
        "agents were told": dict(sorted(Counter(answers.values()).items())),
    }
    return found


def _log(folder: Path, name: str, found: Account) -> Log:
    """Verify one log and read its calls: one intent and one completion each, numbers in a row."""
    report = verify_folder(folder, read_public(folder / "key.pub"))
    found.check(report.ok, f"{name}: record {report.first_bad}: {report.reason} {report.findings}")
    found.check(not report.torn and report.open_intents == {}, f"{name}: {report.open_intents}")
    log, at, restarts = Log(), 0, 0
    for at, record in enumerate(_records(folder)):
        found.check(record["seq"] == at, f"{name}: {record['seq']} in place of {at}")
        restarts += record["kind"] == "audit.recovered"
        if record["kind"] == "call.intent":
            found.check(record["call"] not in log.intents, f"{name}: two intents: {record}")
            log.intents[record["call"]] = record
        elif record["kind"] == "call.completion":
            found.check(record["call"] not in log.ends, f"{name}: two ends: {record}")
            log.ends[record["call"]] = record
    found.check(log.intents.keys() == log.ends.keys(), f"{name}: intents and ends differ")
    found.counts |= {
        f"{name}: records": at + 1,
        f"{name}: files": len(list(folder.glob("*.jsonl*"))),
        f"{name}: recovered": restarts,
        f"{name}: intents": len(log.intents),
        f"{name}: results": log.results(),
    }
    return log


def _records(folder: Path) -> list[Record]:
    found = []
    for path in sorted(folder.glob("*.jsonl*")):
        data = path.read_bytes()
        lines = gzip.decompress(data) if path.suffix == ".gz" else data
        found += [json.loads(line)["record"] for line in lines.splitlines()]
    return found


def _upstream(found: Account, client: Log, counted: Mapping[str, int], answers: Answers) -> None:
    """Nothing reached the upstream twice, or without an intent; what was not sent did not."""
    bodies = client.bodies
    for digest, times in counted.items():
        found.check(times == 1, f"reached the upstream {times} times: {digest}")
        found.check(bodies[digest] == 1, f"{bodies[digest]} intents of {digest}")
        found.check(digest in answers, f"the upstream was asked what nobody asked: {digest}")
    for name, intent in client.intents.items():
        if intent["what"].get("method") != "tools/call":
            continue
        delivery, seen = client.ends[name]["delivery"], intent["body"] in counted
        found.check(seen or delivery != "done", f"done, and never seen: {name}")
        found.check(not seen or delivery != "never_sent", f"never sent, and seen: {name}")
    found.counts["intents that reached nothing"] = (bodies - Counter(counted)).total()


def _both(found: Account, relay: Log, client: Log) -> None:
    """What the client knows the relay knows, under the same name and digest, and nearly as well."""
    for name, intent in client.intents.items():
        there = relay.intents.get(name)
        found.check(there is not None, f"only the client knows {name}")
        if there is not None:
            found.check(there["body"] == intent["body"], f"other bytes at either end: {name}")
    alone = relay.intents.keys() - client.intents.keys()
    for name in alone:
        delivery = relay.ends[name]["delivery"]
        found.check(delivery != "done", f"done, and the client knows nothing: {name}")
    for name in relay.intents.keys() & client.intents.keys():
        here, there = relay.ends[name]["delivery"], client.ends[name]["delivery"]
        fits = {here, there} != {"done", "never_sent"}
        found.check(fits, f"{name}: relay says {here}, client {there}")
    found.counts["calls only the relay knows"] = len(alone)


def _agents(found: Account, relay: Log, counted: Mapping[str, int], answers: Answers) -> None:
    """What an agent was told is what the relay wrote down, or more than it could write."""
    bodies = relay.bodies
    ends: dict[str, list[str]] = {}
    for name, intent in relay.intents.items():
        ends.setdefault(intent["body"], []).append(relay.ends[name]["delivery"])
    for digest, told in answers.items():
        if told == "answered":
            found.check(bodies[digest] == 1, f"answered, with {bodies[digest]} intents: {digest}")
        elif told == "never_sent":
            said = ends.get(digest, [])
            found.check(set(said) <= {"never_sent"}, f"never sent, they said; {said}: {digest}")
            found.check(digest not in counted, f"never sent, they said, and seen: {digest}")


def _reconciled(found: Account, relay: Path, client: Path) -> None:
    """The product's own word on both logs: every call is accounted for, and it saw all of them."""
    report = reconcile_folders(relay, [client])
    found.check(report.ok, f"reconcile: {[each for each in report.findings if each.grave][:5]}")
    found.counts |= {"reconcile: matched": report.matched, "reconcile: kinds": dict(report.kinds)}
