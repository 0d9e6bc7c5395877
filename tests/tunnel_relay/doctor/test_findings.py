"""Every finding has a cause and a next command, and whatever happens is one."""

import pytest

from tunnel_relay.doctor.findings import FINDINGS, Finding, FoundError, explain
from tunnel_relay.errors import EXPLAINED, Code, RelayError
from tunnel_relay.store.base import StoreError


def test_every_finding_is_explained_by_a_code_of_its_own() -> None:
    assert set(FINDINGS) == set(Finding)
    assert not {str(each) for each in Finding} & {str(each) for each in EXPLAINED}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FoundError(Finding.PORT, "x"), "MT1202"),
        (RelayError(Code.FILE_UNSAFE, "x"), "MT1003"),
        (StoreError("x"), "MT1010"),
        (TimeoutError(), "MT1211"),
        (ValueError("a secret"), "MT1210"),
    ],
)
def test_what_happened_has_a_code_and_tells_no_secret(error: Exception, code: str) -> None:
    fault = explain(error)
    assert fault.code == code
    assert fault.next
    assert "secret" not in fault.cause
