"""One HTTP request to a token endpoint or a vault, under the rules of everything we dial.

One look-up, a judged address, certificate checked against the host's name, no proxy of the
environment, no redirect, nothing unpacked, 64 KiB, 10 s. What went wrong is told by its kind only:
answers may repeat what was sent.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import jiter

from shared.version import VERSION
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress, EgressError, look_up
from tunnel_client.upstream.http_target import origin_of
from tunnel_client.upstream.trust import trusting

DEADLINE = 10.0
MAX_BYTES = 64 * 1024


class Endpoint:
    """A server that gives out secrets."""

    def __init__(self, ca_file: Path | None, egress: Egress) -> None:
        self._ca_file = ca_file
        self._egress = egress
        self._trust: ssl.SSLContext | None = None

    async def ask(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object that answers with status 200; raises CredentialError."""
        try:
            with anyio.fail_after(DEADLINE):
                request = await self._request(method, url, form, json, headers)
                status, body = await self._exchange(request, login)
        except TimeoutError:
            raise CredentialError("it takes too long to answer") from None
        except EgressError as error:
            raise CredentialError(str(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise CredentialError(f"it cannot be reached ({type(error).__name__})") from None
        if status != 200:
            refused = CredentialError(f"it answers with status {status}")
            refused.status = status
            raise refused
        try:
            document = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CredentialError("it does not answer with a JSON object")
        return document

    async def _request(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        json: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx2.Request:
        parts = urlsplit(url)
        port = int(origin_of(url).rpartition(":")[2])
        address = (await look_up(parts.hostname or "", port, self._egress))[0]
        netloc = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return httpx2.Request(
            method,
            parts._replace(netloc=netloc).geturl(),
            data=None if form is None else dict(form),
            json=None if json is None else dict(json),
            headers={
                **(headers or {}),
                "Host": parts.netloc,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"tunnel-client/{VERSION}",
            },
            # The certificate is that of the name, though we connect to the address.
            extensions={"sni_hostname": parts.hostname or ""},
        )

    async def _exchange(
        self, request: httpx2.Request, login: tuple[str, str] | None
    ) -> tuple[int, bytes]:
        if self._trust is None:
            # Reading all the authorities there are takes tens of milliseconds.
            self._trust = await anyio.to_thread.run_sync(trusting, self._ca_file)
        auth = httpx2.BasicAuth(*login) if login else None
        transport = httpx2.AsyncHTTPTransport(verify=self._trust, trust_env=False)
        async with httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, timeout=DEADLINE
        ) as client:
            answer = await client.send(request, auth=auth, stream=True)
            try:
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise CredentialError("it compresses its answer, which was not asked for")
                body = bytearray()
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > MAX_BYTES:
                        raise CredentialError("its answer is larger than 64 KiB")
            finally:
                await answer.aclose()
        return answer.status_code, bytes(body)
