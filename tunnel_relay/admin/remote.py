"""Gives a relay one command over its admin API, from any machine, with a user's admin token."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from tunnel_relay.admin.torn import refuse_torn
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.setting_types import normal_origin

TIMEOUT = 30.0
MAX_ANSWER = 16 * 1024 * 1024


def call_api(
    origin: str,
    token: SecretStr,
    command: str,
    arguments: dict[str, Any],
    ca_file: Path | None = None,
) -> Any:
    """Return the relay's answer; raises RelayError.

    The token goes over https only, or to this machine; redirects are not followed.
    """
    refuse_torn(arguments)
    try:
        url = urlsplit(normal_origin(origin))
    except ValueError as error:
        raise RelayError(Code.BAD_REQUEST, f"--api: {error}") from None
    host, port = url.hostname or "", url.port
    if url.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT, context=_trust(ca_file)
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    headers = {
        "Authorization": f"Bearer {token.get_secret_value()}",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    try:
        connection.connect()
    except OSError as error:
        raise _unreachable(origin, error) from None
    try:
        connection.request("POST", f"/v1/{command}", json.dumps(arguments), headers)
        body = connection.getresponse().read(MAX_ANSWER + 1)
        answer = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        message = f"no answer of {origin} ({type(error).__name__}); it may have been done"
        raise RelayError(Code.RELAY_SILENT, message) from None
    finally:
        connection.close()
    return _result(answer)


def _unreachable(origin: str, error: OSError) -> RelayError:
    why = error.strerror or type(error).__name__
    return RelayError(
        Code.RELAY_SILENT,
        f"no connection to {origin}: {why}; nothing was done",
        cause="no relay can be reached there",
        then="see that it runs (tunnel-relay serve), that --api is its console, --ca-file its CA",
    )


def _result(answer: Any) -> Any:
    if isinstance(answer, dict) and "result" in answer:
        return answer["result"]
    try:
        refused = answer["error"]
        error = RelayError(Code(refused["code"]), str(refused["message"])[:500])
    except (TypeError, KeyError, ValueError):
        error = RelayError(Code.RELAY_SILENT, "the answer was not understood")
    raise error


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise RelayError(Code.BAD_REQUEST, f"--ca-file: {error.strerror}") from None
