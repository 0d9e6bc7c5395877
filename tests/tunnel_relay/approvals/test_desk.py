"""A request is made once, decided by the right people, and handed out once."""

from pathlib import Path

import anyio
import pytest
import structlog.testing

from shared.jsonrpc.canonical import exact
from shared.keys import PrivateKey, encode_public, key_fingerprint
from shared.permit import approver_message, check_keys, decode, passkey_challenge
from tests.helpers.passkeys import SoftPasskey
from tests.tunnel_relay.admin.test_service import broken, mended, refused
from tests.tunnel_relay.approvals.scene import PARAMS, an_office, given_params, listed, needs
from tests.tunnel_relay.making import an_admin
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.approvals.desk import AskError
from tunnel_relay.approvals.requests import MAX_ARGUMENTS, MAX_OF_SESSION, Full
from tunnel_relay.approvals.signatures import signed
from tunnel_relay.errors import Code
from tunnel_relay.store.approvals import State, Texts
from tunnel_relay.store.base import StoreError


async def test_an_approved_call_goes_out_once(tmp_path: Path) -> None:
    """P22: one after the other."""
    async with an_office(tmp_path) as office:
        desk, session = office.admin.approvals, office.session.id
        asked = await office.ask()
        assert not desk.requests.ready(session)
        assert (await desk.take(session, "send", PARAMS)).approval is None
        await office.approve("pia", asked, reason="looks right")
        assert desk.requests.ready(session)
        taken = (await desk.take(session, "send", PARAMS)).approval
        assert taken is not None
        assert (taken.id, taken.state) == (asked.id, State.CONSUMED)
        assert (await desk.take(session, "send", PARAMS)).approval is None
        assert not desk.requests.ready(session)


async def test_of_fifty_at_a_time_one_goes_out(tmp_path: Path) -> None:
    """P22."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        await office.approve("pia", asked)
        taken = []

        async def take() -> None:
            taken.append(await office.admin.approvals.take(office.session.id, "send", PARAMS))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(take)
        assert [each.approval.id for each in taken if each.approval] == [asked.id]
        assert sum(each.lost for each in taken) == 49


async def test_two_programs_on_one_database_use_an_approval_once(tmp_path: Path) -> None:
    """P22: what one update in the store decides does not depend on anybody's memory."""
    async with an_office(tmp_path) as office:
        asked = await office.ask()
        await office.approve("pia", asked)
        store, now = office.admin.store, office.admin.clock()
        used = []

        async def consume() -> None:
            used.append(await store.consume_approval(asked.id, now))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(consume)
        assert used.count(True) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"arguments":{"to":"b@example.com","text":"hello"}}',
        b'{"arguments":{"to":"a@example.com","text":"hello","bcc":"b@example.com"}}',
        b'{"arguments":{"to":"a@example.com","text":"hello"},"inputResponses":{"q":{}}}',
        b'{"arguments":{"to":"a@example.com","text":"hello"},"requestState":"x"}',
    ],
)
async def test_other_arguments_than_those_approved_do_not_go_out(
    tmp_path: Path, body: bytes
) -> None:
    """P20, P40."""
    async with an_office(tmp_path) as office:
        await office.approve("pia", await office.ask())
        desk = office.admin.approvals
        assert (await desk.take(office.session.id, "send", exact(body))).approval is None
        assert (await desk.take(office.session.id, "other", PARAMS)).approval is None
        other = await office.another_session()
        assert (await desk.take(other.id, "send", PARAMS)).approval is None
        again = await office.ask(exact(body))
        assert again.state is State.PENDING
        assert (await desk.take(office.session.id, "send", PARAMS)).approval is not None


async def test_the_same_call_is_asked_about_once(tmp_path: Path) -> None:
    """P29: however it is spelled."""
    async with an_office(tmp_path) as office:
        told: list[str] = []
        office.admin.approvals.announce = lambda approval, texts: told.append(approval.id)
        first = await office.ask()
        again = await office.ask(
            exact(b'{"arguments": {"text": "h\\u0065llo", "to": "a@example.com"}, "_meta": {}}')
        )
        assert again == first
        assert told == [first.id]


