"""The chain of a log, pure: lines, digests, the tree over them, and signed checkpoints.

A line is `{"hash":"H","record":R}`. H is SHA-256 of a zero byte, the hash before it and the bytes
of R: the link of the chain, and the leaf of an RFC 6962 tree whose leaves' data is both together.
Checkpoints are signed notes as C2SP writes them (tlog-checkpoint, signed-note).
"""

import base64
import binascii
import hashlib
from typing import NamedTuple

from shared.keys import PrivateKey, verify

START = bytes(32)
_HEAD, _MIDDLE, _TAIL = b'{"hash":"', b'","record":', b"}\n"
_AT = len(_HEAD)
_RECORD = _AT + 64 + len(_MIDDLE)
_ED25519 = b"\x01"
_DASH = "\u2014"


class BadLineError(ValueError):
    """Bytes that are no line of a log, or a note that is none."""


def link(before: bytes, record: bytes) -> bytes:
    """Return the hash of a record that follows one with the hash `before`."""
    return hashlib.sha256(b"\0" + before + record).digest()


def line_of(found: bytes, record: bytes) -> bytes:
    """Return the line of a record with its hash."""
    return b'{"hash":"%b","record":%b}\n' % (found.hex().encode(), record)


def split(line: bytes) -> tuple[bytes, bytes]:
    """Return hash and record of a line; raises BadLineError."""
    whole = line.startswith(_HEAD) and line[_AT + 64 : _RECORD] == _MIDDLE and line.endswith(_TAIL)
    if not whole:
        raise BadLineError("no line of a log")
    try:
        found = binascii.unhexlify(line[_AT : _AT + 64])
    except ValueError:
        raise BadLineError("no hash") from None
    return found, line[_RECORD : -len(_TAIL)]


class Tree:
    """The Merkle tree of RFC 6962 over leaves that come one by one; keeps only its right edge."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf's hash."""
        size, edge = self.size, self._edge
        while size & 1:
            leaf = _node(edge.pop(), leaf)
            size >>= 1
        edge.append(leaf)
        self.size += 1

    def extend(self, leaves: list[bytes]) -> None:
        """Append many."""
        for leaf in leaves:
            self.add(leaf)

    def root(self) -> bytes:
        """Return the root; of no leaves it is the hash of nothing."""
        if not self._edge:
            return hashlib.sha256().digest()
        *left, root = self._edge
        for each in reversed(left):
            root = _node(each, root)
        return root


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Checkpoint(NamedTuple):
    """What a log held at a moment, as its key signed it."""

    origin: str
    size: int
    root: bytes


def sign(point: Checkpoint, key: PrivateKey) -> str:
    """Return the signed note of a checkpoint."""
    root = base64.b64encode(point.root).decode()
    body = f"{point.origin}\n{point.size}\n{root}\n"
    made = _key_hash(point.origin, key.public) + key.sign(body.encode())
    return f"{body}\n{_DASH} {point.origin} {base64.b64encode(made).decode()}\n"


def read_note(note: str, public: bytes) -> Checkpoint:
    """Read a signed note; raises BadLineError unless this key signed it."""
    body, _, rest = note.partition("\n\n")
    lines = body.split("\n")
    try:
        origin, size, root = lines
        point = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
        dash, name, encoded = rest.removesuffix("\n").split(" ")
        made = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise BadLineError("no signed checkpoint") from None
    signed = made[:4] == _key_hash(origin, public) and verify(
        public, made[4:], (body + "\n").encode()
    )
    if dash != _DASH or name != origin or len(point.root) != 32 or not signed:
        raise BadLineError("a checkpoint that this key did not sign")
    return point


def read_notes(text: str) -> list[str]:
    """Return the notes of a file of checkpoints, oldest first; a torn last one is left out."""
    parts = text.split(f"\n\n{_DASH} ")
    notes, body = [], parts[0]
    for part in parts[1:]:
        signature, end, after = part.partition("\n")
        if not end:
            break
        notes.append(f"{body}\n\n{_DASH} {signature}\n")
        body = after
    return notes


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]
