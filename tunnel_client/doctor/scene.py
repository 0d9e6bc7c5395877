"""What the checks of one `doctor` share: where to look, and what earlier checks found."""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from shared.link.driver import LinkDriver
from tunnel_client.dial import DialTarget
from tunnel_client.errors import NotAnsweringError
from tunnel_client.identity import Identity
from tunnel_client.settings import ClientSettings


@dataclass
class Scene:
    """One run. `now` is the wall clock; `daemon` the status of a running daemon, None without one.

    What has to be closed again is on `stack`.
    """

    settings: ClientSettings
    environ: Mapping[str, str]
    stack: AsyncExitStack
    daemon: Mapping[str, Any] | None = None
    now: Callable[[], float] = time.time
    token: SecretStr | None = None
    """A session token, for a call through the relay."""
    server: str | None = None
    """The upstream that is called through the relay."""
    unanswered: NotAnsweringError | None = None
    """Why nothing is known of a daemon that holds the state folder."""
    targets: list[DialTarget] = field(default_factory=list)
    """Every address of the relay."""
    target: DialTarget | None = None
    """The one that a check is about."""
    identity: Identity | None = None
    relay_time: tuple[float, float] | None = None
    """The time that the relay told, and the time here then."""
    held: Identity | None = None
    """The same, once this run holds its folder: no daemon can begin meanwhile."""
    driver: LinkDriver | None = None
    """A link of our own, while it is up."""
    session: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def way(self) -> DialTarget:
        """Where the relay is; only asked after the check of the configuration passed."""
        if self.target is None:
            raise RuntimeError("the configuration was not checked")
        return self.target