async def test_a_thousand_requests_leave_a_few_and_a_denied_one_is_not_asked_again(
    tmp_path: Path,
) -> None:
    """P29."""
    async with an_office(tmp_path) as office:
        first = await office.ask({"arguments": {"n": -1}})
        await office.run("pia", "approval_deny", approval=first.id, reason="no")
        assert (await office.ask({"arguments": {"n": -1}})).state is State.DENIED
        refusals = []
        for number in range(1000):
            try:
                await office.ask({"arguments": {"n": number}})
            except AskError as error:
                refusals.append(error.too_many)
        assert refusals == [Full.SESSION] * (1001 - MAX_OF_SESSION)
        assert len(await listed(office, "pia")) == MAX_OF_SESSION - 1


async def test_what_nobody_could_read_cannot_be_approved(tmp_path: Path) -> None:
    """P28: a megabyte of arguments; a name that no permit could hold."""
    async with an_office(tmp_path) as office:
        with pytest.raises(AskError, match="over 256 KiB"):
            await office.ask({"arguments": {"text": "x" * MAX_ARGUMENTS}})
        with pytest.raises(AskError, match="too long"):
            await office.ask(tool="t" * 300)
        with pytest.raises(AskError, match="no one spelling"):
            await office.ask({"arguments": {"text": "\ud800"}})
        assert await listed(office, "pia") == []


