"""R08: where announcements may go."""

import pytest
from pydantic import ValidationError

from shared.configfile import SecretRef
from tunnel_relay.settings_approvals import ApprovalSettings

SECRET = SecretRef("env", "HOOK")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "https://localhost/x",
        "https://a.localhost/x",
        "https://intranet/x",
        "https://vault.internal/x",
        "https://printer.local/x",
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://[fd00::1]/x",
        "https://169.254.169.254/latest",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com/#x",
        "https://hooks.example.com/ x",
        "https:///x",
        "https://hooks.example.com:x/",
        *("file:///etc/passwd", "gopher://hooks.example.com/", "ftp://hooks.example.com/"),
        *("unix:/run/x.sock", "data:text/plain,x"),
    ],
)
def test_a_webhook_inside_or_in_clear_is_refused(url: str) -> None:
    """R08, R10."""
    with pytest.raises(ValidationError) as caught:
        ApprovalSettings(webhook=url, webhook_secret=SECRET)
    assert "secret@" not in str(caught.value.errors(include_input=False, include_url=False))


def test_an_operator_may_name_a_host_inside() -> None:
    ApprovalSettings(
        webhook="https://10.0.0.1/x", webhook_secret=SECRET, webhook_hosts=("10.0.0.1",)
    )
    ApprovalSettings(webhook="https://hooks.example.com/x?y=1", webhook_secret=SECRET)


def test_an_announcement_is_always_signed() -> None:
    with pytest.raises(ValidationError, match="webhook_secret"):
        ApprovalSettings(webhook="https://hooks.example.com/x")
    assert ApprovalSettings().webhook is None
