"""The digest of a request's body, keyed by the link it passes: equal at both ends, useless apart.

A plain SHA-256 of a body would let anybody who reads a log try the few values that an argument may
have. Both ends of a link know what they signed when it was made, and the log holds a part of that
digest at most, so the key is known to both and to nobody later.
"""

from hashlib import blake2b

_PERSON = b"mcp-audit-body\0\0"


def body_key(transcript: bytes) -> bytes:
    """Return the key of a link from the whole transcript that both ends signed."""
    return blake2b(transcript, digest_size=32, person=_PERSON).digest()


def body_digest(key: bytes, body: bytes) -> bytes:
    """Return 64 hex digits for the bytes of a body."""
    return blake2b(body, digest_size=32, key=key).hexdigest().encode()