async def test_it_outlives_the_relay(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        first, second = await office.ask(), await office.ask({"arguments": {"n": 1}}, count=2)
        await office.approve("pia", first, reason="fine")
        await office.approve("pia", second)
        session = office.session.id
    async with an_admin(tmp_path) as admin:
        desk = admin.approvals
        (known,) = desk.requests.pending(desk.now())
        assert (known.id, known.voices[0].user) == (second.id, "pia")
        assert (await desk.texts(known)).arguments == '{"arguments":{"n":1}}'
        taken = (await desk.take(session, "send", PARAMS)).approval
        assert taken is not None
        assert taken.voices[0].reason == "fine"
    async with an_admin(tmp_path) as admin:
        assert (await admin.approvals.take(session, "send", PARAMS)).approval is None


async def test_without_a_store_nothing_is_given_and_nothing_goes_out(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        desk = office.admin.approvals
        asked = await office.ask()
        other = await office.ask({"arguments": {"n": 1}})
        await office.approve("pia", asked)
        broken(tmp_path, "approvals")
        with pytest.raises(StoreError):
            await office.ask({"arguments": {"n": 2}})
        assert await refused(office.approve("pia", other)) is Code.STORE_UNAVAILABLE
        with pytest.raises(StoreError):
            await desk.take(office.session.id, "send", PARAMS)
        mended(tmp_path, "approvals")
        assert desk.requests.ready(office.session.id)


async def test_a_rule_of_the_relays_own_has_to_be_satisfied_too(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        desk = office.admin.approvals
        await office.approve("pia", await office.ask())
        night = needs(groups=("night",))
        assert (await desk.take(office.session.id, "send", PARAMS, night)).approval is None
        assert (await desk.take(office.session.id, "send", PARAMS, needs())).approval is not None


async def test_keys_that_the_private_side_lists_have_to_sign(tmp_path: Path) -> None:
    keys = [PrivateKey.generate(), PrivateKey.generate()]
    listed = tuple(key_fingerprint(key.public) for key in keys)
    async with an_office(tmp_path) as office:
        asked = await office.ask(keys=listed, count=2)
        message = approver_message(permit_of(asked))

        def by(key: PrivateKey, over: bytes = message) -> dict[str, str]:
            return {"key": encode_public(key.public), "signature": key.sign(over).hex()}

        assert await refused(office.approve("pia", asked)) is Code.SIGNATURE_NEEDED
        for bad in (
            by(PrivateKey.generate()),
            by(keys[0], message + b"x"),
            {"key": encode_public(keys[0].public), "signature": "zz"},
            {"key": encode_public(keys[0].public)},
            {"key": "x", "signature": "00"},
        ):
            assert await refused(office.approve("pia", asked, **bad)) is Code.SIGNATURE_NEEDED
        await office.approve("pia", asked, **by(keys[0]))
        assert await refused(office.approve("paul", asked, **by(keys[0]))) is Code.APPROVAL_OVER
        await office.approve("paul", asked, **by(keys[1]))
        taken = (await office.admin.approvals.take(office.session.id, "send", PARAMS)).approval
        assert taken is not None
        check_keys(signed(taken), [key.public for key in keys], 2, b"")
        assert signed(taken).permit == permit_of(asked)


async def test_break_glass_is_loud_from_the_first_word_to_the_last(tmp_path: Path) -> None:
    """P34: a reason, a second person, and events of its own, each a warning."""
    async with an_office(tmp_path) as office:
        with structlog.testing.capture_logs() as said:
            asked = await office.ask(tool_class="break_glass", not_requester=False)
            assert await refused(office.approve("uma", asked, reason="x")) is Code.OWN_REQUEST
            assert await refused(office.approve("pia", asked)) is Code.REASON_NEEDED
            await office.approve("pia", asked, reason="the plant is on fire")
            taken = await office.admin.approvals.take(office.session.id, "send", PARAMS)
            assert taken.approval is not None
            again = await office.admin.approvals.take(office.session.id, "send", PARAMS)
            assert again.approval is None
        loud = [(each["event"], each["log_level"]) for each in said]
        assert loud == [
            ("break_glass_asked", "warning"),
            ("break_glass_refused", "warning"),
            ("break_glass_given", "warning"),
            ("break_glass_used", "warning"),
        ]
        assert said[2]["reason"] == "the plant is on fire"


async def test_arguments_are_kept_no_longer_than_they_are_needed(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        admin, desk = office.admin, office.admin.approvals
        asked, used = await office.ask(), await office.ask({"arguments": {"n": 1}})
        await office.approve("pia", used)
        await desk.take(office.session.id, "send", given_params())
        await desk.purge()
        assert (await desk.texts(asked)).arguments is not None
        clock = admin.clock
        admin.clock = lambda: clock() + 2 * 86400
        await desk.purge()
        for each in (asked, used):
            assert await desk.texts(each) == Texts(None, None)
        assert len(desk.requests) == 2
        admin.clock = lambda: clock() + 40 * 86400
        await desk.purge()
        assert len(desk.requests) == 0
        assert await admin.store.approvals() == []


async def test_no_log_line_holds_an_argument(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        with structlog.testing.capture_logs() as said:
            await office.approve("pia", await office.ask({"arguments": {"to": "kept-to-itself"}}))
        assert said
        assert "kept-to-itself" not in str(said)


async def test_a_passkey_signs_this_request_or_nothing(tmp_path: Path) -> None:
    """P20, T32."""
    pia = SoftPasskey.make()
    async with an_office(tmp_path) as office:
        asked = await office.ask(keys=(pia.public.fingerprint,))
        other = await office.ask({"arguments": {"to": "b"}}, keys=(pia.public.fingerprint,))
        key = pia.public.text()
        made = pia.sign(passkey_challenge(permit_of(asked)))
        stranger = office.approve("pia", asked, key=key, signature=made.text())
        assert await refused(stranger) is Code.SIGNATURE_NEEDED
        await office.passkey("pia", pia)
        for made in (
            pia.sign(passkey_challenge(permit_of(other))),
            pia.sign(passkey_challenge(permit_of(asked)), flags=1),
            SoftPasskey.make().sign(passkey_challenge(permit_of(asked))),
        ):
            bad = office.approve("pia", asked, key=key, signature=made.text())
            assert await refused(bad) is Code.SIGNATURE_NEEDED
        for text in ("", "00", "~~", "a~b~c"):
            bad = office.approve("pia", asked, key=key, signature=text)
            assert await refused(bad) is Code.SIGNATURE_NEEDED
        made = pia.sign(passkey_challenge(permit_of(asked)))
        done = await office.approve("pia", asked, key=key, signature=made.text())
        assert done["state"] == "approved"
        await office.passkey("paul", pia)
        again = office.approve("paul", asked, key=key, signature=made.text())
        assert await refused(again) is Code.APPROVAL_OVER
        taken = await office.admin.approvals.take(office.session.id, "send", PARAMS)
        assert taken.approval is not None
        check_keys(decode(signed(taken.approval).text()), [pia.public], 1, b"")
