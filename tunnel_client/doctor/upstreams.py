"""Each upstream: does it answer, in which era, what of it is pinned, who may call it.

A stdio server is not started a second time beside the one a daemon runs: then the daemon is asked
what it knows. An HTTP server is asked in any case, with a connection of our own.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio

from shared.checkup import Check
from shared.policy.classes import ToolClass
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.listing import Listing, list_upstream
from tunnel_client.catalog.pins import Pins
from tunnel_client.doctor.errors import (
    NothingPinnedError,
    NotMcpError,
    PolicyDeniesError,
    UpstreamDownError,
)
from tunnel_client.doctor.reach import reachable
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import ListingError, NoCredentialError, UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream_probe import Report, explain, introduce
from tunnel_client.upstreams import guards_of, make_upstream

SECONDS = 10.0
"""For one upstream: a program may have to start."""


def checks_of(upstreams: list[UpstreamSettings]) -> list[Check[Scene]]:
    """Return the lines of every upstream: what it answers, then who may call it."""
    found: list[Check[Scene]] = []
    for each in upstreams:
        name = f"upstream {each.name}"
        # A program may not be started beside one that a daemon runs which does not answer.
        needs = ("config",) if each.url is not None else ("config", "daemon")
        found.append(Check(name, partial(upstream, each), needs, SECONDS))
        policy = f"policy {each.name}"
        found.append(Check(policy, partial(permitted, each.name), (name, "policy file")))
    return found


async def upstream(settings: UpstreamSettings, scene: Scene) -> str:
    """Does it answer, and is something of it pinned?"""
    if settings.url is None and scene.daemon is not None:
        return _told(settings, scene.daemon)
    guards = guards_of(scene.settings)
    level = ""
    if settings.url is None:
        guard = guards.of(settings, scene.environ)
        refusal = guard.refusal()
        if refusal is not None:
            raise refusal
        level = f"; sandbox: {guard.reached}"
    made = make_upstream(settings, scene.environ, guards, scene.settings.vault)
    unpinned = [settings.name] if settings.pinning == "off" else []
    pins = Pins(scene.settings.state_dir)
    catalog = Catalog(pins, [settings.name], unpinned, marked=lambda: None)
    report, listing = await _answers(made)
    catalog.learn(settings.name, listing)
    count = len(listing.of(Kind.TOOL))
    return f"{_eras(report)}; {judge_pins(settings.name, count, catalog.status(settings.name))}" + (
        level
    )


async def _answers(made: Upstream) -> tuple[Report, Listing]:
    await made.start()
    try:
        try:
            return await introduce(made), await list_upstream(made)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                await made.aclose()
    except (UpstreamTestError, ListingError) as error:
        judged = judge_silence(error)
        explain(judged, made)  # a program that is over may have said why
        raise judged from None


def judge_silence(error: ClientError) -> ClientError:
    """Tell an upstream that is not there from one that is something else. Pure."""
    if isinstance(error, NoCredentialError):
        return error
    if getattr(error, "unreachable", False):
        return UpstreamDownError(error.cause)
    return NotMcpError(error.cause)


def judge_pins(name: str, listed: int, facts: Mapping[str, Any]) -> str:
    """Say how its tools stand; raises NothingPinnedError when agents can call none. Pure."""
    if facts["pinning"] != "required":
        return f"{listed} tools, PINNING IS {facts['pinning']}"
    stand = ", ".join(f"{facts[word]} {word}" for word in ("pinned", "new", "changed", "gone"))
    if listed and not facts["pinned"]:
        raise NothingPinnedError(
            f"{name} lists {listed} tools, and agents can call none: {stand}",
            f"tunnel-client tool pin {name}",
        )
    quarantined = facts["new"] + facts["changed"]
    return f"{listed} tools: {stand}; {quarantined} quarantined"


def _told(settings: UpstreamSettings, daemon: Mapping[str, Any]) -> str:
    """Say what the daemon knows of a program it runs; raises what keeps it from running it."""
    programs = [each for each in daemon.get("stdio", ()) if each.get("name") == settings.name]
    facts = daemon.get("tools", {}).get(settings.name, {})
    if programs and programs[0].get("refused"):
        raise UpstreamDownError(
            str(programs[0]["refused"]), f"tunnel-client consent approve {settings.name}"
        )
    if facts.get("listing_error"):
        raise NotMcpError(str(facts["listing_error"]))
    count = sum(facts.get(word, 0) for word in ("pinned", "new", "changed"))
    level = f"; sandbox: {programs[0]['sandbox']}" if programs else ""
    if "pinning" not in facts or not facts.get("listed"):
        return f"the daemon has not listed it yet{level}"
    return f"as the daemon knows it: {judge_pins(settings.name, count, facts)}{level}"


def _eras(report: Report) -> str:
    modern = f"server/discover: {', '.join(report.modern)}" if report.modern else ""
    legacy = f"initialize: {report.legacy}" if report.legacy else ""
    return ", ".join(each for each in (modern, legacy) if each)


async def permitted(name: str, scene: Scene) -> str:
    """Does the policy let anybody call one of its tools?"""
    pins = Pins(scene.settings.state_dir).of(name, Kind.TOOL)
    tools: list[tuple[str, ToolClass | None]] = [
        (pin.name, pin.tool_class) for pin in pins.values()
    ]
    # Without pins it is about any tool: whatever it is called, of whatever class.
    known = tools or [("any-tool", each) for each in (None, *ToolClass)]
    count = reachable(scene.facts["policy"], name, known)
    if not count:
        what = f"each of the {len(tools)} pinned tools" if tools else "every tool"
        raise PolicyDeniesError(f"the policy denies {what} of {name} to everybody")
    return f"{count} of {len(tools)} pinned tools can be called by somebody" if tools else "open"
