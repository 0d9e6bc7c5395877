"""The report as values: facts of the relay, words of clients, the log, findings. Pure."""

from collections.abc import Sequence
from typing import Any

from shared.policy.classes import ToolClass
from shared.policy.model import Subject
from tunnel_relay.report import client_checks, relay_checks, rule_checks
from tunnel_relay.report.findings import found_in, verdict
from tunnel_relay.report.matrix import joined, outlook_of
from tunnel_relay.report.parts import Part

CHECKS = (*relay_checks.CHECKS, *client_checks.CHECKS, *rule_checks.CHECKS)

Doc = dict[str, Any]


def document(facts: Doc, parts: Sequence[Part], log: Doc) -> Doc:
    """Put a report together; `facts` is what the relay answered to `report`."""
    enrolled = {
        (each["name"], one["id"], one["key"])
        for each in facts["tunnels"]
        for one in each["instances"]
    }
    # The last word of each; of those nobody enrolled nothing is believed.
    latest = {_who(part): part for part in parts}
    known = [part for who, part in sorted(latest.items()) if who in enrolled]
    doc = {**facts, "made": facts["relay"]["made"], "log": log}
    doc["clients"] = [part.facts for part in known]
    doc["strangers"] = [part.facts for who, part in latest.items() if who not in enrolled]
    doc["map"] = [_with_clients(row, known, facts["tools"]) for row in facts["map"]]
    findings = found_in(doc, CHECKS)
    return {"verdict": verdict(findings), "findings": findings, **doc}


def _who(part: Part) -> tuple[str, str, str]:
    return part.facts["tunnel"], part.facts["instance"], part.facts["key"]


def _with_clients(row: Doc, parts: Sequence[Part], tools: Sequence[Doc]) -> Doc:
    """Put what the clients' policies say of a row beside what the relay's says."""
    tunnel, _, upstream = row["server"].partition("/")
    subject = Subject(row["user"], frozenset(row["groups"]), row["agent"])
    kinds = {
        each["tool"]: each["class"]
        for each in tools
        if each["server"] == row["server"] and each["state"] == "pinned"
    }
    named = [
        (upstream, name, None if kind is None else ToolClass(kind)) for name, kind in kinds.items()
    ]
    theirs = [
        outlook_of(part.policy, subject, upstream, named)
        for part in parts
        if part.policy is not None
        and part.facts["tunnel"] == tunnel
        and any(each["name"] == upstream for each in part.facts["upstreams"])
    ]
    judges = "both ends" if theirs else "the relay"
    return {**row, "judged_by": judges, **joined(row, theirs, kinds)}
