"""Listings for people: a table on a terminal, tab-separated lines into a pipe."""

import io
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

from shared.audit.export.wording import in_words
from shared.escape import one_line
from tunnel_relay.durations import format_duration

Row = Sequence[str]
KEPT = frozenset(
    {"OWNER", "USER", "AGENT", "SERVER", "TUNNEL", "CLIENT", "TOOL", "WHO OR WHAT", "KEY"}
)
"""Columns of what commands take: never folded, like the first one, for whoever copies it."""
FOLDED = 6
"""Characters a line that a folded column keeps, even where the terminal is narrower."""


def table(columns: Sequence[str], rows: Sequence[Row], nothing: str) -> str:
    """Return a listing, or the sentence `nothing` when there are no rows."""
    if not rows:
        return nothing
    if not sys.stdout.isatty():
        return "\n".join("\t".join(line) for line in (columns, *rows))
    # rich costs 56 ms, so only a person at a terminal pays for it.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    target = io.StringIO()
    console = Console(file=target, force_terminal=True)
    kept = [column in KEPT or not number for number, column in enumerate(columns)]
    widest = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    gap = 2 if sum(widest) + 2 * (len(columns) - 1) <= console.width else 1
    needed = [
        width if keep else min(width, FOLDED) for width, keep in zip(widest, kept, strict=True)
    ]
    # Wider than the terminal then: its own line break is none to whoever copies.
    console.width = max(console.width, sum(needed) + gap * (len(columns) - 1))
    shown = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for column, keep in zip(columns, kept, strict=True):
        shown.add_column(column, overflow="fold", no_wrap=keep)
    for row in rows:
        # Text, so that brackets in somebody's name are no markup.
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)
    return target.getvalue().rstrip("\n")


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return one thing's facts, a line each."""
    width = max(len(name) for name, _ in pairs)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs)


def when(at: float | None) -> str:
    """Write a time relative to now: `5m ago`, `in 8h`; `-` for none."""
    if at is None:
        return "-"
    distance = at - time.time()
    return (
        f"in {format_duration(distance)}" if distance > 0 else f"{format_duration(-distance)} ago"
    )


def tunnels(listed: Sequence[dict[str, Any]]) -> str:
    """List tunnels."""
    rows = [
        (
            each["name"],
            each["owner"],
            _standing(each),
            ", ".join(each["upstreams"]) or "-",
            when(each["created"]),
        )
        for each in listed
    ]
    columns = ("NAME", "OWNER", "STATE", "UPSTREAMS", "CREATED")
    return table(
        columns, rows, "no tunnels; make one: tunnel-relay tunnel create NAME --owner USER"
    )


def _standing(tunnel: dict[str, Any]) -> str:
    """Say whether a tunnel works, and loudly what to do where a client's key was copied."""
    if tunnel["disabled"]:
        return "disabled"
    state = "connected" if tunnel["links"] else "not connected"
    return f"{state}, {_cloned(tunnel['name'])}" if tunnel.get("cloned") else state


def _cloned(tunnel: str) -> str:
    """Say that a key is locked, and the next command."""
    return f"KEY LOCKED, a copy was seen (MT1031): tunnel-relay tunnel rotate {tunnel}"


def tunnel(shown: dict[str, Any]) -> str:
    """Show one tunnel and its clients."""
    rows = [
        (
            each["id"],
            each["key"],
            each["locked"] or ("connected" if each["connected"] else "not connected"),
            each["host"] or "-",
            when(each["created"]),
        )
        for each in shown["instances"]
    ]
    columns = ("CLIENT", "KEY", "STATE", "HOST", "ENROLLED")
    clients = table(columns, rows, "no client has enrolled yet")
    return f"{tunnels([shown])}\n\n{clients}"


def sessions(listed: Sequence[dict[str, Any]]) -> str:
    """List sessions."""
    rows = [
        (
            each["id"][:12],
            each["user"],
            each["agent"],
            each["server"],
            each["state"],
            when(session_end(each)),
            _used(each),
        )
        for each in listed
    ]
    columns = ("SESSION", "USER", "AGENT", "SERVER", "STATE", "EXPIRES", "USED")
    return table(columns, rows, "no sessions")


def session(shown: dict[str, Any]) -> str:
    """Show one session."""
    pairs = [(key, str(shown[key])) for key in ("id", "fingerprint", "user", "agent", "server")]
    pairs += [("granted by", shown["granted_by"] or "-"), ("door", shown["door"])]
    pairs += [("state", shown["state"]), ("calls", str(shown["calls"]))]
    pairs += [("idle", format_duration(shown["idle"]))]
    pairs += [("created", when(shown["created"])), ("expires", when(session_end(shown)))]
    pairs += [("last_used", _used(shown)), ("revoked", when(shown["revoked"]))]
    return facts([*pairs, ("reason", shown["reason"] or "-")])


