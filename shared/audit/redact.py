"""How the arguments of a call are written down: by the names a tool declares, and as tags.

A tag is a keyed digest of a value's canonical spelling. Whoever has the key can test a guess; who
only has the log can not, however few values there are (attacks A11, A13).
"""

import secrets
from collections.abc import Collection, Mapping
from hashlib import sha256
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from shared.audit.private import AuditError, read_private, write_private
from shared.jsonrpc.canonical import canonical

KEY_FILE = "audit-tags.key"
KEY_BYTES = 32
TAG_HEX = 32
MAX_CLEAR = 1024
"""Bytes of the longest value that is written as it is."""
MAX_BODY = 64 * 1024
"""Bytes of the longest request whose arguments are looked at one by one; the body has a digest."""
REST = "*"
"""Stands for what the tool does not declare: names that an agent made up are not repeated."""
LARGE = b'{"*":"too large"}'
NOTHING = b"{}"
_BLOCK = 64
_PLAIN = 10**40
_NONE: frozenset[str] = frozenset()


class Redactor:
    """Knows the key of the tags and what may stand in clear, by class or `upstream/tool`."""

    def __init__(self, key: bytes, clear: Mapping[str, Collection[str]]) -> None:
        # RFC 2104 by hand: the states after the two padded keys are kept, which halves the cost.
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(each ^ 0x36 for each in padded))
        self._outer = sha256(bytes(each ^ 0x5C for each in padded))
        self._clear = {what: frozenset(names) for what, names in clear.items()}

    def tag(self, value: Any) -> str:
        """Return the tag of a value; raises ValueError for what is not JSON."""
        kind = type(value)
        if kind is str:
            spelled = encode_basestring(value).encode()
        elif kind is int and -_PLAIN < value < _PLAIN:
            spelled = b"%d" % value
        else:
            spelled = canonical(value)
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(spelled)
        outer.update(inner.digest())
        return outer.hexdigest()[:TAG_HEX]

    def fields(self, declared: Collection[str], tool_class: str, tool: str) -> "Fields":
        """Return how the arguments that a tool declares are written; found once a tool."""
        clear: Collection[str] = ()
        if self._clear:
            clear = self._clear.get(tool_class, _NONE) | self._clear.get(tool, _NONE)
        return {
            name: (name.encode("utf-16-be"), encode_basestring(name).encode(), name in clear)
            for name in declared
            if name != REST
        }

    def arguments(self, args: Any, fields: "Fields") -> bytes:
        """Return the canonical spelling of what is written down; total."""
        if not args:
            return NOTHING
        try:
            if not isinstance(args, dict):
                return b'{"*":"%b"}' % self.tag(args).encode()
            return self._object(args, fields)
        except ValueError:
            return b'{"*":"no one spelling"}'

    def _object(self, args: dict[str, Any], fields: "Fields") -> bytes:
        found: list[tuple[bytes, bytes]] = []
        rest: dict[str, Any] = {}
        for name, value in args.items():
            field = fields.get(name)
            if field is None:
                rest[name] = value
                continue
            at, key, clear = field
            spelled = canonical(value) if clear else b""
            if not spelled or len(spelled) > MAX_CLEAR:
                found.append((at, b'%b:{"hmac":"%b"}' % (key, self.tag(value).encode())))
            else:
                found.append((at, b"%b:%b" % (key, spelled)))
        if rest:
            tag = b'"*":{"hmac":"%b"}' % self.tag(rest).encode()
            found.append((REST.encode("utf-16-be"), tag))
        if len(found) > 1:
            found.sort()
        return b"{" + b",".join(spelled for _, spelled in found) + b"}"


Fields = Mapping[str, tuple[bytes, bytes, bool]]
"""By name: where it stands in canonical order, how it is spelled, and whether in clear."""


def read_or_make_key(state_dir: Path) -> bytes:
    """Return the key of the tags: it lies apart from the log. Raises AuditError."""
    path = state_dir / KEY_FILE
    try:
        text = read_private(path)
    except FileNotFoundError:
        text = secrets.token_hex(KEY_BYTES).encode() + b"\n"
        write_private(path, text)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise AuditError(f"{path} holds no key")
    return key
