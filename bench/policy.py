"""What judging one call costs: `python -m bench.policy [--write-doc]`.

The verdicts of relay and client alone, in this process, without a link: with few and many rules,
few and many tools. Calls go round all tools of their kind. What is remembered of a tool is so from
its first call on: that call has rows of its own. Below: searching an answer for a credential.
"""

import datetime
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from bench import doc
from bench.upstreams import MIB, REPLY, blob_document
from shared.grant import Grant
from shared.jsonrpc.envelope import Envelope, parse
from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.model import Policy
from shared.wire.tools import PinState, ToolWord
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind, item_of
from tunnel_client.catalog.pins import Pin, Pins, editing
from tunnel_client.credentials.scrub import Scrubber, Stream
from tunnel_client.judge import Judge as ClientJudge
from tunnel_client.judge import Passed as ClientPassed
from tunnel_client.upstream.base import UpstreamRequest
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.gateway.judge import Judge as RelayJudge
from tunnel_relay.gateway.judge import Passed as RelayPassed
from tunnel_relay.store.base import Session

RULES = (10, 1_000)
TOOLS = (10, 5_000)
SERVER = "crm"
SECONDS = 0.2
REPEATS = 5
SECRET = "mKq8Zr4xW1vN7tBc2LpY"
START = "<!-- policy: written by `python -m bench.policy --write-doc`, do not edit -->"
END = "<!-- end of policy -->"
KINDS = {"read": ToolClass.READ, "write": ToolClass.WRITE, "pay": ToolClass.EXTERNAL_SEND}
"""How the names of tools begin, and of which class they are; payments need a look at arguments."""
WHAT = {
    "read": "a tool that reads",
    "write": "one that writes",
    "pay": "one with a condition on its arguments",
}
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "amount": {"type": "integer"}},
}
Judgement = Callable[[], object]


class Timed(NamedTuple):
    """Microseconds a call: the first one of a tool, and later ones."""

    first: float
    later: float


def policy_text(rules: int) -> str:
    """Return a policy of so many rules, as one grows: general ones, and many about single tools."""
    lines = [
        "- {id: reads, match: {class: read}, effect: allow}",
        "- {id: writes, match: {class: write, server: crm}, effect: allow}",
        '- {id: no-delete, match: {tool: "*_delete"}, effect: deny}',
        '- {id: payments, match: {tool: "pay_*"}, effect: allow,',
        "   when: 'type(args.amount) == int && args.amount <= 5000'}",
    ]
    for at in range(4, rules):
        where = SERVER if at % 2 else f"server-{at % 50}"
        what = f"gone_{at}" if at % 3 else f"area_{at}_*"
        effect = "deny" if at % 5 else "allow"
        match = f'{{server: {where}, tool: "{what}", group: [team-{at % 20}]}}'
        lines.append(f"- {{id: rule-{at}, match: {match}, effect: {effect}}}")
    return "version: 1\nrules:\n" + "\n".join(f"  {line}" for line in lines) + "\n"


def names(kind: str, tools: int) -> list[str]:
    """Return the tools of one kind when there are so many in all."""
    at = list(KINDS).index(kind)
    return [f"{kind}_{number}" for number in range(at, tools, len(KINDS))]


