"""The OpenAPI document of the admin API, made from the commands' own signatures."""

import inspect
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, create_model
from pydantic.json_schema import models_json_schema

from shared.version import VERSION
from tunnel_relay.admin.answers import STATUSES
from tunnel_relay.admin.commands import COMMANDS
from tunnel_relay.admin.service import Admin

_REF = "#/components/schemas/{model}"
_STRICT = ConfigDict(extra="forbid")
_REFUSED = {
    400: "malformed, or against the rules",
    401: "no admin token and no login",
    403: "the role does not allow it, or the request comes from a foreign page",
    404: "what is named is unknown",
    405: "not POST",
    409: "the state does not allow it",
    413: "over 64 KiB",
    415: "not application/json",
    429: "too many attempts",
    503: "the database refuses",
}


@cache
def openapi() -> dict[str, Any]:
    """Return the document; OpenAPI 3.1."""
    models = {command: _arguments(command) for command in COMMANDS}
    _, definitions = models_json_schema(
        [(model, "validation") for model in models.values()], ref_template=_REF
    )
    schemas: dict[str, Any] = definitions.get("$defs", {})
    schemas["Refusal"] = _refusal()
    return {
        "openapi": "3.1.0",
        "info": {"title": "MCP tunnel relay: admin API", "version": VERSION},
        "security": [{"token": []}],
        "paths": {
            f"/v1/{command}": {"post": _operation(command, model.__name__)}
            for command, model in models.items()
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _arguments(command: str) -> Any:
    method = getattr(Admin, command)
    hints = get_type_hints(method)
    fields: dict[str, Any] = {
        name: (hints[name], ... if given.default is inspect.Parameter.empty else given.default)
        for name, given in inspect.signature(method).parameters.items()
        if name != "self"
    }
    name = "".join(word.capitalize() for word in command.split("_"))
    return create_model(name, __config__=_STRICT, **fields)


def _operation(command: str, model: str) -> dict[str, Any]:
    says = inspect.getdoc(getattr(Admin, command)) or ""
    role = COMMANDS[command].value
    arguments = {"schema": {"$ref": _REF.format(model=model)}}
    result = {"type": "object", "properties": {"result": {}}, "required": ["result"]}
    refused = {"schema": {"$ref": _REF.format(model="Refusal")}}
    return {
        "operationId": command,
        "tags": [command.partition("_")[0]],
        "summary": says.partition("\n")[0],
        "description": f"{says}\n\nTakes the role `{role}`; an admin may do all.",
        "x-role": role,
        "requestBody": {"required": True, "content": {"application/json": arguments}},
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": result}}},
            **{
                str(status): {"description": why, "content": {"application/json": refused}}
                for status, why in _REFUSED.items()
            },
        },
    }


def _refusal() -> dict[str, Any]:
    parts = {key: {"type": "string"} for key in ("code", "message", "next")}
    codes = ", ".join(f"{code.value} {status}" for code, status in sorted(STATUSES.items()))
    return {
        "type": "object",
        "description": f"Why it was refused; 400 but for these codes: {codes}.",
        "properties": {"error": {"type": "object", "properties": parts, "required": list(parts)}},
        "required": ["error"],
    }
