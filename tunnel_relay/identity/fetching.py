"""Fetches documents of providers that the operator named: issuers' keys and metadata, ID tokens.

Their addresses may be private, because an operator chose them. Even so: TLS that is checked, no
redirect, few bytes, little time (attack row R04).
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import jiter
from pydantic import SecretStr

from tunnel_relay.settings_issuers import is_provider_url

MAX_BYTES = 64 * 1024
DEADLINE = 5.0
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """The document cannot be had; the text is for the log and holds no secret."""


class Fetcher:
    """Talks to one provider; `ca_file` names the authorities to trust, None: the system's."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._trust: ssl.SSLContext | None = None

    async def get(self, url: str) -> dict[str, Any]:
        """Return the JSON object at a URL; raises FetchError."""
        return await self._ask("GET", url, None, None)

    async def post(
        self, url: str, form: Mapping[str, str], login: tuple[str, SecretStr] | None = None
    ) -> dict[str, Any]:
        """Send a form and return the JSON object that answers; `login` goes as HTTP Basic."""
        return await self._ask("POST", url, form, login)

    async def _ask(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        login: tuple[str, SecretStr] | None,
    ) -> dict[str, Any]:
        if not is_provider_url(url):
            raise FetchError("its address is neither https nor http on loopback")
        auth = httpx2.BasicAuth(login[0], login[1].get_secret_value()) if login else None
        try:
            with anyio.fail_after(DEADLINE):
                body = await self._exchange(method, url, form, auth)
        except TimeoutError:
            raise FetchError("it takes too long to answer") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise FetchError(f"it cannot be reached ({type(error).__name__})") from None
        try:
            document = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise FetchError("it does not answer with a JSON object")
        return document

    async def _exchange(
        self, method: str, url: str, form: Mapping[str, str] | None, auth: httpx2.Auth | None
    ) -> bytes:
        if self._trust is None:
            # Reading all the authorities there are takes tens of milliseconds.
            self._trust = await anyio.to_thread.run_sync(load_trust, self._ca_file)
        async with (
            # What is on loopback is not reached through a proxy.
            httpx2.AsyncClient(verify=self._trust, trust_env=url.startswith("https:")) as client,
            client.stream(method, url, data=form, auth=auth, headers=_HEADERS) as answer,
        ):
            if answer.status_code != 200:
                raise FetchError(f"it answers with status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise FetchError("it compresses its answer, which was not asked for")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    raise FetchError(f"its answer is larger than {MAX_BYTES} bytes")
            return bytes(body)


def load_trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return what a provider's certificate is checked with; raises OSError."""
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
