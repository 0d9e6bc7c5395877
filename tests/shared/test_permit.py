"""A permit says one thing, is signed by whom it says, and is read in one way only."""

import base64
import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import exact
from shared.keys import PrivateKey, key_fingerprint
from shared.passkey import Assertion
from shared.permit import (
    MAX_TEXT,
    OWN_ANSWERS,
    Permit,
    PermitError,
    Signed,
    approver_message,
    arguments_digest,
    check_keys,
    covered,
    decode,
    passkey_challenge,
)
from tests.helpers.passkeys import SoftPasskey

RELAY, PIA, PAUL = (PrivateKey.generate() for _ in range(3))
PERMIT = Permit(
    id="1" * 32,
    session="2" * 32,
    user="uma",
    agent="bot",
    server="mail",
    tool="send",
    definition="a" * 64,
    arguments="b" * 64,
    policy="c" * 64,
    tool_class="external_send",
    issued=1_000,
    expires=1_900,
)


def signed(*keys: PrivateKey, permit: Permit = PERMIT, approvers: tuple[str, ...] = ()) -> Signed:
    made = {key_fingerprint(key.public): key.sign(approver_message(permit)) for key in keys}
    return Signed(permit, approvers, made)


def kind(text: str) -> str:
    with pytest.raises(PermitError) as caught:
        decode(text)
    return caught.value.kind


def test_what_was_written_is_read() -> None:
    whole = signed(PIA, PAUL, approvers=("pia", "paul")).vouched(RELAY)
    assert decode(whole.text()) == whole
    assert whole.text().replace("~", "").replace(".", "").replace("-", "").isidentifier()


def test_an_approvers_signature_is_for_every_field() -> None:
    """P20, P26: no field can be another one."""
    whole = signed(PIA)
    for name in Permit.__slots__:
        value = getattr(PERMIT, name)
        changed: Any = value + 1 if isinstance(value, int) else value + "x"
        other = replace(PERMIT, **{name: changed})
        assert Signed(other, (), whole.signatures).by([PIA.public]) == []
    assert whole.by([PIA.public, PAUL.public]) == [PIA.public]


def test_the_relay_vouches_for_the_approvers_too() -> None:
    whole = signed(approvers=("pia",)).vouched(RELAY)
    assert whole.by_relay(RELAY.public)
    assert not Signed(PERMIT, ("eve",), whole.signatures).by_relay(RELAY.public)
    assert not Signed(replace(PERMIT, tool="x"), ("pia",), whole.signatures).by_relay(RELAY.public)


def test_neither_signature_stands_for_the_other() -> None:
    whole = signed(approvers=("pia",)).vouched(RELAY)
    assert whole.by([RELAY.public]) == []
    assert not signed(RELAY, approvers=("pia",)).by_relay(RELAY.public)


def test_as_many_different_keys_must_sign_as_the_rule_asks() -> None:
    keys = [PIA.public, PAUL.public]
    check_keys(signed(PIA), keys, 1, RELAY.public)
    check_keys(signed(PIA, PAUL), keys, 2, RELAY.public)
    for refused, count in (
        (signed(PIA), 2),
        (signed(PrivateKey.generate()), 1),
        (signed(approvers=("pia", "paul")).vouched(RELAY), 1),
    ):
        with pytest.raises(PermitError, match="signature"):
            check_keys(refused, keys, count, RELAY.public)
    with pytest.raises(PermitError):
        check_keys(signed(PIA), [PIA.public, PIA.public], 2, RELAY.public)


def by_passkey(*keys: SoftPasskey, permit: Permit = PERMIT) -> Signed:
    made: dict[str, bytes | Assertion] = {
        key.public.fingerprint: key.sign(passkey_challenge(permit)) for key in keys
    }
    return Signed(permit, ("pia",), made)


