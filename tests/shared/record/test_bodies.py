"""The digest of a body is one at both ends, and nothing without the link."""

import hashlib

from shared.record.bodies import body_digest, body_key


def test_both_ends_of_a_link_have_one_digest_and_another_link_has_another() -> None:
    """A13: a few likely bodies cannot be tried against a log without what the ends signed."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"pin":"1234"}}}'
    client, relay = body_key(b"hello, challenge"), body_key(b"hello, challenge")
    assert body_digest(client, body) == body_digest(relay, body)
    assert body_digest(body_key(b"another"), body) != body_digest(client, body)
    assert body_digest(client, body + b" ") != body_digest(client, body)
    plain = (hashlib.sha256(body), hashlib.blake2b(body, digest_size=32))
    assert body_digest(client, body) not in [each.hexdigest().encode() for each in plain]
