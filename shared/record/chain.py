"""The chain of a log: its lines, and the hash that ties each to the one before.

A line is `{"hash":"H","record":R}` and a newline. H is SHA-256 of a zero byte, the hash before it
and the bytes of R: one digest is the link of the chain, and the leaf of the tree of RFC 6962 whose
leaves' data is the hash before and the record together.
"""

import binascii
import re
from binascii import hexlify
from collections.abc import Callable, Iterable
from hashlib import sha256

START = bytes(32)
"""What the first record of a log follows."""
MAX_LINE = 300 * 1024
"""Bytes of the longest line that is read; nobody writes one as long."""
_HEAD, _MIDDLE, _TAIL = b'{"hash":"', b'","record":', b"}\n"
_AT = len(_HEAD)
RECORD_AT = _AT + 64 + len(_MIDDLE)
"""Where in a line its record begins; it ends two bytes before the line does."""
_LINE = re.compile(rb'\{"hash":"[0-9a-f]{64}","record":\{.*\}\}\n', re.DOTALL)


class BadLineError(ValueError):
    """Bytes that are no line of a log."""


def link(before: bytes, record: bytes) -> bytes:
    """Return the hash of a record that follows one with the hash `before`."""
    return sha256(b"\0" + before + record).digest()


def line_of(found: bytes, record: bytes) -> bytes:
    """Return the line of a record with its hash."""
    return b'{"hash":"%b","record":%b}\n' % (found.hex().encode(), record)


def chain(
    before: bytes,
    records: Iterable[bytes],
    line: Callable[[bytes], object],
    leaf: Callable[[bytes], object],
) -> bytes:
    """Hand over the lines and hashes of many records, as `link` and `line_of` make them.

    Returns the last hash.
    """
    for record in records:
        before = sha256(b"\0" + before + record).digest()
        leaf(before)
        line(b'{"hash":"%b","record":%b}\n' % (hexlify(before), record))
    return before


def split(line: bytes) -> tuple[bytes, bytes]:
    """Return hash and record of a line; raises BadLineError."""
    if _LINE.fullmatch(line) is None:
        raise BadLineError("no line of a log")
    return binascii.unhexlify(line[_AT : _AT + 64]), line[RECORD_AT:-2]