def test_a_passkey_signs_as_a_key_does() -> None:
    """T32, P20: and for no other permit."""
    pia, paul = SoftPasskey.make(), SoftPasskey.make("eddsa")
    whole = by_passkey(pia, paul).vouched(RELAY)
    assert decode(whole.text()) == whole
    check_keys(decode(whole.text()), [pia.public, paul.public], 2, RELAY.public)
    mixed = Signed(PERMIT, (), {**signed(PIA).signatures, **by_passkey(pia).signatures})
    check_keys(decode(mixed.text()), [PIA.public, pia.public], 2, RELAY.public)
    for name in Permit.__slots__:
        value = getattr(PERMIT, name)
        changed: Any = value + 1 if isinstance(value, int) else value + "x"
        other = replace(PERMIT, **{name: changed})
        assert Signed(other, (), whole.signatures).by([pia.public]) == []
    stranger = SoftPasskey.make()
    with pytest.raises(PermitError, match="signature"):
        check_keys(by_passkey(stranger).vouched(RELAY), [pia.public], 1, RELAY.public)


def test_a_signature_of_one_kind_never_counts_as_the_other() -> None:
    pia = SoftPasskey.make("eddsa")
    assert isinstance(pia.key, PrivateKey)
    print_ = pia.public.fingerprint
    for raw in (approver_message(PERMIT), passkey_challenge(PERMIT)):
        assert Signed(PERMIT, (), {print_: pia.key.sign(raw)}).by([pia.public]) == []
        assert by_passkey(pia).by([pia.key.public]) == []
    made = pia.sign(passkey_challenge(PERMIT))
    plain = key_fingerprint(pia.key.public)
    assert Signed(PERMIT, (), {plain: made}).by([pia.key.public]) == []
    assert Signed(PERMIT, (), {plain: made.signature}).by([pia.key.public]) == []
    assert Signed(PERMIT, (), {print_: pia.sign(approver_message(PERMIT))}).by([pia.public]) == []
    relay = Signed(PERMIT, ("pia",), {key_fingerprint(RELAY.public): made})
    assert not relay.by_relay(RELAY.public)


def test_eight_passkeys_find_room() -> None:
    keys = [SoftPasskey.make() for _ in range(8)]
    long = replace(PERMIT, user="u" * 500, agent="a" * 400, tool="t" * 100)
    text = by_passkey(*keys, permit=long).vouched(RELAY).text()
    check_keys(decode(text), [key.public for key in keys], 8, RELAY.public)


def test_malformed_assertions_are_refused() -> None:
    pia = SoftPasskey.make()
    head, _, made = by_passkey(pia).text().rpartition(".")
    key, *parts = made.split("~")
    for broken in (
        [*parts, parts[0]],
        parts[:2],
        ["", *parts[1:]],
        [parts[0], "", parts[2]],
        [parts[0], "A" * 1400, parts[2]],
        [parts[0] + "=", *parts[1:]],
        [*parts[:2], parts[2] * 3],
    ):
        assert kind(".".join((head, "~".join((key, *broken))))) == "malformed"


def test_without_listed_keys_the_relay_must_name_as_many_approvers() -> None:
    whole = signed(approvers=("pia", "paul")).vouched(RELAY)
    check_keys(whole, [], 2, RELAY.public)
    for refused, count in (
        (whole, 3),
        (signed(approvers=("pia", "pia")).vouched(RELAY), 2),
        (signed().vouched(RELAY), 1),
        (signed(PIA, approvers=("pia",)), 1),
        (signed(approvers=("pia",)).vouched(PIA), 1),
    ):
        with pytest.raises(PermitError, match="signature"):
            check_keys(refused, [], count, RELAY.public)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_only_the_canonical_spelling_is_a_permit() -> None:
    good = json.loads(PERMIT.payload())
    for payload in (
        json.dumps(good).encode(),
        PERMIT.payload().replace(b'"issued":1000', b'"issued":1e3'),
        PERMIT.payload().replace(b'"issued":1000', b'"issued":true'),
        PERMIT.payload().replace(b'"issued":1000', b'"issued":1000.0'),
        PERMIT.payload()[:-1] + b',"more":1}',
        PERMIT.payload().replace(b'"tool":"send"', b'"tool":1'),
        PERMIT.payload().replace(b'"user":"uma"', b'"user":"\\ud800"'),
        PERMIT.payload().replace(b'"user":"uma"', b'"user":"' + b"u" * 513 + b'"'),
        b"[" * 3000,
        b"\xff",
        b"",
    ):
        assert kind(f"{b64(payload)}.{b64(b'[]')}") == "malformed"