def envelopes(kind: str, tools: int) -> list[tuple[Envelope, bytes]]:
    """Return a call of each tool of a kind, read as both ends read it."""
    found = []
    for name in names(kind, tools):
        params = {"name": name, "arguments": {"id": "7", "amount": 100}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = json.dumps(message).encode()
        found.append((parse(body), body))
    return found


def relay_calls(policy: Policy, kind: str, tools: int) -> list[Judgement]:
    """Return the verdicts of a relay on a call of each tool."""
    judge = RelayJudge(lambda: policy, lambda _user: ("support",))
    link = Link(Registry(30), "office", "0" * 32, 1)
    words = [
        ToolWord(name, tool_class, "d" * 64, PinState.PINNED)
        for one, tool_class in KINDS.items()
        for name in names(one, tools)
    ]
    link.on_tools(SERVER, words)
    end = time.time() + 3600
    session = Session(
        "0" * 32, b"d" * 32, "ada", "bench", "office", SERVER, end - 3600, end, 3600, end - 3600
    )

    def judged(envelope: Envelope) -> Judgement:
        return lambda: judge.judge(session, envelope, link, b"POST")

    return [judged(envelope) for envelope, _ in envelopes(kind, tools)]


def client_calls(policy: Policy, kind: str, tools: int, folder: Path) -> list[Judgement]:
    """Return the verdicts of a client on a call of each tool, all of them pinned."""
    with editing(folder) as table:
        for one, tool_class in KINDS.items():
            for name in names(one, tools):
                entry = {"name": name, "description": f"What {name} does", "inputSchema": SCHEMA}
                item = item_of(Kind.TOOL, entry)
                assert item is not None
                pin = Pin(name, item.sha256, tool_class, item.definition, 0, "bench")
                table[SERVER, Kind.TOOL, name] = pin
    catalog = Catalog(Pins(folder), [SERVER])
    judge = ClientJudge(lambda: policy, catalog)
    now = time.time()
    grant = Grant(
        *("0" * 32, "ada", "bench", "office", SERVER, ("support",), ()),
        *(now, now + 3600, "0" * 32, 1),
    )

    def judged(envelope: Envelope, body: bytes) -> Judgement:
        request = UpstreamRequest("POST", [], body, envelope, grant.session, None)
        return lambda: judge.judge(grant, request)

    return [judged(envelope, body) for envelope, body in envelopes(kind, tools)]


def timed(calls: Sequence[Judgement], passed: type, seconds: float = SECONDS) -> Timed:
    """Take the times; RuntimeError when a call was not let pass, which would be quicker."""
    began = time.perf_counter()
    verdicts = [call() for call in calls]
    first = time.perf_counter() - began
    if not all(isinstance(verdict, passed) for verdict in verdicts):
        raise RuntimeError("a call was refused")
    later = [_later(calls, seconds) for _ in range(REPEATS)]
    return Timed(first / len(calls) * 1e6, statistics.median(later))


def _later(calls: Sequence[Judgement], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        for call in calls:
            call()
        done += len(calls)
    return spent / done * 1e6


def table(seconds: float = SECONDS) -> str:
    """Measure everything; returns a Markdown table."""
    sizes = list(product(RULES, TOOLS))
    rows: dict[str, list[float]] = {}
    for rules, tools in sizes:
        policy_of = policy_text(rules)
        for kind in KINDS:
            policy = read_policy(policy_of, "bench")
            relay = timed(relay_calls(policy, kind, tools), RelayPassed, seconds)
            policy = read_policy(policy_of, "bench")
            with tempfile.TemporaryDirectory(prefix="bench-pins-") as folder:
                calls = client_calls(policy, kind, tools, Path(folder))
                client = timed(calls, ClientPassed, seconds)
            for side, took in (("relay", relay), ("client", client)):
                rows.setdefault(f"{side}: {WHAT[kind]}", []).append(took.later)
                rows.setdefault(f"{side}: the first of a tool, {WHAT[kind]}", []).append(took.first)
    heads = [f"{rules:,} rules, {tools:,} tools" for rules, tools in sizes]
    lines = ["| us a call | " + " | ".join(heads) + " |"]
    lines.append("| --- |" + " ---: |" * len(sizes))
    lines += [
        f"| {name} | " + " | ".join(f"{value:.1f}" for value in rows[name]) + " |"
        for name in sorted(rows, key=lambda name: ("first" in name, name.startswith("client")))
    ]
    return "\n".join(lines)


def searching(seconds: float = SECONDS) -> str:
    """Measure the search of answers for a secret; returns a sentence."""
    scrubber = Scrubber([SECRET])

    def search(text: bytes) -> Judgement:
        return lambda: Stream(scrubber).feed(text, True)

    small, large = REPLY.encode(), blob_document(MIB)
    little, much = (
        statistics.median(_later([search(text)], seconds) for _ in range(REPEATS))
        for text in (small, large)
    )
    return (
        f"Searching an answer for one secret, where the upstream has a credential: {little:.1f} us "
        f"for {len(small)} bytes, {len(large) / much:,.0f} MB/s for 1 MiB."
    )


def main() -> None:
    """Print the figures; with --write-doc put them into docs/benchmarks.md."""
    text = f"{table()}\n\n{searching()}"
    print(text)
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{text}", START, END)


if __name__ == "__main__":
    main()
