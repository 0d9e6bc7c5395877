"""Keys that are no secret keep the relay from starting."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.configfile import SecretRef
from shared.keys import PrivateKey
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import write_new
from tunnel_relay.keyfiles import new_session_key, read_relay_key, read_secret, read_session_key


def refused(read: object, path: Path, text: str) -> str:
    assert callable(read)
    write_new(path, text)
    with pytest.raises(RelayError) as caught:
        read(path)
    assert caught.value.code is Code.KEY_UNUSABLE
    return caught.value.message


def test_fresh_keys_are_read(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    write_new(tmp_path / "relay.key", key.to_pem().get_secret_value())
    assert read_relay_key(tmp_path / "relay.key").public == key.public
    write_new(tmp_path / "mcp.key", new_session_key().get_secret_value())
    assert len(read_session_key(tmp_path / "mcp.key")) == 32


@pytest.mark.parametrize(
    "seed",
    [
        bytes(32),
        b"\xff" * 32,
        bytes(range(32)),
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
    ],
)
def test_an_example_signing_key_is_refused(tmp_path: Path, seed: bytes) -> None:
    pem = PrivateKey(Ed25519PrivateKey.from_private_bytes(seed)).to_pem().get_secret_value()
    assert "example" in refused(read_relay_key, tmp_path / "relay.key", pem)


def test_what_is_no_signing_key_is_refused_without_repeating_it(tmp_path: Path) -> None:
    assert "hunter2" not in refused(read_relay_key, tmp_path / "a", "hunter2")
    refused(read_relay_key, tmp_path / "b", "")
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert "Ed25519" in refused(read_relay_key, tmp_path / "c", pem)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "shorter"),
        ("changeme", "hexadecimal"),
        ("ab" * 31, "shorter"),
        ("00" * 32, "random"),
        ("deadbeef" * 8, "random"),
        (bytes(range(32)).hex(), "random"),
        (bytes(range(64, 0, -2)).hex(), "random"),
    ],
)
def test_a_weak_session_key_is_refused(tmp_path: Path, text: str, why: str) -> None:
    assert why in refused(read_session_key, tmp_path / "key", text)


def test_a_secret_comes_from_where_the_configuration_says(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_new(file, "hunter2\n")
    assert read_secret(SecretRef("file", str(file)), {}).get_secret_value() == "hunter2"
    assert read_secret(SecretRef("env", "S"), {"S": "x"}).get_secret_value() == "x"
    for reference in (SecretRef("env", "S"), SecretRef("file", str(tmp_path / "none"))):
        with pytest.raises(RelayError) as caught:
            read_secret(reference, {})
        assert caught.value.code is Code.SECRET_UNUSABLE
    file.chmod(0o644)
    with pytest.raises(RelayError) as caught:
        read_secret(SecretRef("file", str(file)), {})
    assert caught.value.code is Code.FILE_UNSAFE
    assert "hunter2" not in caught.value.message
