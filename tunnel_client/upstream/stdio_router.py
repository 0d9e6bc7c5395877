"""Which exchange a message of the shared child belongs to; whatever belongs to none is dropped."""

import asyncio
from collections.abc import Callable
from typing import Any

from tunnel_client.upstream.stdio_answers import NotJsonError, one_line, read_message
from tunnel_client.upstream.stdio_exchange import ModernExchange
from tunnel_client.upstream.stdio_remap import SUBSCRIPTION_KEY, Mapping, Names, meta_of

_TOOLS_CHANGED = "notifications/tools/list_changed"

Answered = Callable[[dict[str, Any] | None, int], None]
"""Takes a result, or None when there is none, and the bytes of the line it came in."""


class Router:
    """The tables of names; `note` puts a line about the child into the log, capped in rate."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._by_id: dict[str, ModernExchange] = {}
        self._by_token: dict[str, ModernExchange] = {}
        self._asked: dict[str, Answered] = {}
        self._logging: dict[ModernExchange, None] = {}
        self._tainted: set[str] = set()
        self.names = Names()
        self.now = asyncio.get_running_loop().time

    def sent(self, exchange: ModernExchange, mapping: Mapping) -> None:
        """Remember an exchange whose request goes to the child now."""
        self._by_id[mapping.id] = exchange
        if mapping.token is not None:
            self._by_token[mapping.token] = exchange
        if exchange.logs:
            self._logging[exchange] = None

    def asked(self, then: Answered) -> str:
        """Return the id for a request of our own."""
        name = self.names.new()
        self._asked[name] = then
        return name

    def abandoned(self, exchange: ModernExchange) -> None:
        """Note that the child may go on logging for a request that is not here any more."""
        if exchange.logs:
            self._tainted.add(exchange.session)

    def forget(self, exchange: ModernExchange) -> None:
        """Drop what comes for an exchange from now on."""
        mapping = exchange.mapping
        if mapping is not None:
            self._by_id.pop(mapping.id, None)
            self._by_token.pop(mapping.token or "", None)
            self._logging.pop(exchange, None)

    def clear(self) -> None:
        """The child is gone."""
        asked, self._asked = self._asked, {}
        for table in (self._by_id, self._by_token, self._logging):
            table.clear()
        self._tainted.clear()
        for then in asked.values():
            then(None, 0)

    def line(self, line: bytes) -> tuple[ModernExchange | None, bool]:
        """Deliver one line; return the exchange it ended, and whether it says the tools changed."""
        try:
            message = read_message(line)
        except NotJsonError as error:
            self._note(f"line skipped: {error}")
            return None, False
        if "method" not in message:
            return self._answer(line, message), False
        if "id" in message:
            self._note("request of the server dropped: the modern era has none")
            return None, False
        return self._notification(line, message), message["method"] == _TOOLS_CHANGED

    def _answer(self, line: bytes, message: dict[str, Any]) -> ModernExchange | None:
        name = message.get("id")
        if type(name) is not str:
            self._note("answer without a known id dropped")
            return None
        then = self._asked.pop(name, None)
        if then is not None:
            result = message.get("result")
            then(result if type(result) is dict else None, len(line))
            return None
        exchange = self._by_id.get(name)
        if exchange is not None and exchange.mapping is not None:
            error = message.get("error")
            code = error.get("code") if type(error) is dict else None
            exchange.result(exchange.mapping.incoming(one_line(line)), code)
        return exchange

    def _notification(self, line: bytes, message: dict[str, Any]) -> ModernExchange | None:
        params = message.get("params")
        if type(params) is not dict:
            return None
        if message["method"] == "notifications/cancelled":
            # Only for a listen: on stdio its stream has no other end (2026-07-28, stdio).
            exchange = self._named(self._by_id, params.get("requestId"))
            if exchange is not None:
                exchange.close()
            return exchange
        exchange = self._target(message["method"], params, meta_of(message))
        if exchange is not None and exchange.mapping is not None:
            exchange.message(exchange.mapping.incoming(one_line(line)))
        return None

    def _target(
        self, method: object, params: dict[str, Any], meta: dict[str, Any]
    ) -> ModernExchange | None:
        if SUBSCRIPTION_KEY in meta:
            return self._named(self._by_id, meta[SUBSCRIPTION_KEY])
        if method == "notifications/progress":
            return self._named(self._by_token, params.get("progressToken"))
        if method == "notifications/message":
            return self._log_target()
        return None

    def _log_target(self) -> ModernExchange | None:
        """A log message names no request: it is passed on only if it can be but one session's."""
        sessions = {exchange.session for exchange in self._logging}
        if len(sessions) != 1 or not self._tainted <= sessions:
            return None
        return next(reversed(self._logging))

    @staticmethod
    def _named(table: dict[str, ModernExchange], name: object) -> ModernExchange | None:
        return table.get(name) if type(name) is str else None
