"""What the SDK's OAuth provider is given to keep its login in."""

from mcp.shared.auth import OAuthClientInformationFull, OAuthToken


class Memory:
    """Forgets everything at the end; `registered` by an admin, None: it registers itself."""

    def __init__(self, registered: OAuthClientInformationFull | None = None) -> None:
        self.tokens: OAuthToken | None = None
        self.registered = registered

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.registered

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registered = client_info
