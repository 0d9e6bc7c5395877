"""uvicorn as our listeners use it: no signals, a line for where it listens, errors with codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn

from tunnel_relay.errors import Code, RelayError

log = structlog.get_logger("tunnel_relay")


class Server(uvicorn.Server):
    """Leaves the process's signals to the program; `event` is what the log calls its start."""

    event = "listening"

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then report the ports (port 0 in the settings picks a free one).

        Raises RelayError CANNOT_LISTEN.
        """
        try:
            await super().startup(sockets)
        except SystemExit as error:
            # uvicorn's way to give up; its cause is what an operator can do something about.
            place = f"{self.config.host}:{self.config.port}"
            raise RelayError(Code.CANNOT_LISTEN, f"{place}: {error.__context__}") from None
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                facts = {"host": host, "port": port, "tls": self.config.is_ssl}
                log.info(self.event, **facts, inherited=sockets is not None)