def session_end(shown: dict[str, Any]) -> float:
    """Return when a session ended; of one that is not over, when it will at the latest."""
    if shown["revoked"] is not None:
        return float(shown["revoked"])
    idle = shown["last_used"] + shown["idle"] if shown["state"] == "idle" else math.inf
    return float(min(shown["expires"], idle))


def _used(shown: dict[str, Any]) -> str:
    # What was never used is idle from when it was made, which is no use of it.
    return when(shown["last_used"]) if shown["calls"] else "never"


def barred(listed: Sequence[dict[str, Any]]) -> str:
    """List what keeps issuers' tokens out."""
    rows = [
        (
            each["session"][:12],
            each["user"],
            each["agent"],
            each["server"],
            when(each["since"]),
            each["reason"],
        )
        for each in listed
    ]
    columns = ("SESSION", "USER", "AGENT", "SERVER", "SINCE", "REASON")
    return table(columns, rows, "no revoked session keeps an issuer's tokens out")


def users(listed: Sequence[dict[str, Any]]) -> str:
    """List users."""
    rows = [
        (
            each["user"],
            each["name"],
            ", ".join(each["roles"]),
            ", ".join(each["servers"]) or "-",
            "disabled" if each["disabled"] else "yes" if each["login"] else "no",
            when(each["last_login"]),
        )
        for each in listed
    ]
    columns = ("USER", "NAME", "ROLES", "SERVERS", "LOGIN", "LAST LOGIN")
    return table(columns, rows, "no users; add one: tunnel-relay user add USER")


def user(shown: dict[str, Any]) -> str:
    """Show one user and the sessions that are not over."""
    pairs = [(key, str(shown[key])) for key in ("user", "name", "issuer", "subject")]
    pairs += [(key, ", ".join(shown[key]) or "-") for key in ("roles", "groups", "servers")]
    pairs += [(key, when(shown[key])) for key in ("created", "disabled", "last_login")]
    return f"{facts(pairs)}\n\n{sessions(shown['sessions'])}"


def admin_tokens(listed: Sequence[dict[str, Any]]) -> str:
    """List admin tokens."""
    rows = [
        (
            each["id"][:12],
            each["user"],
            each["name"],
            when(each["expires"]),
            when(each["created"]),
        )
        for each in listed
    ]
    return table(("TOKEN", "USER", "FOR", "EXPIRES", "CREATED"), rows, "no admin tokens")


def passkeys(listed: Sequence[dict[str, Any]]) -> str:
    """List passkeys, each with the text that policies take."""
    rows = [
        (
            each["id"][:12],
            each["user"],
            each["name"],
            when(each["added"]),
            when(each["last_used"]),
            each["key"],
        )
        for each in listed
    ]
    return table(("PASSKEY", "USER", "NAME", "ADDED", "LAST USED", "KEY"), rows, "no passkeys")


def agents(listed: Sequence[dict[str, Any]]) -> str:
    """List agents."""
    rows = [
        (
            each["agent"],
            each["name"],
            each["kind"],
            "disabled" if each["disabled"] else "enabled",
            ", ".join(each["redirect_uris"]),
        )
        for each in listed
    ]
    columns = ("AGENT", "NAME", "KIND", "STATE", "REDIRECTS TO")
    return table(columns, rows, "no agents have registered")


def locks(listed: Sequence[dict[str, Any]]) -> str:
    """List locks."""
    rows = [
        (
            each["id"][:12],
            each["kind"],
            each["subject"],
            "never" if each["expires"] is None else when(each["expires"]),
            when(each["created"]),
            each["reason"],
        )
        for each in listed
    ]
    return table(("LOCK", "ON", "WHO OR WHAT", "LIFTS", "SINCE", "REASON"), rows, "no locks")


