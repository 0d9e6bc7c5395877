"""What a browser made becomes a passkey only when it made it for this page and this login."""

from typing import Any

import pytest

from shared.keys import BadKeyError
from shared.passkey import EDDSA, ES256, Passkey, encode
from tests.helpers.passkeys import ORIGIN, SoftPasskey
from tunnel_relay.console.registration import read_registration, registration_challenge

CHALLENGE = registration_challenge("a token of a login")
KEY = SoftPasskey.make()
CREDENTIAL = bytes(range(32))


def read(parts: tuple[bytes, bytes], origin: str = ORIGIN) -> tuple[bytes, Passkey]:
    return read_registration(encode(parts[0]), encode(parts[1]), CHALLENGE, origin)


@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
def test_both_kinds_of_keys_are_read(algorithm: str) -> None:
    for _ in range(8):  # points of either parity
        key = SoftPasskey.make(algorithm)
        assert read(key.registered(CHALLENGE)) == (CREDENTIAL, key.public)
        said, data = key.registered(CHALLENGE, flags=1 | 4 | 64 | 128)
        assert read((said, data + b"\xa0")) == (CREDENTIAL, key.public)


@pytest.mark.parametrize(
    "wrong",
    [
        {"challenge": registration_challenge("another")},
        {"host": "example.com"},
        {"flags": 1 | 64},
        {"flags": 4 | 64},
        {"flags": 1 | 4},
        {"flags": 1 | 4 | 64 | 128},
        {"said": {"type": "webauthn.get"}},
        {"said": {"origin": "https://console.example.com:8443"}},
        {"said": {"crossOrigin": True}},
        {"said": {"topOrigin": "https://evil.example"}},
    ],
    ids=str,
)
def test_what_was_made_elsewhere_or_by_nobody_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadKeyError):
        read(KEY.registered(**{"challenge": CHALLENGE} | wrong))


def test_every_cut_and_every_other_layout_is_refused() -> None:
    said, data = KEY.registered(CHALLENGE)
    for end in range(len(data)):
        with pytest.raises(BadKeyError):
            read((said, data[:end]))
    key = len(data) - 77
    for wrong in (data + b"\0", data[:key] + b"\xa6" + data[key + 1 :], data + bytes(3000)):
        with pytest.raises(BadKeyError):
            read((said, wrong))
    for text in ("", "=", "not base64url!"):
        with pytest.raises(BadKeyError):
            read_registration(text, encode(data), CHALLENGE, ORIGIN)
        with pytest.raises(BadKeyError):
            read_registration(encode(said), text, CHALLENGE, ORIGIN)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8443", "http://console.example.com", ""])
def test_an_address_and_plain_http_have_no_passkeys(origin: str) -> None:
    made = KEY.registered(CHALLENGE, said={"origin": origin})
    with pytest.raises(BadKeyError):
        read(made, origin)
