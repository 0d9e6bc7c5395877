"""What `tunnel-client status` shows: one screen, and what needs somebody is in capitals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.audit.export.wording import in_words
from shared.escape import escaped, one_line
from tunnel_client.catalog.catalog import PINNING_OFF
from tunnel_client.render import as_text

COUNTS = ("pinned", "new", "changed", "gone", "flagged")
"""Of an upstream's tools."""
_LINK = (
    *("connected", "relay", "tunnel", "instance", "links", "links_made"),
    *("last_error", "retry_at"),
)
_LINKED = ("epoch", "since", "streams", "resumed", "grants", "round_trip_ms", "heard_ago")
_REST = (
    "schema_version",
    "version",
    "pid",
    "upstreams",
    "policy",
    "tools",
    "stdio",
    "credentials",
    "audit",
)
_SHOWN = frozenset((*_LINK, *_LINKED, *_REST))
_OF_UPSTREAM = frozenset(
    (
        *(*COUNTS, "credential", "pinning", "held_back", "listed"),
        *("changed_tools", "credential_tools", "listing_error"),
    )
)


def status_text(answer: Mapping[str, Any], kinds: Mapping[str, str], now: float) -> str:
    """Write the daemon's answer for people.

    `kinds` says of which kind each upstream of the configuration is; `now` is the time since the
    epoch. What a newer daemon says besides is shown as it is.
    """
    policy = answer.get("policy", {})
    head = [
        *_link(answer, now),
        *_slots(answer, now),
        _client(answer),
        *_policy(policy),
        _permits(policy),
    ]
    head += _audit(answer.get("audit", {}))
    width = max(len(name) for name, _ in head)
    parts = ["\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in head)]
    parts.append(_upstreams(answer, kinds))
    more = {key: value for key, value in answer.items() if key not in _SHOWN}
    if more:
        parts.append(as_text(more))
    return "\n\n".join(parts)


def span(seconds: float) -> str:
    """Write a span of time with its largest unit: `45s`, `12m`, `3h`, `2d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _link(answer: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    where = f"{answer.get('relay', '-')} as tunnel {answer.get('tunnel', '-')}"
    error = answer.get("last_error")
    if not answer.get("connected"):
        yield "LINK", f"NOT CONNECTED to {where}"
        if error:
            yield "", f"why: {one_line(str(error), 300)}"
        retry = answer.get("retry_at")
        yield "", "dialling now" if retry is None else f"dials again in {span(retry - now)}"
        return
    yield "link", f"connected to {where} for {span(now - answer.get('since', now))}"
    calls, grants = answer.get("streams", 0), answer.get("grants", 0)
    trip = f"round trip {answer.get('round_trip_ms', 0)} ms"
    yield "", f"{trip}, {_many(calls, 'call')} running, {_many(grants, 'session')} granted"
    made = answer.get("links_made", 1)
    if made > max(len(answer.get("links", ())), 1) and error:
        yield "", f"{made} links since the start; the one before: {one_line(str(error), 300)}"


def _slots(answer: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """Show each link where there are several."""
    links = answer.get("links", ())
    for each in links if len(links) > 1 else ():
        number, relay = each.get("slot", 0) + 1, one_line(str(each.get("relay", "-")), 300)
        if each.get("connected"):
            drains = ", DRAINING" if each.get("draining") else ""
            trip = f"round trip {each.get('round_trip_ms', 0)} ms"
            running = _many(each.get("streams", 0), "call")
            yield f"link {number}", f"{relay}: {trip}, {running} running{drains}"
            continue
        retry = each.get("retry_at")
        error = one_line(str(each.get("last_error") or "not made yet"), 300)
        again = "dialling now" if retry is None else f"dials again in {span(retry - now)}"
        yield f"LINK {number}", f"NOT CONNECTED to {relay}, {again}: {error}"


def _client(answer: Mapping[str, Any]) -> tuple[str, str]:
    instance = str(answer.get("instance", "-"))[:12]
    words = f"version {answer.get('version', '-')}, pid {answer.get('pid', '-')}"
    return "client", f"{words}, instance {instance}"


def _policy(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "policy", f"digest {str(policy.get('digest', '-'))[:12]}"
    problem = policy.get("problem")
    if problem:
        yield "POLICY", "the file cannot be used (MT2504); the policy before it holds"
        for line in escaped(str(problem)).splitlines():
            yield "", line.strip()


def _permits(policy: Mapping[str, Any]) -> tuple[str, str]:
    approvers = policy.get("approvers")
    if approvers:
        names = ", ".join(f"{one_line(name, 60)} ({key})" for name, key in approvers.items())
        return "permits", f"signed by approvers' keys: {names}"
    return "permits", "signed by the relay: the policy lists no approvers' keys"


def _audit(audit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not audit:
        return  # an older daemon
    if not audit.get("on"):
        yield "AUDIT", "OFF: nothing that agents do is written down"
        return
    failing, unrecorded = audit.get("failing"), audit.get("unrecorded")
    if failing:
        yield "AUDIT", f"CANNOT BE WRITTEN, so calls are refused: {one_line(str(failing), 200)}"
    else:
        yield "audit", f"{_many(audit.get('records', 0), 'record')} written"
    if unrecorded:
        yield "", f"{unrecorded} READS WENT ON WITHOUT A RECORD"
    for each in audit.get("exports", ()):
        yield "export", in_words(each)


def _upstreams(answer: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    names, tools = answer.get("upstreams", ()), answer.get("tools", {})
    waiting = _waiting(sorted(set(kinds) - set(names)))
    if not names:
        return waiting or "no upstreams; add one: tunnel-client upstream add NAME --url URL"
    width = max(len("UPSTREAM"), *(len(name) for name in names))
    lines = [f"{'UPSTREAM':<{width}}  KIND   " + "  ".join(word.upper() for word in COUNTS)]
    for name in names:
        facts = tools.get(name, {})
        cells = (f"{facts.get(word, '-')!s:>{len(word)}}" for word in COUNTS)
        lines.append(f"{name:<{width}}  {kinds.get(name, '-'):<5}  " + "  ".join(cells))
        remarks = [*_remarks(name, facts), *_program(_of(answer.get("stdio", ()), name))]
        remarks += _credential(_of(answer.get("credentials", ()), name))
        lines += [f"{'':<{width}}  {line}" for line in remarks]
    return "\n".join([*lines, waiting] if waiting else lines)


def _waiting(names: Sequence[str]) -> str:
    """Say what was added to the configuration since the daemon read it."""
    if not names:
        return ""
    again = "start tunnel-client run again (systemctl restart tunnel-client)"
    return f"{len(names)} of the configuration NOT SERVED YET ({', '.join(names)}): {again}"


def _remarks(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Say what somebody should look at, and with which command."""
    if facts.get("pinning") == PINNING_OFF:
        yield f"PINNING IS {PINNING_OFF}"
    changed = facts.get("changed_tools")
    if changed:
        shown = ", ".join(one_line(tool, 60) for tool in changed)
        yield f"CHANGED since they were pinned, and blocked: {shown}"
        yield f"  look: tunnel-client tool diff {name}"
    elif facts.get("new") and facts.get("pinning") != PINNING_OFF:
        yield f"new ones are not shown to agents: tunnel-client tool pin {name}"
    shown = ", ".join(one_line(tool, 60) for tool in facts.get("credential_tools") or ())
    if shown:
        yield f"ALARM: IT SHOWS ITS CREDENTIAL, and these are blocked (MT2620): {shown}"
    if facts.get("held_back"):
        many = _many(facts["held_back"], "prompt or resource", "prompts or resources")
        yield f"{many} held back: tunnel-client tool pin {name} --held-back"
    if facts.get("listing_error"):
        yield f"NOT LISTED: {one_line(str(facts['listing_error']), 300)}"
    elif not facts.get("listed", True):
        yield "not listed yet"
    more = {key: value for key, value in facts.items() if key not in _OF_UPSTREAM}
    if more:
        yield from as_text(more).splitlines()


def _program(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say how a stdio program is kept, and why it may not start."""
    if facts:
        yield f"sandbox: {facts['sandbox']}; {_many(facts['children'], 'program')} running"
    if facts.get("refused"):
        yield f"NOT STARTED: {one_line(str(facts['refused']), 300)}"
    if facts.get("unpinned"):
        yield "RUNS WHATEVER IT FETCHES: its program is not pinned"


def _credential(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say which credential goes along, and whether one came back in an answer."""
    if not facts:
        return
    users = f" for {_many(facts['users'], 'user')}" if facts.get("users") is not None else ""
    scrubbed = "answers scrubbed" if facts.get("scrub") else "ANSWERS ARE NOT SCRUBBED"
    yield f"credential: {one_line(str(facts.get('kind', '-')), 60)}{users}, {scrubbed}"
    if facts.get("problem"):
        yield f"CREDENTIAL: {one_line(str(facts['problem']), 300)}"
    if facts.get("scrub_hits"):
        found = _many(facts["scrub_hits"], "time")
        alarm = ", which is an ALARM: look at the server" if facts.get("alarm") else ""
        yield f"secrets came back in answers {found} and were taken out{alarm}"


def _of(listed: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((each for each in listed if name in (each.get("name"), each.get("upstream"))), {})


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
