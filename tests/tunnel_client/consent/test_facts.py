"""Digests are remembered for as long as the file is the same, and differences are found."""

import hashlib
import os
from pathlib import Path

from pydantic import SecretStr

from tunnel_client.consent.facts import Digests, config_digest, differences
from tunnel_client.settings import UpstreamSettings


def digest(digests: Digests, path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return digests.of(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    """L05: the digest is known at each start without reading 100 MB."""
    path = tmp_path / "server"
    path.write_bytes(b"one")
    digests = Digests()
    assert digest(digests, path) == hashlib.sha256(b"one").hexdigest()
    digests._known = dict.fromkeys(digests._known, "remembered")
    assert digest(digests, path) == "remembered"
    path.write_bytes(b"two")
    assert digest(digests, path) == hashlib.sha256(b"two").hexdigest()


def test_the_configuration_is_bound_to_the_key_and_to_every_value() -> None:
    """L18."""
    plain = UpstreamSettings(name="x", command=["a"])
    other = UpstreamSettings(name="x", command=["a"], env={"A": SecretStr("1")})
    again = UpstreamSettings(name="x", command=["a"], env={"A": SecretStr("2")})
    found = {config_digest(each, b"k") for each in (plain, other, again)}
    found.add(config_digest(plain, b"another key"))
    assert len(found) == 4
    assert config_digest(plain, b"k") in found


def test_only_what_differs_is_named() -> None:
    old = {"argv": ["/a", "x"], "cwd": None, "config": "1", "files": []}
    assert differences(old, dict(old)) == []
    assert differences(old, {**old, "cwd": "/b"}) == ['cwd was null, is "/b"']
    assert differences(old, {**old, "config": "2"}) == [
        "the value of a variable in env changed, or the file is another's"
    ]
    assert differences(old, {}) != []
    assert differences({}, old) != []


def test_long_values_are_cut_and_odd_ones_escaped() -> None:
    """L16."""
    (said,) = differences({"argv": ["/a", "\x1b[2J"]}, {"argv": ["/a", "\u202e" * 500]})
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 300
