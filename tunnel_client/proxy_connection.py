"""A connection that an HTTP proxy is asked to make; imported where there is a proxy only."""

from websockets.asyncio.client import HTTPProxyConnection


class ProxyHungUpError(ConnectionError):
    """The proxy closed the connection and had not answered."""


class ProxyConnection(HTTPProxyConnection):
    """The library's, with an end of its own: it raises in the loop where a proxy hangs up."""

    def eof_received(self) -> None:
        """Take the end of what the proxy sends."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail who still waits for an answer."""
        if not self.response.done():
            self.response.set_exception(ProxyHungUpError("the proxy hung up"))
