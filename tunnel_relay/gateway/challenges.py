"""What a request without a good token is told: where to get one (RFC 9728 section 5.1)."""

from collections.abc import Sequence

from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.identity.resources import PRM, SCOPE, origins_by_host

MAX_KEPT = 1024


class Challenges:
    """Answers of 401 by path, the same whatever is wrong with the token; 403 for its scope."""

    def __init__(
        self, public_urls: Sequence[str], discovery: bool, scopes: Sequence[str] = (SCOPE,)
    ) -> None:
        self._origins = {
            host.encode(): origin for host, origin in origins_by_host(public_urls).items()
        }
        self._realm = public_urls[0]
        self._discovery = discovery
        self._scopes = scopes
        self._kept: dict[tuple[bytes, bytes, bool, bool], Answer] = {}

    def answer(
        self, host: bytes, path: bytes, token_sent: bool, insufficient: bool = False
    ) -> Answer:
        """Return the answer for a path that has the form of a server's; `host` is one of ours."""
        key = host, path, token_sent, insufficient
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._make(host, path, token_sent, insufficient)
        return found

    def narrowed(self, host: bytes, path: bytes, scope: str) -> Answer:
        """Return the answer to a call of a class that the user did not consent to (RFC 6750)."""
        origin = self._origins.get(host.lower(), self._realm)
        where = f"{origin}{PRM}{path.decode('ascii')}" if self._discovery else None
        return answers.insufficient_scope(self._realm, where, scope.split())

    def _make(self, host: bytes, path: bytes, token_sent: bool, insufficient: bool) -> Answer:
        origin = self._origins.get(host.lower(), self._realm)
        where = f"{origin}{PRM}{path.decode('ascii')}" if self._discovery else None
        if insufficient:
            return answers.insufficient_scope(self._realm, where, self._scopes)
        return answers.unauthorized(self._realm, token_sent, where, self._scopes)
