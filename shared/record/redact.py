"""What of a call's arguments is written down: names that the tool declares, and tags.

A value stands in clear only where the operator listed its name for the class or the tool, and where
it is plain: a number, a boolean, or a short text that hides nothing. Everything else is a tag: an
HMAC by a key that is kept apart from the log, so that a value with few possibilities cannot be
found by trying them all, and an auditor with the key can test one.
"""

import re
from binascii import hexlify
from collections.abc import Collection, Mapping
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from shared.jsonrpc.canonical import canonical

KEY_BYTES = 32
PREFIX = "hmac:"
TAG_HEX = 32
MAX_CLEAR = 256
"""Characters of the longest text that is written as it is."""
MAX_ITEMS = 32
"""Values of the longest list that is looked at one by one."""
MAX_TEXT = 512
"""Characters kept of a text that explains something."""
MAX_BODY = 64 * 1024
"""Bytes of a request up to which arguments are looked at, and of what is written of them then.

A tag can be longer than its value. The body has a digest as a whole."""
LARGE = b'{"*":{"bytes":%d}}'
REST = "*"
"""Stands for all that the tool does not declare: names that an agent made up are not repeated."""
NOTHING = b"{}"
NO_SPELLING = b'{"*":"no one spelling"}'
_BLOCK = 64
_PLAIN = 10**40
_NONE: frozenset[str] = frozenset()
_SECRETS = re.compile(
    r"mt[sjrca]_[A-Za-z0-9_-]{8,}"
    r"|(?i:\b(?:bearer|basic|digest|negotiate|token)[ \t]+)[^\s\"',;]+"
    r"|(?i:\b(?:password|passwd|secret|api[_-]?key|access[_-]?token|authorization)\b\"?\s*[=:]\s*\"?)[^\s\"',;&]+"
    r"|[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
    r"|-----BEGIN [^-]*PRIVATE KEY-----.*"
    r"|\b[A-Za-z0-9+/_-]{32,}={0,2}",
    re.DOTALL,
)
"""What may be a secret in a text: addresses, words after `Bearer`, tokens, long runs of base64."""
_HIDES = re.compile(r"[{\[\"\\@?]|://|^hmac:|[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""A text with any of these may hold JSON, a login, a query or a line of its own."""

Fields = Mapping[str, tuple[bytes, bytes, bool]]
"""By name: where it stands in canonical order, how it is spelled, and whether in clear."""


class Redactor:
    """Knows the key of the tags and what may stand in clear, by class or `server/tool`."""

    __slots__ = ("_clear", "_inner", "_outer")

    def __init__(self, key: bytes, clear: Mapping[str, Collection[str]] | None = None) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a key of tags has 32 bytes")
        # RFC 2104 by hand: the states after the two padded keys are kept, which halves the cost.
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(each ^ 0x36 for each in padded))
        self._outer = sha256(bytes(each ^ 0x5C for each in padded))
        self._clear = {what: frozenset(names) for what, names in (clear or {}).items()}

    def __repr__(self) -> str:
        return "Redactor()"

    def tag(self, value: Any) -> str:
        """Return the tag of a JSON value; raises ValueError for what is none.

        Of the canonical spelling: 100 and 1e2 have one tag, 100 and "100" have two.
        """
        return PREFIX + self._tag(value).decode()

    def _tag(self, value: Any) -> bytes:
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
        return hexlify(outer.digest()[: TAG_HEX // 2])

    def fields(self, declared: Collection[str], tool_class: str = "", tool: str = "") -> Fields:
        """Return how the arguments that a tool declares are written; found once a tool."""
        clear = self._clear.get(tool_class, _NONE) | self._clear.get(tool, _NONE)
        return {
            name: (name.encode("utf-16-be"), encode_basestring(name).encode(), name in clear)
            for name in declared
            if name != REST and _is_name(name)
        }

    def arguments(self, given: Any, fields: Fields, size: int = 0) -> bytes:
        """Return the canonical spelling of what is written down; total.

        `size`: bytes of the request. Where either is large only that is said: see `MAX_BODY`.
        """
        if not given:
            return NOTHING
        if size > MAX_BODY:
            return LARGE % size
        try:
            if not isinstance(given, dict):
                return b'{"*":"%b"}' % self.tag(given).encode()
            spelled = self._object(given, fields)
            return spelled if len(spelled) <= MAX_BODY else LARGE % size
        except (ValueError, RecursionError):
            return NO_SPELLING

    def _object(self, given: dict[str, Any], fields: Fields) -> bytes:
        found: list[tuple[bytes, bytes]] = []
        rest: dict[str, Any] = {}
        for name, value in given.items():
            field = fields.get(name)
            if field is None:
                rest[name] = value
                continue
            at, spelled, clear = field
            if clear:
                found.append((at, b"%b:%b" % (spelled, canonical(self._clean(value)))))
            else:
                found.append((at, b'%b:"hmac:%b"' % (spelled, self._tag(value))))
        if rest:
            found.append((b"\0*", b'"*":"%b"' % self.tag(rest).encode()))
        if len(found) > 1:
            found.sort()
        return b"{" + b",".join([spelled for _, spelled in found]) + b"}"

    def _clean(self, value: Any) -> Any:
        """Return a value that may stand in clear, as far as it is plain."""
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            # A larger one is no finite number to many that read it: an export's sink, for one.
            return value if -_PLAIN < value < _PLAIN else self.tag(value)
        if isinstance(value, str):
            if len(value) > MAX_CLEAR:
                return {"length": len(value), "tag": self.tag(value)}
            hides = _HIDES.search(value) or _SECRETS.search(value)
            return self.tag(value) if hides else value
        if isinstance(value, list) and len(value) <= MAX_ITEMS:
            # A list in a list, or an object, has names or a shape that the agent chose.
            return [
                self.tag(each) if isinstance(each, (list, dict)) else self._clean(each)
                for each in value
            ]
        return self.tag(value)

    def text(self, text: str) -> str:
        """Return a text that explains something, an error's for example; total.

        What may be a secret is a tag, what breaks a line is a blank, and it is cut to `MAX_TEXT`.
        """
        shown = _SECRETS.sub(lambda found: self._tagged(found[0]), text[: 4 * MAX_TEXT])
        plain = "".join(each if each.isprintable() else " " for each in shown[: MAX_TEXT + 1])
        return plain if len(plain) <= MAX_TEXT else f"{plain[: MAX_TEXT - 1]}\u2026"

    def _tagged(self, secret: str) -> str:
        try:
            return self.tag(secret)
        except ValueError:
            return PREFIX + "?"


def _is_name(name: str) -> bool:
    """Tell whether a declared name has a spelling; a definition may hold anything."""
    return len(name) <= MAX_CLEAR and not any(0xD800 <= ord(each) <= 0xDFFF for each in name)
