"""Start a relay and a client in front of a private MCP server, as the tests and the demo do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """A private MCP server that already serves Streamable HTTP at `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class StdioUpstream:
    """A private MCP server that the client starts itself: an argument list, never a shell."""

    command: tuple[str, ...]
    working_directory: Path


class RunningTunnel(NamedTuple):
    """Where agents call, and the session token that they have to send."""

    url: str
    token: SecretStr


@asynccontextmanager
async def start_tunnel(upstream: HttpUpstream | StdioUpstream) -> AsyncIterator[RunningTunnel]:
    """Run relay and client in front of `upstream` and yield the endpoint; both are gone after.

    The endpoint is on loopback, because the conformance suite only checks rebinding there.
    """
    raise NotImplementedError(f"no relay to start in front of {upstream}")
    yield  # type: ignore[unreachable]  # makes this a generator
