"""Both sides of the handshake over a real socket, honest and not."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from shared.errors import AuthError, NotSpokenError, PeerError
from shared.keys import PrivateKey, encode_public
from shared.link import handshake
from shared.link.handshake import (
    Agreed,
    Claim,
    WrongRelayError,
    pinned_key,
    receive_frame,
    send_frame,
)
from shared.link.inbox import LinkLostError
from shared.wire.frames import FrameType, encode_frame, encode_message
from shared.wire.handshake import Hello, decode_challenge, encode
from shared.wire.limits import KIB, LinkLimits
from tests.shared.link.ends import DEADLINE, Sockets, sockets, until
from tests.shared.wire.pair import OPEN

RELAY_KEY = PrivateKey.generate()
CLIENT_KEY = PrivateKey.generate()
OTHER_KEY = PrivateKey.generate()
ORIGIN = "wss://relay.example"
INSTANCE = "0" * 32
LIMITS = LinkLimits(stream_window=64 * KIB)
HELLO = Hello("office", INSTANCE, 1, ORIGIN, [1], [], int(time.time()), "test/1")


async def find_key(tunnel: str, instance: str) -> bytes | None:
    """Know one client."""
    return CLIENT_KEY.public if (tunnel, instance) == ("office", INSTANCE) else None


async def judge(ends: Sockets) -> Claim:
    """Run the relay's side up to the proof."""
    return await handshake.challenge(
        ends.server, ends.server_inbox, RELAY_KEY, frozenset({ORIGIN}), find_key
    )


async def refused(attack: Callable[[Sockets], Awaitable[None]]) -> PeerError:
    """Run an attack against the relay's side; returns why it was refused."""
    async with sockets() as ends:
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:

                async def run() -> None:
                    await attack(ends)

                tasks.start_soon(run)
                with pytest.raises(PeerError) as caught:
                    await judge(ends)
                tasks.cancel_scope.cancel()
    return caught.value


async def shake_hands(
    hello: Hello = HELLO, key: PrivateKey = CLIENT_KEY, pinned: PrivateKey = RELAY_KEY
) -> tuple[Agreed | PeerError, Claim | PeerError]:
    """Run both sides; returns what each came to."""
    outcome: list[Claim | PeerError] = []
    async with sockets() as ends:

        async def relay() -> None:
            try:
                claim = await judge(ends)
                handshake.ready(ends.server, claim, LIMITS, RELAY_KEY)
                outcome.append(claim)
            except PeerError as error:
                outcome.append(error)
                ends.server.close(error.close_code, "not authenticated")

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay)
                try:
                    got: Agreed | PeerError = await handshake.prove(
                        ends.client, ends.client_inbox, hello, key, pinned.public
                    )
                except PeerError as error:
                    got = error
                    ends.client.close(error.close_code, "refused")
    return got, outcome[0]


async def test_both_sides_know_each_other_and_agree_on_limits() -> None:
    got, claim = await shake_hands()
    assert isinstance(got, Agreed)
    assert isinstance(claim, Claim)
    assert got == (LIMITS, claim.link, None)
    assert (claim.hello, claim.version, claim.features) == (HELLO, 1, [])


async def test_both_ends_have_one_name_for_a_link_and_no_other_link_has_it() -> None:
    links = []
    for counter in (1, 2, 2):
        got, claim = await shake_hands(replace(HELLO, counter=counter))
        assert isinstance(got, Agreed)
        assert isinstance(claim, Claim)
        assert got.link == claim.link
        links.append(got.link)
    assert len(set(links)) == 3
    assert all(len(link) == 16 and not set(link) - set("0123456789abcdef") for link in links)


@pytest.mark.parametrize(
    ("hello", "key"),
    [
        (HELLO, OTHER_KEY),
        (replace(HELLO, tunnel="home"), CLIENT_KEY),
        (replace(HELLO, instance="1" * 32), CLIENT_KEY),
        (replace(HELLO, instance="1" * 32), RELAY_KEY),
        (replace(HELLO, origin="wss://evil.example"), CLIENT_KEY),
        (replace(HELLO, origin="wss://relay.example:444"), CLIENT_KEY),
    ],
    ids=["wrong key", "foreign tunnel", "unknown", "unknown with our key", "origin", "port"],
)
async def test_who_is_not_who_it_says_learns_nothing_t04_t05(hello: Hello, key: PrivateKey) -> None:
    """T04, T05: foreign origins, unknown clients and wrong keys end alike."""
    got, claim = await shake_hands(hello, key)
    assert isinstance(claim, AuthError)
    assert str(claim) == "not authenticated"
    assert isinstance(got, LinkLostError)
    assert (got.code, got.reason) == (1008, "not authenticated")


async def test_a_relay_with_another_key_gets_no_proof_t40() -> None:
    """T40: the client stops before it signs anything."""
    got, claim = await shake_hands(pinned=OTHER_KEY)
    assert isinstance(got, WrongRelayError)
    assert isinstance(claim, LinkLostError)
    assert claim.code == 1008


