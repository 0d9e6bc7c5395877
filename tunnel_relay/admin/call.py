"""The other end of `tunnel_relay.admin.control`: gives a running relay one command."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from tunnel_relay.admin.torn import refuse_torn
from tunnel_relay.errors import Code, RelayError

CALL_TIMEOUT = 30.0


def call_control(
    path: Path, command: str, arguments: dict[str, Any], seconds: float = CALL_TIMEOUT
) -> Any:
    """Return the relay's answer to a command; a silence of `seconds` is too long.

    Raises FileNotFoundError or ConnectionRefusedError when nobody listens, so that nothing was
    sent; otherwise RelayError: RELAY_SILENT means that the outcome is not known.
    """
    refuse_torn(arguments)
    connection = _UnixConnection(path, seconds)
    try:
        try:
            connection.connect()
        except PermissionError as error:
            message = f"{path} belongs to another user"
            raise RelayError(Code.NOT_PERMITTED, message) from error
        except BlockingIOError as error:
            message = "too many wait for an answer; nothing was asked"
            raise RelayError(Code.RELAY_SILENT, message) from error
        answer = _exchange(connection, command, arguments)
    finally:
        connection.close()
    if "error" in answer:
        raise RelayError(Code(answer["error"]["code"]), answer["error"]["message"])
    return answer["result"]


def _exchange(
    connection: http.client.HTTPConnection, command: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    try:
        body = json.dumps(arguments)
        connection.request("POST", f"/v1/{command}", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        message = f"no answer ({type(error).__name__}); what was asked may have been done"
        raise RelayError(Code.RELAY_SILENT, message) from error
    if not isinstance(answer, dict):
        raise RelayError(Code.RELAY_SILENT, "the answer was not understood")
    return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("relay", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))
