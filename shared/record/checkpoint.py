"""Checkpoints of a log: signed notes as C2SP writes them (tlog-checkpoint, signed-note).

    origin
    size in decimal
    root in base64

    — origin base64(4 bytes of the key's hash, Ed25519 signature)

The signature covers the text up to and including the third newline. Notes may bear signatures of
others (witnesses) as well; those are left alone.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from shared.keys import SIGNATURE_BYTES, PrivateKey, verify

MAX_NOTE = 16 * 1024
MAX_SIZE = 2**63 - 1
MAX_SIGNATURES = 64
_ED25519 = b"\x01"
_DASH = "\u2014 "


class CheckpointError(ValueError):
    """Text that is no checkpoint, or none that this key signed."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log held at a moment: so many records, with this root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def is_origin(text: str) -> bool:
    """Tell whether a log may be called so: no blanks, no plus, one line."""
    return bool(text) and text.isprintable() and " " not in text and "+" not in text


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4 bytes by which a signature names its key."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """Return a public key as other tools of transparency logs read it."""
    encoded = base64.b64encode(_ED25519 + public).decode()
    return f"{name}+{key_id(name, public).hex()}+{encoded}"


def read_verifier_key(text: str) -> tuple[str, bytes]:
    """Return name and public key of what `verifier_key` wrote; raises CheckpointError."""
    name, _, rest = text.strip().partition("+")
    identifier, _, encoded = rest.partition("+")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    good = len(key) == 33 and key[:1] == _ED25519 and is_origin(name)
    if not good or identifier != key_id(name, key[1:]).hex():
        raise CheckpointError("no verifier key")
    return name, key[1:]


def sign(point: Checkpoint, key: PrivateKey) -> str:
    """Return the signed note of a checkpoint."""
    text = point.text
    made = key_id(point.origin, key.public) + key.sign(text.encode())
    return f"{text}\n{_DASH}{point.origin} {base64.b64encode(made).decode()}\n"


def read_note(note: str, public: bytes) -> Checkpoint:
    """Read a signed note; raises CheckpointError unless this key signed it."""
    point, signatures = parse(note)
    wanted, signed = key_id(point.origin, public), point.text.encode()
    for name, made in signatures:
        if name == point.origin and made[:4] == wanted and len(made) == 4 + SIGNATURE_BYTES:
            if verify(public, made[4:], signed):
                return point
            break
    raise CheckpointError("a checkpoint that this key did not sign")


def parse(note: str) -> tuple[Checkpoint, list[tuple[str, bytes]]]:
    """Return a checkpoint and who signed it, unverified; raises CheckpointError."""
    if len(note) > MAX_NOTE:
        raise CheckpointError("longer than a checkpoint")
    body, blank, rest = note.partition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) != 3 or not rest.endswith("\n"):
        raise CheckpointError("no checkpoint")
    origin, size, root = lines
    # One spelling only: otherwise two texts would be one checkpoint, and only one of them signed.
    number = int(size) if size.isascii() and size.isdigit() and len(size) < 20 else -1
    point = Checkpoint(origin, number, _decoded(root))
    if not is_origin(origin) or number > MAX_SIZE or len(point.root) != 32:
        raise CheckpointError("no checkpoint")
    if point.text != body + "\n":
        raise CheckpointError("a checkpoint that is spelled differently")
    signatures = [_signature(line) for line in rest[:-1].split("\n")]
    if len(signatures) > MAX_SIGNATURES:
        raise CheckpointError("too many signatures")
    return point, signatures


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2 or not is_origin(parts[0]):
        raise CheckpointError("no signature")
    made = _decoded(parts[1])
    if len(made) < 5:
        raise CheckpointError("no signature")
    return parts[0], made


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError("no base64") from None


def notes_of(text: str) -> Iterator[str]:
    """Yield the notes of a file of checkpoints, oldest first; a torn last one is left out."""
    note: list[str] = []
    signed = False
    for line in _lines(text):
        if signed and not line.startswith(_DASH):
            yield "".join(note)
            note, signed = [], False
        if not line.endswith("\n"):
            return
        signed = signed or line.startswith(_DASH)
        note.append(line)
    if signed:
        yield "".join(note)


def printed(text: str) -> list[str]:
    """Return the notes that a file holds and nothing beside them; raises CheckpointError.

    They were printed by `audit checkpoint`, as text or as JSON, once or again and again.
    """
    texts, rest = [], text.lstrip()
    while rest.startswith("{"):
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            raise CheckpointError("no checkpoint") from None
        texts.append(str(value.get("checkpoint", "")))
        rest = rest[end:].lstrip()
    # Who copies a note by hand loses its last newline, or leaves empty lines around it.
    whole = "".join(texts) + rest.rstrip() + "\n"
    notes = list(notes_of(whole))
    left = whole[sum(map(len, notes)) :].strip()
    notes = [note.lstrip() for note in notes]
    for note in [*notes, left] if left or not notes else notes:
        parse(note)
    return notes


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
