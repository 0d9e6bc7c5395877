"""Which header fields pass the relay, in both directions (RFC 9110 section 7.6.1)."""

from collections.abc import Iterable

from shared.jsonrpc.param_headers import PARAM_PREFIX

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
    *(b"transfer-encoding", b"upgrade", b"http2-settings"),
}
_NEVER_IN = _HOP_BY_HOP | {
    # Said anew on the last hop.
    *(b"host", b"origin", b"referer", b"content-length", b"expect", b"accept-encoding"),
    *(b"content-encoding", b"accept-charset", b"range", b"if-range", b"a-im"),
    # Credentials and identities: the relay's own, or nobody's.
    *(b"authorization", b"cookie", b"x-api-key", b"api-key", b"x-auth-token", b"x-real-ip"),
    *(b"forwarded", b"via", b"x-original-url", b"x-rewrite-url", b"x-user", b"x-remote-user"),
    *(b"remote-user", b"x-http-method", b"x-http-method-override", b"x-method-override"),
    # Travels beside the headers, in the relay's own form.
    b"mcp-session-id",
}
_NEVER_IN_PREFIXES = (b"proxy-", b"x-forwarded-", b"x-upstream-", b"x-mcp-tunnel-", b"sec-")
_JUDGED = {b"accept", b"content-type"}
_JUDGED_PREFIX = b"mcp-"
_NEVER_OUT = _HOP_BY_HOP | {
    *(b"set-cookie", b"www-authenticate", b"proxy-authenticate", b"location", b"alt-svc"),
    *(b"server", b"date", b"strict-transport-security", b"mcp-session-id"),
}
_NEVER_OUT_PREFIXES = (b"access-control-", b"proxy-")

_CACHE_CAP = 2048


class _Rule:
    """A verdict per field name, remembered: names repeat on every call."""

    def __init__(self, never: set[bytes], prefixes: tuple[bytes, ...]) -> None:
        self._never = never
        self._prefixes = prefixes
        self._known: dict[bytes, bool] = {}

    def passes(self, name: bytes) -> bool:
        verdict = self._known.get(name)
        if verdict is None:
            verdict = self._judge(name)
            if len(self._known) < _CACHE_CAP:
                self._known[name] = verdict
        return verdict

    def _judge(self, name: bytes) -> bool:
        # Servers of the CGI kind read `Remote_User` as `Remote-User`, so both are one name here,
        # and a second spelling of a field that was judged does not pass beside it.
        spelled = name.replace(b"_", b"-")
        if spelled in self._never or spelled.startswith(self._prefixes):
            return False
        # What mirrors an argument is called what the tool calls it, `_` and all.
        if spelled == name or name.startswith(PARAM_PREFIX):
            return True
        return spelled not in _JUDGED and not spelled.startswith(_JUDGED_PREFIX)


_IN = _Rule(_NEVER_IN, _NEVER_IN_PREFIXES)
_OUT = _Rule(_NEVER_OUT, _NEVER_OUT_PREFIXES)


def forwarded(headers: Iterable[tuple[bytes, bytes]], connection: bytes | None) -> Headers:
    """Return what goes on to the upstream; names arrive in lower case.

    `connection` is the value of the Connection field: what it names is for this hop only.
    """
    passes = _IN.passes
    kept = [pair for pair in headers if passes(pair[0])]
    if connection and connection.strip().lower() not in (b"keep-alive", b"close"):
        named = {token.strip().lower() for token in connection.split(b",")}
        # The fields that routing is judged by cannot be stripped by naming them here.
        kept = [pair for pair in kept if pair[0] not in named or pair[0].startswith(b"mcp-")]
    return kept


def returned(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return what goes back to the agent."""
    passes = _OUT.passes
    return [pair for pair in headers if passes(pair[0])]
