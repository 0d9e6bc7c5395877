"""A certificate that was refused: what is wrong with it and who made it, in one sentence."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tunnel_client.doctor.certificates import Shown, judge, read_shown

NOW = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
SHOWN = Shown(
    "Corp Root",
    "relay.test",
    ("relay.test",),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
)
UNKNOWN = "unable to get local issuer certificate"


@pytest.mark.parametrize(
    ("shown", "why", "ca_file", "code", "word"),
    [
        (SHOWN, UNKNOWN, None, "MT2704", "Corp Root"),
        (SHOWN, UNKNOWN, "ca.pem", "MT2204", "ca.pem"),
        (replace(SHOWN, issuer="Zscaler Intermediate"), UNKNOWN, "ca.pem", "MT2704", "Zscaler"),
        (replace(SHOWN, issuer="mitmproxy"), "Hostname mismatch", None, "MT2704", "mitmproxy"),
        (SHOWN, "Hostname mismatch, certificate is not valid for 'x'", None, "MT2204", "not for x"),
        (replace(SHOWN, ends=SHOWN.begins), "has expired", None, "MT2204", "this clock says 2026"),
    ],
)
def test_each_kind_has_its_own_code(
    shown: Shown, why: str, ca_file: str | None, code: str, word: str
) -> None:
    found = judge(shown, why, "x", ca_file, NOW)
    assert found.code == code
    assert word in found.cause
    assert found.next


@pytest.mark.parametrize("der", [b"", b"\x30\x80", b"junk" * 100])
def test_what_is_no_certificate_is_one_error(der: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_shown(der)
