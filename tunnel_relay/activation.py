"""Sockets that were opened for the relay before it started: systemd's protocol, sd_listen_fds(3).

Whoever holds them, systemd or the relay before, keeps the kernel taking connections while one
relay makes room for the next. They must be where the configuration says: that is what decides
whether a listener may do without TLS, and what doctor and `public_url` are about.
"""

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, fields

from tunnel_relay.errors import Code, RelayError
from tunnel_relay.setting_types import is_anywhere
from tunnel_relay.settings import AdminListen, LinksListen, Listen, Settings

FIRST = 3
"""Descriptors begin behind standard error."""
MOST = 16
VARIABLES = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass
class Inherited:
    """What each listener got, None where it opens a socket itself."""

    agents: socket.socket | None = None
    links: socket.socket | None = None
    admin: socket.socket | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) is not None for each in fields(self))


def take_sockets(settings: Settings, environ: MutableMapping[str, str]) -> Inherited:
    """Return the sockets that were handed to this process, and forget that they were.

    Raises RelayError SOCKET_UNUSABLE and SOCKET_UNWANTED.
    """
    pid, count, names = (
        environ.get(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    for name in VARIABLES:  # no child of ours may take them for its own
        environ.pop(name, None)
    if pid != str(os.getpid()):
        return Inherited()
    found = _names(count, names)
    return assign(settings, [(name, _opened(FIRST + at)) for at, name in enumerate(found)])


def _names(count: str, names: str) -> list[str]:
    """Return the name of each descriptor, `unknown` where it has none."""
    if not (count.isascii() and count.isdecimal() and len(count) < 4 and int(count) <= MOST):
        raise RelayError(Code.SOCKET_UNUSABLE, f"LISTEN_FDS is {count[:20]!r}, not 0 to {MOST}")
    found = names.split(":") if names else ["unknown"] * int(count)
    if len(found) != int(count):
        raise RelayError(
            Code.SOCKET_UNUSABLE, f"LISTEN_FDS is {count}, but LISTEN_FDNAMES has {len(found)}"
        )
    return found


def _opened(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise RelayError(
            Code.SOCKET_UNUSABLE, f"descriptor {descriptor} is no socket: {error.strerror}"
        ) from None


def assign(settings: Settings, given: Iterable[tuple[str, socket.socket]]) -> Inherited:
    """Give each socket to its listener: the one of its name, else the one of its address.

    Raises RelayError SOCKET_UNUSABLE and SOCKET_UNWANTED.
    """
    places = {"agents": settings.listen, "links": settings.links, "admin": settings.admin}
    taken = Inherited()
    for name, opened in given:
        place = _place(name, opened)
        if name in places:
            wanted, named = places[name], name
            if wanted is None or not _is_at(opened, wanted):
                there = "there is none" if wanted is None else f"{wanted.host}:{wanted.port}"
                raise RelayError(
                    Code.SOCKET_UNWANTED,
                    f"the socket {name} is at {place}; in the configuration: {there}",
                )
        else:
            named = _named(opened, places)
        if not named or getattr(taken, named) is not None:
            raise RelayError(Code.SOCKET_UNWANTED, f"no listener is left for the socket at {place}")
        opened.setblocking(False)
        setattr(taken, named, opened)
    return taken


_Places = dict[str, Listen | LinksListen | AdminListen | None]


def _named(opened: socket.socket, places: _Places) -> str:
    """Return the listener whose address a socket has, an empty string where none has."""
    fixed = {name: place for name, place in places.items() if place is not None and place.port}
    return next((name for name, place in fixed.items() if _is_at(opened, place)), "")


def _place(name: str, opened: socket.socket) -> str:
    """Return where a TCP socket listens; raises RelayError SOCKET_UNUSABLE for any other."""
    inet = opened.family in (socket.AF_INET, socket.AF_INET6)
    if (
        not inet
        or opened.type != socket.SOCK_STREAM
        or not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        raise RelayError(
            Code.SOCKET_UNUSABLE,
            f"descriptor {opened.fileno()} ({name[:40]!r}) is no TCP socket that listens",
        )
    host, port = opened.getsockname()[:2]
    return f"{host}:{port}"


def _is_at(opened: socket.socket, place: Listen | LinksListen | AdminListen) -> bool:
    host, port = opened.getsockname()[:2]
    if place.port not in (0, port):
        return False
    if is_anywhere(place.host):
        return is_anywhere(host)
    try:
        found = socket.getaddrinfo(place.host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(each[4][0] == host for each in found)
