"""Run the MCP conformance suite directly and through a hop, and compare check by check.

    python -m tests.system.conformance                  # what `make conformance` runs
    python -m tests.system.conformance --row injector

Exits with 1 when the fixture itself does not pass, or when a hop changes anything that
`STDIO_DIFFERENCES` does not list.
"""

import argparse
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import anyio
from pydantic import SecretStr

from tests.helpers.conformance_suite import (
    TOTALS,
    VERSIONS,
    Comparison,
    Expected,
    SuiteRun,
    compare,
    run_suite,
)
from tests.helpers.fixture_process import ROOT, http_fixture, stdio_command
from tests.helpers.header_injector import Target, header_injector
from tests.helpers.tunnel import HttpUpstream, Lab, StdioUpstream, start_tunnel

# Every tool of the fixture is pinned, and what it offers and asks for is allowed by its name.
POLICY = """\
version: 1
rules:
  - id: tools-of-the-fixture
    match: {server: server, tool: ["test_*", json_schema_2020_12_tool]}
    effect: allow
  - id: prompts-of-the-fixture
    match: {server: server, prompt: "test_*"}
    effect: allow
  - id: resources-of-the-fixture
    match: {server: server, resource: "test://*"}
    effect: allow
  - id: completions-and-subscriptions
    match: {server: server, method: [completion/complete, subscriptions/listen]}
    effect: allow
  - id: the-fixture-may-ask
    match: {server: server, method: [sampling/createMessage, elicitation/create, roots/list]}
    effect: allow
"""

_POLLING = "server-sse-polling"
_NO_STREAM = (
    "the tool closes its own HTTP stream in mid-call, and over stdio a server has none to close: "
    "the answer comes on the first stream, so there is nothing to resume"
)

# What cannot be the same when the upstream speaks stdio. Every entry must come true, or it goes.
STDIO_DIFFERENCES: tuple[Expected, ...] = (
    Expected(
        "2025-11-25", _POLLING, "server-sse-disconnect-resume", frozenset({"INFO"}), _NO_STREAM
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One hop to judge: how it is put in front of the fixture, and what it may change.

    `through` gets the URL of the fixture and yields the URL that the suite is to call.
    """

    name: str
    through: Callable[[str], AbstractAsyncContextManager[str]]
    expected: tuple[Expected, ...] = ()


@asynccontextmanager
async def _injector_alone(fixture_url: str) -> AsyncIterator[str]:
    async with header_injector(Target(fixture_url)) as url:
        yield url


@asynccontextmanager
async def _http_upstream(fixture_url: str) -> AsyncIterator[str]:
    # A credential of its own, so that every answer of the suite is looked through for it.
    credential = SecretStr(secrets.token_urlsafe(32))
    async with _with_token(HttpUpstream(fixture_url, credential)) as url:
        yield url


@asynccontextmanager
async def _stdio_upstream(_: str) -> AsyncIterator[str]:
    async with _with_token(StdioUpstream(stdio_command(), ROOT)) as url:
        yield url


def prepare(lab: Lab) -> None:
    """Ask for pins and a policy that names what it allows, as any operator would."""
    lab.policy, lab.pinned = POLICY, True


@asynccontextmanager
async def _with_token(upstream: HttpUpstream | StdioUpstream) -> AsyncIterator[str]:
    async with (
        start_tunnel(upstream, prepare) as (endpoint, token),
        header_injector(Target(endpoint, token)) as url,
    ):
        yield url


# The first row shows that what stands in front of the tunnel changes nothing by itself.
ROWS: Mapping[str, Row] = {
    "injector": Row("header injector alone", _injector_alone),
    "http": Row("tunnel, HTTP upstream", _http_upstream),
    "stdio": Row("tunnel, stdio upstream", _stdio_upstream, STDIO_DIFFERENCES),
}
DEFAULT_ROWS = ("http", "stdio")


async def direct_runs(fixture_url: str, versions: Sequence[str] = VERSIONS) -> dict[str, SuiteRun]:
    """Return the run of each spec version against the fixture itself."""
    return {version: await run_suite(fixture_url, version) for version in versions}


async def compare_row(
    row: Row, fixture_url: str, direct: Mapping[str, SuiteRun]
) -> list[Comparison]:
    """Return the comparison of each spec version of `direct` through one hop."""
    async with row.through(fixture_url) as url:
        return [
            compare(run, await run_suite(url, version), row.expected)
            for version, run in direct.items()
        ]


def honest(run: SuiteRun) -> bool:
    """Tell whether the fixture itself passes, so that its results say something about a hop."""
    return run.passed == TOTALS[run.version] and not run.not_passed()


def _print_direct(runs: Mapping[str, SuiteRun]) -> None:
    _print_line("direct", "passed", "", "")
    for run in runs.values():
        short = "" if honest(run) else f"expected {TOTALS[run.version]}/0"
        _print_line(run.version, _passed(run), "", short)
        for key, status in run.not_passed().items():
            print(f"      {key.scenario} / {key.check} #{key.occurrence}: {status}")


def _print_row(row: Row, comparisons: list[Comparison]) -> None:
    print()
    _print_line(row.name, "direct", "through", "differences")
    for found in comparisons:
        direct, through = found.direct, found.through
        counts = f"{len(found.unexpected)} unexpected, {len(found.excused)} expected"
        told = counts if found.unexpected or found.excused else "none"
        _print_line(direct.version, _passed(direct), _passed(through), told)
        for difference in found.unexpected:
            print(f"      unexpected: {difference}")
        for difference in found.excused:
            print(f"      expected: {difference}")
        for item in found.stale:
            print(f"      differs no longer, take it off the list: {item.scenario} / {item.check}")


def _passed(run: SuiteRun) -> str:
    return f"{run.passed}/{run.failed}"


def _print_line(first: str, direct: str, through: str, told: str) -> None:
    print(f"{first:<26}{direct:>9}{through:>9}  {told}".rstrip())


async def run(names: tuple[str, ...]) -> bool:
    """Run and print everything; return whether all of it is as it should be."""
    async with http_fixture() as fixture_url:
        direct = await direct_runs(fixture_url)
        _print_direct(direct)
        good = all(honest(run) for run in direct.values())
        for name in names:
            comparisons = await compare_row(ROWS[name], fixture_url, direct)
            _print_row(ROWS[name], comparisons)
            good = good and all(found.agrees for found in comparisons)
    print("\nno unexpected differences" if good else "\nFAILED")
    return good


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="MCP conformance, direct and through a hop.")
    parser.add_argument("--row", action="append", choices=list(ROWS), help="may be repeated")
    names = tuple(parser.parse_args().row or DEFAULT_ROWS)
    sys.exit(0 if anyio.run(run, names) else 1)


if __name__ == "__main__":
    main()
