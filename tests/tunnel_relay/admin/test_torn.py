"""What is no text goes to no command, wherever it would run."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tunnel_relay.admin.call import call_control
from tunnel_relay.admin.remote import call_api
from tunnel_relay.admin.torn import refuse_torn
from tunnel_relay.errors import Code, RelayError

TORN = "\ud800"


def test_what_can_be_written_passes() -> None:
    refuse_torn({"user": "Zürich", "was": {"a": [1.5, None, "x" * 2**20]}, "more": SecretStr("x")})


def test_the_argument_is_named_whatever_its_name() -> None:
    for name, shown in (("user", "user"), (TORN, "u{d800}")):
        with pytest.raises(RelayError) as caught:
            refuse_torn({name: TORN})
        assert shown in caught.value.message
        assert TORN not in caught.value.message


def test_what_is_no_text_is_sent_to_no_relay(tmp_path: Path) -> None:
    """It would be refused there as no JSON, which tells nobody what is wrong."""
    for given in ({"user": TORN}, {"servers": ["a", TORN]}, {"was": {"name": {TORN: 1}}}):
        with pytest.raises(RelayError, match="UTF-8") as caught:
            call_control(tmp_path / "nobody", "user_add", given)
        assert caught.value.code is Code.BAD_REQUEST
        with pytest.raises(RelayError, match="UTF-8"):
            call_api("https://127.0.0.1:9", SecretStr("x"), "user_add", given)
