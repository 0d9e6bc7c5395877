"""Refusals have stable codes of their own, each with a section in the documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import AuthError, CloseCode
from tunnel_client import errors_connect, errors_service, errors_upstreams
from tunnel_client.doctor import errors as errors_doctor
from tunnel_client.errors import ClientError, DialError, SettingsError
from tunnel_client.reconnect import GiveUp, KeyUse, Reconnect

DOCS = Path(__file__).resolve().parents[2] / "docs" / "client-errors.md"


MODULES = (
    ClientError.__module__,
    errors_upstreams.__name__,
    errors_connect.__name__,
    errors_doctor.__name__,
    errors_service.__name__,
)


def family(kind: type[ClientError]) -> Iterator[type[ClientError]]:
    for child in kind.__subclasses__():
        if child.__module__ in MODULES:
            yield child
            yield from family(child)


def test_every_code_is_used_once_and_has_a_section_with_its_exit_code() -> None:
    kinds = list(family(ClientError))
    exits = {kind.code: kind.exit_code for kind in kinds}
    assert len(exits) == len(kinds)
    for end in (
        Reconnect().after_close(CloseCode.REVOKED, up_for=0, jitter=0),
        Reconnect().after_close(CloseCode.REPLACED, up_for=0, jitter=0, key=KeyUse.REFUSED),
        Reconnect().after_close(CloseCode.TOO_MANY, up_for=0, jitter=0),
        Reconnect().after_error(AuthError(""), up_for=0, jitter=0),
    ):
        assert isinstance(end, GiveUp)
        exits[end.reason[:6]] = end.exit_code
    sections = re.findall(r"^### (MT\d{4})\n(.*?)(?=\n#|\Z)", DOCS.read_text(), re.M | re.S)
    said = {code: int(re.findall(r"Exit (\d+)\.", text)[-1]) for code, text in sections}
    assert said == exits


@pytest.mark.parametrize("kind", [SettingsError, DialError])
def test_a_refusal_shows_code_cause_and_the_next_command(kind: type[ClientError]) -> None:
    assert str(kind("it is so")) == f"{kind.code}: it is so\n  next: {kind.next_command}"
    assert str(kind("it is so", "do this")).endswith("\n  next: do this")


def test_what_is_known_stands_in_the_next_command() -> None:
    listing = errors_upstreams.ListingError("no").naming(NAME="my-time")
    assert (
        listing.next == "tunnel-client upstream test my-time; then tunnel-client tool list my-time"
    )
    own = SettingsError("no", "set RELAY_NAMES").naming(RELAY=r"a\1", NAME="x")
    assert own.next == "set RELAY_NAMES"
