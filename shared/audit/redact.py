"""How the arguments of a call are written down: by the names a tool declares, and as tags.

A tag is a keyed digest of a value's canonical spelling. Whoever has the key can test a guess; who
only has the log can not, however few values there are (attacks A11, A13).
"""

import hmac
import secrets
from collections.abc import Collection, Mapping
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


class Redactor:
    """Knows the key of the tags and what may stand in clear, by class or `upstream/tool`."""

    def __init__(self, key: bytes, clear: Mapping[str, Collection[str]]) -> None:
        self._key = key
        self._clear = {what: frozenset(names) for what, names in clear.items()}

    def tag(self, value: Any) -> str:
        """Return the tag of a value; raises ValueError for what is not JSON."""
        spelled = encode_basestring(value).encode() if type(value) is str else canonical(value)
        return hmac.digest(self._key, spelled, "sha256").hex()[:TAG_HEX]

    def arguments(self, args: Any, declared: Collection[str], tool_class: str, tool: str) -> bytes:
        """Return the canonical spelling of what is written down; total."""
        if not args:
            return NOTHING
        try:
            if not isinstance(args, dict):
                return b'{"*":"%b"}' % self.tag(args).encode()
            return self._object(args, declared, tool_class, tool)
        except ValueError:
            return b'{"*":"no one spelling"}'

    def _object(
        self, args: dict[str, Any], declared: Collection[str], tool_class: str, tool: str
    ) -> bytes:
        clear = self._clear and self._clear.get(tool_class, frozenset()) | self._clear.get(
            tool, frozenset()
        )
        found: list[tuple[bytes, bytes]] = []
        rest: dict[str, Any] = {}
        for name, value in args.items():
            if name not in declared or name == REST:
                rest[name] = value
                continue
            spelled = canonical(value) if name in clear else b""
            if not spelled or len(spelled) > MAX_CLEAR:
                spelled = b'{"hmac":"%b"}' % self.tag(value).encode()
            found.append((name.encode("utf-16-be"), b"%b:%b" % (_text(name), spelled)))
        if rest:
            tag = b'"*":{"hmac":"%b"}' % self.tag(rest).encode()
            found.append((REST.encode("utf-16-be"), tag))
        found.sort()
        return b"{" + b",".join(spelled for _, spelled in found) + b"}"


def _text(name: str) -> bytes:
    return encode_basestring(name).encode()


def read_or_make_key(state_dir: Path) -> bytes:
    """Return the key of the tags: it lies apart from the log. Raises AuditError."""
    path = state_dir / KEY_FILE
    try:
        key = read_private(path)
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        write_private(path, key)
    if len(key) != KEY_BYTES:
        raise AuditError(f"{path} holds no key")
    return key