async def test_a_client_of_another_version_is_refused_t08() -> None:
    """T08: no version in common, no link."""
    got, claim = await shake_hands(replace(HELLO, versions=[0, 2]))
    assert isinstance(claim, AuthError)
    assert isinstance(got, LinkLostError)
    assert got.code == 1008


async def test_a_captured_hello_and_proof_open_no_second_link_t03() -> None:
    """T03: every challenge has a nonce of its own."""
    _, claim = await shake_hands()
    assert isinstance(claim, Claim)

    async def replay(ends: Sockets) -> None:
        send_frame(ends.client, FrameType.HELLO, claim.hello_payload)
        fresh = await receive_frame(ends.client_inbox, FrameType.CHALLENGE)
        assert decode_challenge(fresh).nonce != decode_challenge(claim.challenge_payload).nonce
        send_frame(ends.client, FrameType.PROOF, claim.proof)

    assert (await refused(replay)).close_code == 1008


def message(*frames: bytes) -> bytes:
    return encode_message(0, 0, b"".join(frames))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (message(encode_frame(FrameType.OPEN, 1, OPEN)), 1008),
        (message(encode_frame(FrameType.DATA, 1, b"x")), 1008),
        (message(encode_frame(FrameType.CATALOG, 0, b"time")), 1008),
        (message(encode_frame(FrameType.PROOF, 0, bytes(64))), 1008),
        (message(), 1008),
        (message(*[encode_frame(FrameType.HELLO, 0, encode(HELLO))] * 2), 1008),
        (message(encode_frame(FrameType.HELLO, 0, bytes(8 * KIB))), 1008),
        (message(encode_frame(FrameType.HELLO, 0, b"{}")), 1002),
        (b"", 1008),
        (message(b"\xff" * 20), 1002),
    ],
    ids=["open", "data", "catalog", "proof", "none", "two", "long", "empty", "no header", "noise"],
)
async def test_nothing_but_a_hello_is_heard_before_it_t11(sent: bytes, code: int) -> None:
    """T11: frames before authentication end the link."""

    async def attack(ends: Sockets) -> None:
        ends.client.send(sent)

    assert (await refused(attack)).close_code == code


async def test_data_in_place_of_the_proof_is_refused_t11() -> None:
    """T11: half a handshake opens nothing."""

    async def attack(ends: Sockets) -> None:
        send_frame(ends.client, FrameType.HELLO, encode(HELLO))
        ends.client.send(message(encode_frame(FrameType.CATALOG, 0, b"time")))

    error = await refused(attack)
    assert (error.close_code, str(error)) == (1008, "PROOF was due")


async def test_what_says_something_else_than_a_relay_is_told_from_one_without_the_key() -> None:
    """No signature was looked at: it may be an echo behind a balancer, and gone in a minute."""
    async with sockets() as ends:

        async def echo() -> None:
            ends.server.send(await ends.server_inbox.receive())

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(echo)
                with pytest.raises(NotSpokenError, match="CHALLENGE was due") as caught:
                    await handshake.prove(
                        *(ends.client, ends.client_inbox, HELLO),
                        *(CLIENT_KEY, RELAY_KEY.public),
                    )
    assert not isinstance(caught.value, AuthError)


@pytest.mark.parametrize("proof", [b"", bytes(64), bytes(63), bytes(4000)])
async def test_a_proof_of_any_shape_is_checked_and_refused(proof: bytes) -> None:
    async def attack(ends: Sockets) -> None:
        send_frame(ends.client, FrameType.HELLO, encode(HELLO))
        send_frame(ends.client, FrameType.PROOF, proof)

    assert str(await refused(attack)) == "not authenticated"


async def test_a_peer_that_leaves_is_reported_with_its_reason() -> None:
    async def leave(ends: Sockets) -> None:
        ends.client.close(1001, "never mind")

    error = await refused(leave)
    assert isinstance(error, LinkLostError)
    assert (error.code, error.reason) == (1001, "never mind")


async def test_a_proof_of_a_peer_that_left_meanwhile_is_not_looked_at() -> None:
    async with sockets() as ends:
        send_frame(ends.client, FrameType.HELLO, encode(HELLO))
        send_frame(ends.client, FrameType.PROOF, bytes(64))
        ends.client.close(1001, "never mind")
        await until(lambda: ends.server._lost)
        with pytest.raises(LinkLostError, match="never mind"):
            await judge(ends)


def test_a_pinned_key_is_read_from_configuration() -> None:
    assert pinned_key(encode_public(RELAY_KEY.public)) == RELAY_KEY.public


@pytest.mark.parametrize("text", ["", "x", "A" * 44, "ü" * 43])
def test_a_malformed_pinned_key_is_refused(text: str) -> None:
    with pytest.raises(AuthError):
        pinned_key(text)
