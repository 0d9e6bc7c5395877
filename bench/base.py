"""What a started peer is."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from bench.procs import Group

HOST = "127.0.0.1"


@dataclass(slots=True)
class Target:
    """Where one thing of the upstream is reached through a peer."""

    port: int
    path: str
    # A session's token may be among them: never printed, never in argv.
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    # How agents speak TLS to it; None where they speak plain HTTP.
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}{self.path}"


# Opens that many idle links to a relay and keeps them for the length of a `with`.
OpenLinks = Callable[[int], AbstractContextManager[None]]


@dataclass(slots=True)
class Peer:
    """A started peer: its processes, and the way to `call`, `1m` and `16m` of the upstream.

    `relay_pids` are the processes of the public side alone, empty where there is no such side.
    `help_argv` is the command whose start is timed, `open_links` what makes idle links.
    """

    group: Group
    targets: Mapping[str, Target]
    relay_pids: tuple[int, ...] = ()
    help_argv: tuple[str, ...] = ()
    open_links: OpenLinks | None = None
