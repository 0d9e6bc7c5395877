"""Certificates of the listeners, read again while they serve: the next handshake gets the new one.

A context that is given another certificate keeps the old one beside it where the kind of key has
changed, and is left with half of both where the files do not fit. So each reading makes a context
of its own, and a handshake is told by the server-name callback, which comes without a name too,
which one is current.
"""

import ssl
from collections.abc import Callable
from typing import Any

import anyio
import structlog

from shared.rereading import Part
from tunnel_relay.checks import check_tls
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.settings import Settings, Tls

log = structlog.get_logger("tunnel_relay")


class Certificate:
    """That of one listener; connections that are open keep the one they began with."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._current = check_tls(tls)

    def context(self, *_: Any) -> ssl.SSLContext:
        """Return what the listener is made with (uvicorn's `ssl_context_factory`)."""
        first = check_tls(self._tls)
        first.sni_callback = self._choose
        return first

    def _choose(self, handshake: ssl.SSLObject, _name: str, _first: ssl.SSLContext) -> None:
        handshake.context = self._current

    def read_again(self) -> None:
        """Take what is in the files now; raises RelayError and keeps the one before."""
        # Read once: between a check and another reading the files may be exchanged.
        self._current = check_tls(self._tls)


class Certificates:
    """Those of all listeners; raises RelayError FILE_UNSAFE, KEY_UNUSABLE."""

    def __init__(self, settings: Settings) -> None:
        places = (settings, settings.links, settings.admin)
        each = {place.tls for place in places if place is not None and place.tls is not None}
        self._made = {tls: Certificate(tls) for tls in each}

    def factory(self, tls: Tls | None) -> Callable[..., ssl.SSLContext] | None:
        """Return what makes the context of a listener, None where it does without TLS."""
        return None if tls is None else self._made[tls].context

    @property
    def part(self) -> Part:
        """What SIGHUP has read again."""
        return Part("certificate", self._part)

    async def _part(self) -> str:
        good = await anyio.to_thread.run_sync(self.read_again)
        return "" if good else "certificate refused"

    def read_again(self) -> bool:
        """Read all of them; tells whether each could be used. Reads files."""
        good = True
        for tls, made in self._made.items():
            facts = {"cert_file": str(tls.cert_file)}
            try:
                made.read_again()
            except (RelayError, OSError, ValueError) as error:
                good = False
                code = error.code if isinstance(error, RelayError) else Code.KEY_UNUSABLE
                log.error("certificate_unusable", code=code, reason=str(error), **facts)
            else:
                log.info("certificate_read", **facts)
        return good
