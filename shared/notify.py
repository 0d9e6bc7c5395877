"""What a program tells its service manager: datagrams as of sd_notify(3).

Given the address and the time by its caller. A manager that is gone or does not listen is no
reason to stop serving, so nothing here raises for it.
"""

import socket
import time

MAX_STATUS = 200


class Notifier:
    """Sends to `address`, a path or `@` and an abstract name; without one it sends nothing."""

    def __init__(self, address: str | None) -> None:
        self._address = address if address and address[0] in "/@" else None

    @property
    def listening(self) -> bool:
        """Somebody asked to be told."""
        return self._address is not None

    def send(self, *lines: str) -> bool:
        """Send assignments such as `READY=1` in one datagram; tells whether they left."""
        if self._address is None:
            return False
        name = self._address
        place = b"\0" + name[1:].encode() if name[0] == "@" else name.encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
                out.sendto("\n".join(lines).encode(), place)
        except OSError:
            return False
        return True

    def ready(self, status: str) -> None:
        """Serving has begun, or a reload is over."""
        self.send("READY=1", f"STATUS={one_line(status)}")

    def alive(self, status: str) -> None:
        """There was progress."""
        self.send("WATCHDOG=1", f"STATUS={one_line(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """The end begins."""
        self.send("STOPPING=1")


def one_line(text: str) -> str:
    """Return the text without what would begin another assignment."""
    return "".join(each if each.isprintable() else " " for each in text)[:MAX_STATUS]
