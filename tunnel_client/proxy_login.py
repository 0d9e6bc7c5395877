"""The login of the proxy, read again whenever the relay is dialled: it may be rotated meanwhile."""

from collections.abc import Callable

import structlog
from pydantic import SecretStr

from tunnel_client.errors import ClientError

log = structlog.get_logger("tunnel_client")


class ProxyLogin:
    """Reads `user:password` where it is kept; the first time must succeed, or raises as `read`."""

    def __init__(self, read: Callable[[], SecretStr]) -> None:
        self._read = read
        self._last = read()
        self._told = ""

    def current(self) -> SecretStr:
        """Return the login as it is now, or the last one that could be read."""
        try:
            self._last, self._told = self._read(), ""
        except ClientError as error:
            # It may be exchanged just now. Said once: links are dialled over and over.
            if self._told != str(error):
                self._told = str(error)
                log.warning(
                    "the login of the proxy cannot be read; the one before holds", why=str(error)
                )
        return self._last