def test_malformed_texts_are_refused() -> None:
    text = signed(PIA).text()
    payload, names, signature = text.split(".")
    for broken in (
        "",
        ".",
        payload,
        "é" + text,
        "x" * (MAX_TEXT + 1),
        text + "=",
        f"{text}.{signature}",
        f"{payload}.{names}.{signature[:-2]}",
        f"{payload}.{names}.x{signature}",
        f"{payload}.{b64(b'{}')}.{signature}",
        f"{payload}.{b64(b'[1]')}.{signature}",
        f"{payload}.{b64(b'[ ]')}.{signature}",
        f"{payload}.{b64(b'[' * 2000)}.{signature}",
        f"{payload} .{names}.{signature}",
    ):
        assert kind(broken) == "malformed"


def test_a_permit_that_would_be_too_long_is_not_written() -> None:
    long = replace(PERMIT, user="ü" * 512, agent="€" * 512, tool="ö" * 256)
    whole = signed(PIA, permit=long, approvers=("€" * 512, "ü" * 512))
    with pytest.raises(PermitError, match="too long"):
        whole.text()


@given(st.text() | st.from_regex(r"[A-Za-z0-9_.~-]{0,300}"))
def test_the_decoder_is_total(text: str) -> None:
    with contextlib.suppress(PermitError):
        decode(text)


@given(st.integers(0, 2000), st.integers(0, 255))
def test_no_changed_byte_keeps_a_signature(place: int, value: int) -> None:
    text = signed(PIA, approvers=("pia",)).vouched(RELAY).text()
    data = bytearray(text.encode())
    place %= len(data)
    if data[place] == value or value > 127:
        return
    data[place] = value
    try:
        read = decode(data.decode())
    except PermitError:
        return
    assert not (read.by([PIA.public]) and read.by_relay(RELAY.public))


def digest_of(body: bytes) -> str:
    return arguments_digest(exact(body))


def test_the_same_arguments_in_any_spelling_have_one_digest() -> None:
    one = digest_of(b'{"name":"send","arguments":{"to":"a","n":100},"_meta":{"progressToken":1}}')
    assert one == digest_of(b'{"arguments": {"n": 1e2, "to": "\\u0061"}}')
    assert one != digest_of(b'{"arguments":{"to":"a","n":101}}')
    assert one != digest_of(b'{"arguments":{"to":"a","n":100,"bcc":"x"}}')
    assert arguments_digest(None) == digest_of(b"{}") != digest_of(b'{"arguments":{}}')


def test_answers_to_the_servers_questions_are_covered() -> None:
    """P40: an approval is not for a call with other `inputResponses`."""
    plain = digest_of(b'{"arguments":{"to":"a"}}')
    other = digest_of(
        b'{"arguments":{"to":"a"},"inputResponses":{"q":{"action":"accept","content":{"to":"b"}}}}'
    )
    assert plain != other
    assert plain != digest_of(b'{"arguments":{"to":"a"},"requestState":"x"}')


def test_what_nobody_knows_beside_the_arguments_is_covered_too() -> None:
    """P20: a server may read it, so whoever approves sees it, and it cannot be added after."""
    plain = digest_of(b'{"arguments":{"to":"a"}}')
    assert plain != digest_of(b'{"arguments":{"to":"a"},"bcc":"b"}')
    assert plain != digest_of(b'{"arguments":{"to":"a"},"task":{"ttl":1}}')
    assert covered({"name": "send", "bcc": "b", "_meta": {"progressToken": 1}}) == {"bcc": "b"}


def test_that_the_relays_own_question_was_seen_changes_nothing() -> None:
    own = OWN_ANSWERS + "1" * 32
    params = {"arguments": {"to": "a"}}
    seen = params | {"inputResponses": {own: {"action": "accept"}}}
    assert covered(seen) == covered(params)
    both = params | {"inputResponses": {own: {"action": "accept"}, "q": {"action": "accept"}}}
    assert covered(both) == params | {"inputResponses": {"q": {"action": "accept"}}}
    odd: tuple[Any, ...] = ({"action": "accept", "content": {"to": "b"}}, "x", None, [])
    for more in odd:
        hidden = params | {"inputResponses": {own: more}}
        assert covered(hidden) == hidden
    assert covered(params | {"inputResponses": {}}) == params | {"inputResponses": {}}
    assert covered(params | {"inputResponses": 5}) == params | {"inputResponses": 5}
