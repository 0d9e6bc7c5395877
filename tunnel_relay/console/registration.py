"""What a browser returns when it made a passkey: read in the two layouts that are taken. Pure.

Nothing is attested: which authenticator it is matters less than who lists its key at a client.
The key follows the credential's identifier in authenticator data. Authenticators write it in the
canonical order of CTAP2, so it stands there in one fixed layout for each algorithm.
"""

import hashlib

from shared.keys import BadKeyError
from shared.passkey import EDDSA, ES256, MAX_CLIENT_DATA, Passkey, decode, is_about

MAX_AUTHENTICATOR_DATA = 2048
_OURS = b"mcp-tunnel console v1: a passkey is registered\0"
_WANTED = 1 | 4 | 64
"""Flags: a person present, verified, and a key is there."""
_EXTENDED = 128
_CREDENTIAL = 55
"""Where the credential's identifier begins: after 32 bytes of the relying party's digest, flags, 4
of a counter, 16 of the model and 2 of its length."""
_ES256 = (bytes.fromhex("a5010203262001215820"), bytes.fromhex("225820"))
_EDDSA = bytes.fromhex("a4010103272006215820")


def registration_challenge(csrf: str) -> bytes:
    """Return what a browser of this login has to have made a passkey for."""
    return hashlib.sha256(_OURS + csrf.encode()).digest()


def read_registration(
    client_data: str, authenticator_data: str, challenge: bytes, origin: str
) -> tuple[bytes, Passkey]:
    """Return identifier and key of a passkey that was made; raises BadKeyError.

    Both texts are base64url; `origin` is that of the console's page.
    """
    said, data = decode(client_data), decode(authenticator_data)
    if len(said) > MAX_CLIENT_DATA or not is_about(said, challenge, origin, "webauthn.create"):
        raise BadKeyError("not made for this page")
    if not _CREDENTIAL <= len(data) <= MAX_AUTHENTICATOR_DATA:
        raise BadKeyError("not the data of an authenticator")
    end = _CREDENTIAL + int.from_bytes(data[53:55], "big")
    algorithm, public, after = _key(data[end:])
    passkey = Passkey.parse(Passkey(algorithm, public, origin).text())
    party = hashlib.sha256(passkey.relying_party.encode()).digest()
    if data[:32] != party or data[32] & _WANTED != _WANTED:
        raise BadKeyError("made for another host, or without verifying a person")
    if bool(data[32] & _EXTENDED) != bool(after):
        raise BadKeyError("not the data of an authenticator")
    return data[_CREDENTIAL:end], passkey


def _key(cose: bytes) -> tuple[str, bytes, bytes]:
    """Return algorithm, public key, and what follows it."""
    head, middle = _ES256
    if len(cose) >= 77 and cose[:10] == head and cose[42:45] == middle:
        return ES256, bytes([2 + (cose[76] & 1)]) + cose[10:42], cose[77:]
    if len(cose) >= 42 and cose[:10] == _EDDSA:
        return EDDSA, cose[10:42], cose[42:]
    raise BadKeyError("a key of another kind")
