"""uvicorn as the relay uses it: no signals, a quick end, a line for where it listens, codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import structlog
import uvicorn

from tunnel_relay.errors import Code, RelayError

log = structlog.get_logger("tunnel_relay")


TICK_SECONDS = 0.1
LOOK_SECONDS = 0.005


class QuietServer(uvicorn.Server):
    """Leaves the process's signals to the program, and ends as soon as nothing is left.

    uvicorn's own sleeps for a tenth of a second here and there, and the relay that takes over would
    wait for each of them.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = anyio.Event()

    def stop(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._stopped.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def main_loop(self) -> None:
        """Keep uvicorn's clock until `stop`."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            with anyio.move_on_after(TICK_SECONDS):
                await self._stopped.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        """Close everything, and wait for what is still written, as long as the settings say."""
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with anyio.move_on_after(self.config.timeout_graceful_shutdown):
            while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110 - sets
                await anyio.sleep(LOOK_SECONDS)
        for task in state.tasks:
            task.cancel()


class Server(QuietServer):
    """A listener's server; `event` is what the log calls its start."""

    event = "listening"

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = anyio.Event()

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
        self.listens.set()
