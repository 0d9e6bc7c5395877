"""Renders a report as one page that stands alone: no script, nothing fetched, readable in print.

Every value that comes out of a template is escaped twice over: what hides or turns text becomes
visible, then HTML's own characters. So a name is text, whoever chose it.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from shared.escape import one_line
from tunnel_relay.durations import format_duration
from tunnel_relay.report.diagram import picture
from tunnel_relay.report.rules import about

MAX_TEXT = 400
"""Characters of one value on the page."""
MAX_PEOPLE = 12
MAX_GROUPS = 40
CLASSES = ("read", "draft", "write", "external_send", "admin", "break_glass")
_WORDS = {"allow": "yes", "require_approval": "asks", "deny": "no"}

Doc = dict[str, Any]


def page(doc: Doc) -> str:
    """Return the page of a report."""
    shown = {
        "doc": doc,
        "picture": picture(doc),
        "classes": CLASSES,
        "reach": reach(doc["map"])[:MAX_GROUPS],
        "reach_more": max(0, len(reach(doc["map"])) - MAX_GROUPS),
        "servers": servers(doc),
        "approval_rules": approval_rules(doc),
    }
    return _ENVIRONMENT.get_template("report/report.html").render(shown)


def reach(rows: Iterable[Doc]) -> list[Doc]:
    """Put those together who may do the same at one server: cells in words, people, exceptions."""
    groups: dict[str, Doc] = {}
    for row in rows:
        outlook = [row["classes"][kind] for kind in CLASSES]
        key = repr((row["server"], outlook, sorted(row["tools"].items()), row["judged_by"]))
        cells = [{"word": word(each), "title": ", ".join(each)} for each in outlook]
        apart = [f"{name}: {word(each)}" for name, each in row["tools"].items()]
        fresh = {"server": row["server"], "cells": cells, "apart": apart, "people": []}
        group = groups.setdefault(key, {**fresh, "judged_by": row["judged_by"]})
        who = f"{row['user']} by {row['agent']}" if row["live"] else row["user"]
        group["people"].append(who)
    made = [
        {**each, "people": each["people"][:MAX_PEOPLE], "more": len(each["people"][MAX_PEOPLE:])}
        for each in groups.values()
    ]
    return sorted(made, key=lambda each: each["server"])


def word(effects: Sequence[str]) -> str:
    """Say in a word what can become of a call."""
    return _WORDS.get(effects[0], effects[0]) if len(effects) == 1 else "depends"


def servers(doc: Doc) -> list[Doc]:
    """Return a row for each server that is offered now or that a client told of."""
    counts = {each["server"]: each for each in doc["servers"]}
    told = {
        f"{part['tunnel']}/{each['name']}": each
        for part in doc["clients"]
        for each in part["upstreams"]
    }
    owners = {each["name"]: each for each in doc["tunnels"]}
    offered = {f"{each['name']}/{name}" for each in doc["tunnels"] for name in each["upstreams"]}
    return [
        {
            "server": name,
            "tunnel": owners.get(name.partition("/")[0]),
            "tools": counts.get(name),
            "told": told.get(name),
            "offered": name in offered,
        }
        for name in sorted({*counts, *told, *offered})
    ]


def approval_rules(doc: Doc) -> list[Doc]:
    """Return the rules that ask for a person's word, and who signs it."""
    found = [_approval("the relay", rule, "the relay") for rule in doc["policy"]["rules"]]
    for part in doc["clients"]:
        kinds = list(part["policy"]["approver_keys"].values())
        signs = ", ".join(
            f"{kinds.count(kind)} {kind}{'' if kinds.count(kind) == 1 else 's'}"
            for kind in ("passkey", "key")
            if kind in kinds
        )
        whose = f"client {part['instance'][:12]} of {part['tunnel']}"
        signer = signs or "the relay"
        found += [_approval(whose, rule, signer) for rule in part["policy"]["rules"]]
    return [each for each in found if each["approvers"] is not None]


def _approval(whose: str, rule: Doc, signed_by: str) -> Doc:
    fields = {name: rule[name] for name in ("id", "line", "approvers")}
    return {**fields, "whose": whose, "about": about(rule), "signed_by": signed_by}


def _shown(value: Any) -> Any:
    """Make what is said visible, whoever said it; the template's own marks stay."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return one_line(value, MAX_TEXT)


def brief(text: str, limit: int) -> Markup:
    """Make a text visible within so many characters, for where no more fit."""
    return escape(one_line(text, limit))


def iso(at: float | None, seconds: bool = False) -> str:
    """Write a time: `2026-11-22 09:30Z`, with `seconds` `2026-11-22 09:30:05Z`."""
    if at is None:
        return "-"
    try:
        return datetime.fromtimestamp(at, UTC).strftime(
            f"%Y-%m-%d %H:%M{':%S' if seconds else ''}Z"
        )
    except (ValueError, OverflowError, OSError):
        return "-"


def age(at: float, now: float) -> str:
    """Say how long ago something was."""
    return format_duration(now - at)


def plural(count: int, one: str, many: str = "") -> str:
    """Write a number and what is counted."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("tunnel_relay.web"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"iso": iso, "age": age, "plural": plural, "brief": brief}
_ENVIRONMENT.filters["duration"] = format_duration
