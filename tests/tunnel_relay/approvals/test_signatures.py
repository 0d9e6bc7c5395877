"""A permit that would not fit is refused while somebody can still do something about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from shared.permit import passkey_challenge
from tests.helpers.passkeys import SoftPasskey, client_data_of
from tests.tunnel_relay.approvals.scene import an_office
from tunnel_relay.approvals.decide import permit_of
from tunnel_relay.approvals.signatures import check_signature, check_size
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.approvals import Voice


async def test_signatures_that_do_not_fit_into_a_permit_are_refused(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask(count=8)
    challenge = passkey_challenge(permit_of(asked))
    long = client_data_of(challenge, said={"other": "x" * 700})
    voices: list[Voice] = []
    for number in range(8):
        key = SoftPasskey.make()
        made = key.sign(challenge, client_data=long).text()
        voices.append(Voice(f"user{number}", 1.0, "", key.public.text(), made))
        check_signature(asked, voices[-1])
    check_size(replace(asked, voices=tuple(voices[:2])))
    with pytest.raises(RelayError) as error:
        check_size(replace(asked, voices=tuple(voices)))
    assert error.value.code is Code.PERMIT_TOO_LONG


async def test_a_signature_without_a_key_is_malformed(tmp_path: Path) -> None:
    async with an_office(tmp_path) as office:
        asked = await office.ask()
    check_signature(asked, Voice("pia", 1.0, "", "", ""))
    with pytest.raises(RelayError, match="malformed"):
        check_signature(asked, Voice("pia", 1.0, "", "", "00"))
