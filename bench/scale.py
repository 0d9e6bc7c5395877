"""What a large catalogue costs: `python -m bench.scale [--write-doc]`.

The client's verdicts in this process, without a link. One rule and 10 tools against 1,000 rules
and 5,000 tools: what a call costs, how long a list holds the event loop, as it does whoever else
waits for it, and how fast a result of 16 MiB is searched for a credential.
"""

import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import doc
from bench.policy import KINDS, SCHEMA, SECRET, SERVER, client_calls, names, policy_text, timed
from bench.upstreams import MIB, blob_document
from shared.grant import Grant
from shared.policy.document import read_policy
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind, item_of, spelling
from tunnel_client.catalog.listing import Listing
from tunnel_client.catalog.pins import Pins
from tunnel_client.credentials.scrub import Scrubber, Stream
from tunnel_client.judge import Judge, Passed

SMALL, LARGE = (1, 10), (1_000, 5_000)
"""Rules and tools."""
ROUNDS = 5
SECONDS = 0.2
BLOB = 16 * MIB
CHUNK = 64 * 1024
START = "<!-- scale: written by `python -m bench.scale --write-doc`, do not edit -->"
END = "<!-- end of scale -->"


class Held(NamedTuple):
    """Milliseconds for which one thing held the loop: the first time, and the worst after it."""

    first: float
    later: float


def rules_text(rules: int) -> str:
    """Return a policy of so many rules; of one, it lets everything pass."""
    if rules > 1:
        return policy_text(rules)
    return "version: 1\nrules:\n  - {id: all, match: {server: crm}, effect: allow}\n"


def per_call(size: tuple[int, int], seconds: float = SECONDS) -> float:
    """Return the microseconds of a verdict on a call of a tool that was called before."""
    rules, tools = size
    policy = read_policy(rules_text(rules), "bench")
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        calls = client_calls(policy, "read", tools, Path(folder))
        # As many calls are in use at a time, whatever else there is: else caches are measured.
        return timed(calls[:: max(1, len(calls) // 4)][:4], Passed, seconds).later


def held(work: Callable[[], object]) -> Held:
    """Take the times of the same work, done again and again."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e3)
    return Held(took[0], max(took[1:]))


def stalls(size: tuple[int, int]) -> dict[str, Held]:
    """Return how long the loop is held by what is done with a whole list of tools."""
    rules, tools = size
    policy = read_policy(rules_text(rules), "bench")
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        client_calls(policy, "read", tools, Path(folder))  # pins them all
        catalog = Catalog(Pins(Path(folder)), [SERVER])
    judge, now = Judge(lambda: policy, catalog), time.time()
    grant = Grant(
        *("0" * 32, "ada", "bench", "office", SERVER, ("support",), ()),
        *(now, now + 3600, "0" * 32, 1),
    )
    listed: list[Any] = [
        {"name": name, "description": f"What {name} does", "inputSchema": SCHEMA}
        for kind in KINDS
        for name in names(kind, tools)
    ]
    shown, found = {"result": {"tools": listed}}, Listing()
    for entry in listed:  # in a thread, as the client runs
        item = item_of(Kind.TOOL, entry)
        assert item is not None
        found.items[Kind.TOOL, item.name] = item
        found.spelled[spelling(entry)] = item.sha256
    learnt = held(lambda: catalog.learn(SERVER, found))
    for item in found.of(Kind.TOOL):  # a few at a time, as the client runs
        catalog.state(SERVER, item.name)
    return {
        "taking in a listing": learnt,
        "comparing a list with the pins": held(lambda: catalog.filter_tools(SERVER, list(listed))),
        "a verdict on each tool of it": held(lambda: judge.lists(grant)(shown)),
        "telling where each tool stands": held(lambda: catalog.snapshot(SERVER)),
    }


def scrubbing(size: int = BLOB) -> float:
    """Return the MB/s of searching a result in pieces as they come from an upstream."""
    scrubber, text = Scrubber([SECRET]), blob_document(size)
    pieces = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]

    def once() -> float:
        stream, began = Stream(scrubber), time.perf_counter()
        for piece in pieces:
            stream.feed(piece, False)
        stream.feed(b"", True)
        return len(text) / (time.perf_counter() - began) / 1e6

    return statistics.median(once() for _ in range(ROUNDS))


def report() -> str:
    """Measure everything; returns Markdown."""
    small, large = per_call(SMALL), per_call(LARGE)
    change = (large / small - 1) * 100
    lines = [
        f"A verdict, us: {small:.2f} with 1 rule and 10 tools,",
        f"{large:.2f} with 1,000 rules and 5,000 tools ({change:+.0f} %).",
        "",
        "| with 1,000 rules and 5,000 tools, ms | first | later, worst |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {what} | {took.first:.0f} | {took.later:.0f} |" for what, took in stalls(LARGE).items()
    ]
    speed = scrubbing()
    return "\n".join([*lines, "", f"A result of 16 MiB is searched at {speed:,.0f} MB/s."])


def main() -> None:
    """Print the figures; with --write-doc put them into docs/benchmarks.md."""
    text = report()
    print(text)
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{text}", START, END)


if __name__ == "__main__":
    main()
