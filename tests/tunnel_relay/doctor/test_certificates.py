"""Which hosts a certificate covers."""

import pytest

from tunnel_relay.doctor.certificates import fits


@pytest.mark.parametrize(
    ("name", "host", "covered"),
    [
        ("relay.test", "RELAY.test", True),
        ("*.test", "relay.test", True),
        ("*.test", "a.relay.test", False),
        ("*.test", "test", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("relay.test", "relay.test.evil", False),
    ],
)
def test_a_name_covers_a_host(name: str, host: str, covered: bool) -> None:
    assert fits(name, host) is covered
