"""The document says of each command what its signature says."""

import inspect

from tunnel_relay.admin.commands import COMMANDS
from tunnel_relay.admin.openapi import openapi
from tunnel_relay.admin.service import Admin


def test_every_command_is_described_with_its_arguments() -> None:
    document = openapi()
    assert set(document["paths"]) == {f"/v1/{command}" for command in COMMANDS}
    for command, role in COMMANDS.items():
        operation = document["paths"][f"/v1/{command}"]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        parameters = dict(inspect.signature(getattr(Admin, command)).parameters)
        del parameters["self"]
        assert set(schema.get("properties", {})) == set(parameters), command
        needed = {
            name for name, each in parameters.items() if each.default is inspect.Parameter.empty
        }
        assert set(schema.get("required", [])) == needed, command
        assert schema["additionalProperties"] is False
        assert operation["x-role"] == role.value
        assert operation["summary"]


def test_a_password_is_marked_as_one() -> None:
    schemas = openapi()["components"]["schemas"]
    assert schemas["UserPassword"]["properties"]["password"]["format"] == "password"
    assert schemas["UserPassword"]["properties"]["password"]["writeOnly"]
