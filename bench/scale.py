"""What a large catalogue costs: `python -m bench.scale [--search] [--write-doc]`.

The client's verdicts in this process, without a link. One rule and 10 tools against 1,000 rules
and 5,000 tools: what a call costs, how long a list holds the event loop, as it does whoever else
waits for it. With `--search`, how fast results of 16 MiB are searched for a credential.
"""

import base64
import datetime
import json
import random
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
SEARCH_START = (
    "<!-- search: written by `python -m bench.scale --search --write-doc`, do not edit -->"
)
SEARCH_END = "<!-- end of search -->"


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


def texts(size: int = BLOB) -> dict[str, bytes]:
    """Return what is searched: what servers answer, and what costs a search most."""
    draw = random.Random(1)
    binary = draw.randbytes(3 * MIB // 4)
    words = b" ".join(draw.choice((b"the", b"order", SECRET[:4].encode())) for _ in range(30_000))
    rows = [{"id": draw.randrange(10**6), "note": 'a "b"\nline', "by": "Zoë"} for _ in range(3000)]
    signs = [draw.randrange(32, 127) for _ in range(100_000)]
    made = {
        "JSON": json.dumps(rows).encode(),
        "JSON within JSON": json.dumps(json.dumps(rows)).encode(),
        "words": words,
        "base64": base64.b64encode(binary),
        "base64 in lines, in JSON": json.dumps(base64.encodebytes(binary).decode()).encode(),
        "hex": binary.hex().encode(),
        "any bytes": binary,
        "1 % of it percent-encoded": b"%20".join(
            words[at : at + 97] for at in range(0, 99_999, 97)
        ),
        "1 % of it escaped": b"\\u00e9".join(words[at : at + 97] for at in range(0, 99_999, 97)),
        "all of it percent-encoded": b"".join(b"%%%02X" % sign for sign in signs),
        "all of it escaped": b"".join(b"\\u%04x" % sign for sign in signs),
        "backslashes": b"\\" * 1000,
    }
    whole = {"a result of one string": blob_document(size)}
    return whole | {name: (text * (size // len(text) + 1))[:size] for name, text in made.items()}


def scrubbing(text: bytes) -> float:
    """Return the MB/s of searching a result in pieces as they come, by processor time."""
    scrubber = Scrubber([SECRET])
    pieces = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]

    def once() -> float:
        stream, began = Stream(scrubber), time.process_time()
        for piece in pieces:
            stream.feed(piece, False)
        stream.feed(b"", True)
        return len(text) / (time.process_time() - began) / 1e6

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
    return "\n".join(lines)


def search_report() -> str:
    """Measure the search of every text; returns Markdown."""
    lines = ["| a result of 16 MiB, of | MB/s |", "| --- | ---: |"]
    speeds = {name: scrubbing(text) for name, text in texts().items()}
    lines += [f"| {name} | {speed:,.0f} |" for name, speed in speeds.items()]
    slowest = min(speeds, key=lambda name: speeds[name])
    return "\n".join([*lines, f"| slowest: {slowest} | {speeds[slowest]:,.0f} |"])


def main() -> None:
    """Print the figures; with --write-doc put them into docs/benchmarks.md."""
    search = "--search" in sys.argv
    text = search_report() if search else report()
    print(text)
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        markers = (SEARCH_START, SEARCH_END) if search else (START, END)
        doc.write(f"{when}\n\n{text}", *markers)


if __name__ == "__main__":
    main()
