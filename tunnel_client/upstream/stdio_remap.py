"""Names of our own for what agents call 1, 2, 3: on a shared child equal ids must never meet.

Every id and progress token an agent chose is replaced by one that nobody can guess and that
occurs nowhere else. What comes back is put right in the child's own bytes: a quoted name of ours
means the agent's value wherever it stands (`id`, `subscriptionId`, `requestId`, `progressToken`,
or copied into a result), so no result is parsed and written again.
"""

import json
import secrets
from typing import Any

from shared.jsonrpc.envelope import META_PREFIX

SUBSCRIPTION_KEY = META_PREFIX + "subscriptionId"
LOG_LEVEL_KEY = META_PREFIX + "logLevel"


class Names:
    """Makes names that are new for as long as the program runs."""

    def __init__(self) -> None:
        self._prefix = f"mt{secrets.token_hex(8)}"
        self._count = 0

    def new(self) -> str:
        """Return a name: letters, digits and `-`, so that no JSON writer escapes any of it."""
        self._count += 1
        return f"{self._prefix}-{self._count}"


class Mapping:
    """One request's names: ours towards the child, the agent's towards the agent."""

    __slots__ = ("_back", "id", "token")

    def __init__(self, names: Names, identity: str | int, params: dict[str, Any] | None) -> None:
        self.id = names.new()
        self._back = [(_quoted(self.id), json.dumps(identity).encode())]
        token = _meta(params).get("progressToken")
        self.token: str | None = None
        # A token of another type is no token: the server will say so or ignore it.
        if type(token) is str or type(token) is int:
            self.token = names.new()
            self._back.append((_quoted(self.token), json.dumps(token).encode()))

    def outgoing(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of the request that carries our names."""
        message = {**document, "id": self.id}
        if self.token is not None:
            params = document["params"]
            message["params"] = {
                **params,
                "_meta": {**params["_meta"], "progressToken": self.token},
            }
        return message

    def incoming(self, line: bytes) -> bytes:
        """Return the child's message with the agent's names."""
        for ours, theirs in self._back:
            line = line.replace(ours, theirs)
        return line


def meta_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return `params._meta` of a message, empty when there is none."""
    params = message.get("params")
    return _meta(params if type(params) is dict else None)


def _meta(params: dict[str, Any] | None) -> dict[str, Any]:
    meta = params.get("_meta") if params is not None else None
    return meta if type(meta) is dict else {}


def _quoted(name: str) -> bytes:
    return f'"{name}"'.encode()
