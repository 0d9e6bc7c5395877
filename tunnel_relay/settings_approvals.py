"""What the configuration says of approvals."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from shared.configfile import ConfigModel, SecretRef
from tunnel_relay.setting_types import AbsolutePath

MAX_URL = 500


def _webhook_url(text: str) -> str:
    """Return an https URL that nobody can read two ways; raises ValueError."""
    plain = text.isascii() and text.isprintable() and len(text) <= MAX_URL
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host, plain = None, False
    odd = any(character in text for character in ' \\#"<>^`{|}@')
    if not plain or odd or not host or not text.startswith("https://"):
        raise ValueError("write an https:// URL without a user or a fragment")
    return text


WebhookUrl = Annotated[str, AfterValidator(_webhook_url)]


class ApprovalSettings(ConfigModel):
    """Calls that wait for a person's word, and who hears of them."""

    webhook: WebhookUrl | None = None
    """Where each new request is announced, as JSON by POST."""
    webhook_secret: SecretRef | None = None
    """The key of the HMAC-SHA256 that each announcement is signed with; a webhook needs one."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts of the webhook that may have private addresses."""
    webhook_ca_file: AbsolutePath | None = None
    """Authorities to trust there, PEM; left out: the system's."""
    webhook_arguments: bool = False
    """Send the arguments along; else they are only in the console."""

    @model_validator(mode="after")
    def _hold_together(self) -> "ApprovalSettings":
        if self.webhook is None:
            return self
        if self.webhook_secret is None:
            raise ValueError("approvals.webhook needs approvals.webhook_secret")
        host = urlsplit(self.webhook).hostname or ""
        if host not in self.webhook_hosts and _is_inside(host):
            raise ValueError(
                "approvals.webhook is inside a private network; if that is meant, "
                "name its host in approvals.webhook_hosts"
            )
        return self


def _is_inside(host: str) -> bool:
    """Tell what can be told without a look-up; the rest is told when it is connected to."""
    if host == "localhost" or host.endswith((".localhost", ".internal", ".local")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host
