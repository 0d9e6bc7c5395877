"""A provider that a test decides every word of: its answers, its ID tokens, its mistakes."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.tunnel_relay.identity.key_host import KeyHost
from tests.tunnel_relay.identity.minting import NOW, changed, sign


class FalseProvider:
    """Answers at a key host as an OpenID provider would, or nearly."""

    def __init__(self, host: KeyHost, **metadata: Any) -> None:
        self.host = host
        host.be_issuer(
            authorization_endpoint=f"{host.url}/auth",
            token_endpoint=f"{host.url}/token",
            **metadata,
        )

    def answers(self, address: str, headers: dict[str, Any] | None = None, **claims: Any) -> None:
        """Have an ID token ready for a login that began by going to `address`."""
        nonce = parse_qs(urlsplit(address).query)["nonce"][0]
        said = {"iss": self.host.url, "aud": "relay", "nonce": nonce, "iat": int(NOW)}
        kept = changed(client_id=None, **(said | claims))
        token = sign(kept, **({"typ": "JWT"} | (headers or {})))
        self.host.pages["/token"] = {"id_token": token, "token_type": "Bearer"}