def status(shown: dict[str, Any]) -> str:
    """Show the relay's state and its links."""
    serving = (
        f"serving for {format_duration(shown['uptime'])}" if shown["serving"] else "not running"
    )
    pairs = [
        ("relay", f"{serving}, version {shown['version']}"),
        ("address", ", ".join(shown["public_url"])),
        ("tunnels", f"{shown['tunnels']} ({shown['disabled']} disabled)"),
        ("sessions", f"{shown['sessions']['live']} live, {shown['sessions']['ended']} ended"),
        *(("CLONED", f"{name}: {_cloned(name)}") for name in shown.get("cloned", ())),
        ("locks", str(shown["locks"])),
        ("approvals", f"{shown['approvals']} pending"),
    ]
    pairs += _policy(shown["policy"])
    pairs += [("tools", _counts(tunnel, counts)) for tunnel, counts in shown["tools"].items()]
    if shown["store"]["problem"]:
        pairs.append(("store", _store(shown["store"])))
    pairs += [("issuer", _issuer(each)) for each in shown["issuers"]]
    if shown["unstored"]:
        pairs.append(("warning", f"{shown['unstored']} changes are not stored yet (MT1013)"))
    if shown["forgettable"]:
        warning = f"{shown['forgettable']} of them a restart would forget (MT1071)"
        pairs.append(("warning", warning))
    pairs += _audit(shown["audit"])
    rows = [
        (
            str(link.get("tunnel", "-")),
            str(link.get("instance", "-"))[:12],
            str(link.get("peer", "-")) + _state(link),
            when(link.get("since")),
            f"{link.get('round_trip_ms', 0)} ms",
            str(link.get("streams", 0)),
            ", ".join(link.get("upstreams", ())) or "-",
        )
        for link in shown["links"]
    ]
    columns = ("TUNNEL", "CLIENT", "PEER", "SINCE", "ROUND TRIP", "STREAMS", "UPSTREAMS")
    return f"{facts(pairs)}\n\n{table(columns, rows, 'no links')}"


def _state(link: dict[str, Any]) -> str:
    """Say what keeps a link from taking calls."""
    return ", CUT" if link.get("detached") else ", DRAINING" if link.get("draining") else ""


def _audit(audit: dict[str, Any]) -> list[tuple[str, str]]:
    """Say how the log is, and how far its copies are."""
    if not audit["on"]:
        return [("AUDIT", "OFF: nothing that agents do is written down")]
    failing = one_line(str(audit["failing"]), 200)
    said = f"CANNOT BE WRITTEN: {failing}" if audit["failing"] else f"{audit['records']} records"
    return [("audit", said), *(("export", in_words(each)) for each in audit["exports"])]


def _policy(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Say which policy holds, and loudly what is wrong with its file."""
    lines = []
    if facts["digest"] is not None:
        rules = "1 rule" if facts["rules"] == 1 else f"{facts['rules']} rules"
        lines.append(("policy", f"{rules}, digest {facts['digest'][:12]}"))
    if facts["problem"] is not None:
        # What is wrong may take several lines, one for each fault.
        first, *more = facts["problem"].splitlines()
        holds = "; the policy before it holds" if facts["digest"] is not None else ""
        lines.append(("POLICY", f"the file cannot be used (MT1101){holds}: {first}"))
        lines += [("", line.strip()) for line in more]
    return lines


def _counts(tunnel: str, counts: dict[str, int]) -> str:
    """Say how many tools a tunnel has, and loudly of what somebody should look at."""
    told = [f"{counts['pinned']} pinned", f"{counts['new']} new"]
    told += [
        f"{counts[state]} {state.upper()}" for state in ("changed", "differs") if counts[state]
    ]
    return f"{tunnel}: {', '.join(told)}"


def _store(facts: dict[str, Any]) -> str:
    """Say what is wrong with the store, and until when agents are still served."""
    state = (
        "agents are refused (MT1070)"
        if facts["lapsed"]
        else f"agents are refused in {facts['left']:.0f} s"
    )
    return f"failing for {facts['silent']:.0f} s, {state}: {facts['problem']}"


def _issuer(facts: dict[str, Any]) -> str:
    """Say how an issuer's keys are, and what that means for its tokens."""
    if facts["age"] is None:
        text = "no keys yet: its tokens are refused (MT1060)"
    else:
        text = f"{facts['keys']} keys, fetched {format_duration(facts['age'])} ago"
        if not facts["ready"]:
            text = "its keys are too old: its tokens are refused (MT1060)"
    problem = f"; the last fetch failed: {facts['problem']}" if facts["problem"] else ""
    return f"{facts['issuer']}: {text}{problem}"


def cut(result: dict[str, Any]) -> str:
    """Say what a command ended at once, who confirmed it, and who did not."""
    report = result["cut"]
    if report.get("timed_out"):
        return f"the links did not report; what was not cut ends within {_seconds(report['lease'])}"
    text = f"cut {report['streams']} streams"
    if "sessions" in result or "sessions" in report:
        text += f" of {result.get('sessions', report.get('sessions'))} sessions"
    text += f" on {report['links']} links in {report['ms']:.0f} ms"
    closed = result.get("closed") or report.get("closed")
    if closed:
        text += f", closed {closed} links"
    for client in report["clients"]:
        name = client["instance"][:12]
        if client["lease"] is None:
            text += f"\n  {name}: ended {client['ended']} calls after {client['ms']:.0f} ms"
        else:
            why = "no word from it" if client["connected"] else "not connected"
            text += f"\n  {name}: {why}; its lease ends in {_seconds(client['lease'])}"
    return text


def _seconds(span: float) -> str:
    return f"{span:.0f} s"
