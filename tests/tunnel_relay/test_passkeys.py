"""Whose passkey signs, and which answers a client's list."""

from tests.helpers.passkeys import SoftPasskey
from tunnel_relay.passkeys import Passkeys
from tunnel_relay.store.passkeys import OwnPasskey


def test_a_passkey_is_its_users_until_it_is_removed() -> None:
    first, second = SoftPasskey.make().public, SoftPasskey.make().public
    known = Passkeys([OwnPasskey("a", "pia", "AAAA", first.text(), "a key", 1.0)])
    known.put(OwnPasskey("b", "paul", "BBBB", second.text(), "another", 2.0))
    assert not known.lacks("pia", first.text())
    assert known.lacks("paul", first.text())
    assert not known.lacks("paul", "a key of the command line")
    assert [each.id for each in known.listed()] == ["a", "b"]
    fingerprints = [first.fingerprint, second.fingerprint]
    assert [each.id for each in known.answering("paul", fingerprints)] == ["b"]
    assert known.answering("paul", fingerprints[:1]) == []
    known.used("a", 3.0)
    known.used("c", 3.0)
    assert [each.last_used for each in known.listed("pia")] == [3.0]
    known.drop("a")
    assert known.lacks("pia", first.text())
