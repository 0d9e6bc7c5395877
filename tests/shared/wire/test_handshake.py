"""A handshake as plain values: what is agreed, what is signed, and every way to tamper with it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import AuthError, PeerError
from shared.keys import PrivateKey, encode_public, verify
from shared.wire import handshake
from shared.wire.handshake import Challenge, Hello
from shared.wire.limits import KIB, MAX_HANDSHAKE_BYTES, MIB, LinkLimits

RELAY_KEY = PrivateKey.generate()
CLIENT_KEY = PrivateKey.generate()
OTHER_KEY = PrivateKey.generate()
ORIGIN = "wss://relay.example"
HELLO = Hello(
    tunnel="office",
    instance="0" * 32,
    counter=7,
    origin=ORIGIN,
    versions=[1],
    features=["resume"],
    time=1_700_000_000,
    program="tunnel-client/0.1.0",
    process="1" * 32,
    slot=1,
)
CHALLENGE = Challenge(
    version=1,
    features=["resume"],
    relay_key=encode_public(RELAY_KEY.public),
    nonce="ab" * 32,
    time=1_700_000_001,
)


@dataclass
class Wire:
    """The four payloads of a handshake as each side saw them; `change` tampers in between."""

    change: Callable[[str, bytes], bytes] = lambda _name, payload: payload
    limits: LinkLimits = field(default_factory=LinkLimits)

    def run(self) -> LinkLimits:
        """Run both sides; raises PeerError at the side that notices."""
        hello_sent = handshake.encode(HELLO)
        hello_got = self.change("hello", hello_sent)
        hello = handshake.decode_hello(hello_got)
        version, features = handshake.choose(hello, frozenset({1}), frozenset({"resume"}))
        challenge_sent = handshake.encode(replace(CHALLENGE, version=version, features=features))
        challenge_got = self.change("challenge", challenge_sent)
        challenge = handshake.decode_challenge(challenge_got)
        if challenge.relay_key != encode_public(RELAY_KEY.public):
            raise AuthError("another key than the pinned one")
        handshake.check_choice(HELLO, challenge)
        proof = CLIENT_KEY.sign(handshake.client_transcript(hello_sent, challenge_got))
        proof_got = self.change("proof", proof)
        transcript = handshake.client_transcript(hello_got, challenge_sent)
        if hello.origin != ORIGIN or not verify(CLIENT_KEY.public, proof_got, transcript):
            raise AuthError("not authenticated")
        ready = handshake.encode_ready(
            hello_got, challenge_sent, proof_got, self.limits, RELAY_KEY.sign
        )
        ready_got = self.change("ready", ready)
        limits, _ = handshake.decode_ready(
            ready_got, hello_sent, challenge_got, proof, RELAY_KEY.public, verify
        )
        return limits


def changing(name: str, change: Callable[[bytes], bytes]) -> Callable[[str, bytes], bytes]:
    return lambda at, payload: change(payload) if at == name else payload


def editing(name: str, **fields: Any) -> Callable[[str, bytes], bytes]:
    """Return a change that rewrites fields of a JSON payload as an attacker would."""
    return changing(
        name, lambda payload: json.dumps(json.loads(payload) | fields, sort_keys=True).encode()
    )


def test_an_honest_handshake_settles_the_limits() -> None:
    limits = LinkLimits(stream_window=128 * KIB, ping_interval=0.5)
    assert Wire(limits=limits).run() == limits


def test_a_link_is_named_by_what_both_ends_signed() -> None:
    hello, challenge = handshake.encode(HELLO), handshake.encode(CHALLENGE)
    name = handshake.link_id(hello, challenge)
    assert name == handshake.link_id(hello, challenge)
    assert len(name) == handshake.LINK_HEX
    assert name != handshake.link_id(handshake.encode(replace(HELLO, counter=8)), challenge)
    assert name != handshake.link_id(hello, handshake.encode(replace(CHALLENGE, nonce="cd" * 32)))


@pytest.mark.parametrize("name", ["hello", "challenge", "proof", "ready"])
def test_no_byte_of_any_message_can_be_changed(name: str) -> None:
    seen: list[bytes] = []
    Wire(changing(name, lambda payload: seen.append(payload) or payload)).run()  # type: ignore[func-returns-value]
    for at in range(len(seen[0])):
        for mask in (0x01, 0x80):

            def flip(payload: bytes, at: int = at, mask: int = mask) -> bytes:
                return payload[:at] + bytes([payload[at] ^ mask]) + payload[at + 1 :]

            with pytest.raises(PeerError):
                Wire(changing(name, flip)).run()


@pytest.mark.parametrize("name", ["hello", "challenge", "proof", "ready"])
@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + b" ", lambda p: b""])
def test_no_message_can_be_cut_or_made_longer(name: str, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PeerError):
        Wire(changing(name, change)).run()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("hello", {"versions": [0]}),
        ("hello", {"versions": [0, 1]}),
        ("hello", {"versions": [1, 2, 3]}),
        ("hello", {"features": []}),
        ("hello", {"features": ["resume", "extra"]}),
        ("challenge", {"version": 0}),
        ("challenge", {"features": []}),
        ("challenge", {"features": ["never offered"]}),
    ],
)
def test_a_downgrade_is_noticed_t08(name: str, fields: dict[str, Any]) -> None:
    """T08: versions and features are inside what both sides sign."""
    with pytest.raises(AuthError) as caught:
        Wire(editing(name, **fields)).run()
    assert caught.value.close_code == 1008


def test_a_proof_counts_for_one_challenge_only_t03() -> None:
    """T03: a captured HELLO and PROOF do not answer the next nonce."""
    hello = handshake.encode(HELLO)
    proof = CLIENT_KEY.sign(handshake.client_transcript(hello, handshake.encode(CHALLENGE)))
    fresh = handshake.encode(replace(CHALLENGE, nonce="cd" * 32))
    assert not verify(CLIENT_KEY.public, proof, handshake.client_transcript(hello, fresh))


@pytest.mark.parametrize("fields", [{"origin": "wss://evil.example"}, {"tunnel": "home"}])
def test_a_proof_counts_for_one_origin_and_one_tunnel_t04(fields: dict[str, str]) -> None:
    """T04: a relay in the middle cannot pass on what was signed for it."""
    with pytest.raises(AuthError):
        Wire(editing("hello", **fields)).run()


def test_another_relay_key_is_refused_before_anything_is_signed_t40() -> None:
    """T40: the client proves nothing to a relay it did not enrol with."""
    other = editing("challenge", relay_key=encode_public(OTHER_KEY.public))
    with pytest.raises(AuthError, match="pinned"):
        Wire(other).run()


def test_ready_of_another_key_is_refused_t40() -> None:
    """T40: showing the pinned key is not enough, READY must be signed with it."""
    hello, challenge = handshake.encode(HELLO), handshake.encode(CHALLENGE)
    ready = handshake.encode_ready(hello, challenge, b"proof", LinkLimits(), OTHER_KEY.sign)
    with pytest.raises(AuthError):
        handshake.decode_ready(ready, hello, challenge, b"proof", RELAY_KEY.public, verify)


def test_a_signature_of_one_side_never_passes_for_the_others() -> None:
    parts = b"h", b"c"
    signature = RELAY_KEY.sign(handshake.client_transcript(*parts))
    assert verify(RELAY_KEY.public, signature, handshake.client_transcript(*parts))
    transcript = handshake.relay_transcript(*parts, b"", b"")
    assert not verify(RELAY_KEY.public, signature, transcript)


def test_bytes_cannot_move_from_one_part_of_a_transcript_to_the_next() -> None:
    assert handshake.client_transcript(b"ab", b"c") != handshake.client_transcript(b"a", b"bc")


def test_the_highest_common_version_and_all_common_features_are_chosen() -> None:
    hello = replace(HELLO, versions=[1, 3, 2, 9], features=["b", "z", "a"])
    chosen = handshake.choose(hello, frozenset({1, 2, 3}), frozenset({"a", "b", "c"}))
    assert chosen == (3, ["a", "b"])


def test_without_a_common_version_there_is_no_link_t08() -> None:
    """T08: an old client is refused, never served with less."""
    with pytest.raises(AuthError):
        handshake.choose(replace(HELLO, versions=[0]), frozenset({1}), frozenset())


# Payloads ----------------------------------------------------------------------------------------


def test_payloads_read_back_as_they_were_written() -> None:
    assert handshake.decode_hello(handshake.encode(HELLO)) == HELLO
    assert handshake.decode_challenge(handshake.encode(CHALLENGE)) == CHALLENGE


@pytest.mark.parametrize(
    "fields",
    [
        {"tunnel": "Office"},
        {"tunnel": "../etc"},
        {"tunnel": 5},
        {"instance": "0" * 31},
        {"instance": "G" * 32},
        {"instance": "A" * 32},
        {"counter": -1},
        {"counter": 2**53},
        {"counter": True},
        {"counter": 1.0},
        {"counter": "1"},
        {"origin": ""},
        {"origin": "x" * 257},
        {"origin": "wss://relay\u0435.example"},
        {"program": "\x1b[2Jtunnel-client"},
        {"program": "two\nlines"},
        {"versions": 1},
        {"versions": [True]},
        {"versions": list(range(17))},
        {"features": [1]},
        {"features": {"a": 1}},
        {"time": None},
        {"process": ""},
        {"process": "1" * 31},
        {"process": None},
        {"slot": 8},
        {"slot": -1},
        {"slot": True},
    ],
)
def test_a_hello_with_a_malformed_field_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(PeerError) as caught:
        handshake.decode_hello(json.dumps(asdict(HELLO) | fields).encode())
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("missing", sorted(asdict(HELLO).keys() - {"process", "slot"}))
def test_a_hello_with_a_missing_field_is_refused(missing: str) -> None:
    fields = asdict(HELLO)
    del fields[missing]
    with pytest.raises(PeerError):
        handshake.decode_hello(json.dumps(fields).encode())


def test_an_older_client_says_nothing_of_its_process_and_has_one_link() -> None:
    older = replace(HELLO, process="", slot=0)
    fields = json.loads(handshake.encode(older))
    assert not {"process", "slot"} & fields.keys()
    assert handshake.decode_hello(handshake.encode(older)) == older
    # A slot belongs to a process.
    assert handshake.decode_hello(json.dumps(fields | {"slot": 3}).encode()) == older
    assert handshake.decode_hello(json.dumps(fields | {"process": "1" * 32}).encode()).slot == 0


def test_what_a_newer_client_says_besides_is_not_read() -> None:
    more = {"extra": [{"deep": None}], "Slot": 9, "": 1}
    assert handshake.decode_hello(json.dumps(asdict(HELLO) | more).encode()) == HELLO
    with pytest.raises(PeerError):
        handshake.decode_challenge(json.dumps(asdict(CHALLENGE) | more).encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe{",
        b"[" * 4000,
        b'{"a":' * 700,
        b'{"tunnel":"a","tunnel":"b"}',
        b'{"counter":' + b"9" * 3000 + b"}",
        b" " * (MAX_HANDSHAKE_BYTES + 1),
    ],
)
def test_what_is_not_strict_json_is_refused(payload: bytes) -> None:
    for decode in (handshake.decode_hello, handshake.decode_challenge):
        with pytest.raises(PeerError):
            decode(payload)


def signed_ready(**fields: Any) -> bytes:
    """Return READY with these limits, signed by the right relay."""
    body = json.dumps(asdict(LinkLimits()) | {"taken": None} | fields).encode()
    return RELAY_KEY.sign(handshake.relay_transcript(b"h", b"c", b"p", body)) + body


@pytest.mark.parametrize(
    "fields",
    [
        {"message_bytes": 0},
        {"message_bytes": 16 + 128 * KIB + 64 * KIB - 1},
        {"flush_bytes": MIB, "message_bytes": 4 * MIB},
        {"stream_window": -1},
        {"link_window": 2**40},
        {"max_streams": 1.5},
        {"max_streams": True},
        {"ping_interval": 0},
        {"ping_interval": 1e9},
        {"ping_deadline": float("nan")},
        {"ping_deadline": float("inf")},
        {"ping_deadline": "10"},
        {"unknown": 1},
    ],
)
def test_limits_no_link_can_work_with_are_refused_even_when_signed(fields: dict[str, Any]) -> None:
    with pytest.raises(PeerError):
        handshake.decode_ready(signed_ready(**fields), b"h", b"c", b"p", RELAY_KEY.public, verify)


def test_the_smallest_message_limit_holds_the_largest_message() -> None:
    ready = signed_ready(message_bytes=16 + 128 * KIB + 64 * KIB)
    limits, _ = handshake.decode_ready(ready, b"h", b"c", b"p", RELAY_KEY.public, verify)
    assert limits.message_bytes == 16 + 128 * KIB + 64 * KIB


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_a_documented_error(payload: bytes) -> None:
    for decode in (handshake.decode_hello, handshake.decode_challenge):
        with pytest.raises(PeerError):
            decode(payload)
