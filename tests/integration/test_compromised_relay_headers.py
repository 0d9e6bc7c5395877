"""A relay in other hands says one thing in a header and another in the body (SEP-2243, T32, H32).

Policy reads the body; what stands behind the upstream's door may go by the headers.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.errors import ResetCode
from shared.jsonrpc.envelope import MODERN
from shared.wire.codec import OpenHead, decode_head, encode_open
from tests.helpers.agent import call
from tests.integration.policies import desk_upstream
from tests.integration.scene import SERVER, eventually
from tests.integration.test_compromised_relay import SESSION, Taken, document, taken_over
from tests.shared.link.ends import Lane

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

TOOL = "rug_region"
MIRRORING: dict[str, Any] = {
    "name": TOOL,
    "inputSchema": {
        "type": "object",
        "properties": {
            "case": {"type": "string"},
            "region": {"type": "string", "x-mcp-header": "Region"},
            "user_id": {"type": "string", "x-mcp-header": "User_Id"},
        },
    },
}
Headers = list[tuple[bytes, bytes]]
HONEST: Headers = [(b"mcp-param-region", b"eu"), (b"mcp-param-user_id", b"ada")]
ARGUMENTS = {"region": "eu", "user_id": "ada"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taken() -> AsyncIterator[Taken]:
    async with taken_over(desk_upstream(MIRRORING)) as made:
        yield made


async def ask(taken: Taken, case: str, headers: Headers, modern: bool = True) -> Lane:
    said = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
    if modern:
        said += [(b"mcp-protocol-version", MODERN.encode()), (b"mcp-method", b"tools/call")]
        said.append((b"mcp-name", TOOL.encode()))
    head = encode_open(OpenHead(SERVER, "POST", SESSION, "", [*said, *headers], ""))
    message = call(TOOL, case=case, modern=modern, **ARGUMENTS)
    lane = taken.link.request(head, json.dumps(message).encode())
    await eventually(lambda: lane.resets or lane.ended)
    return lane


async def test_what_fits_goes_through(taken: Taken) -> None:
    lane = await ask(taken, "fits", HONEST)
    assert "result" in document(lane)
    (seen,) = taken.desk.upstream.calls("fits")
    assert seen.values("mcp-param-region") == ["eu"]
    assert seen.values("mcp-param-user_id") == ["ada"]
    assert "result" in document(await ask(taken, "fits", [], modern=False))
    assert "result" in document(await ask(taken, "fits", [*HONEST, (b"mcp-param-other", b"x")]))


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])
@pytest.mark.parametrize(
    "headers",
    [
        [(b"mcp-param-region", b"us"), HONEST[1]],
        [HONEST[1]],
        [*HONEST, (b"mcp-param-region", b"us")],
        [*HONEST, (b"mcp-param-region", b"eu")],
        [*HONEST, (b"mcp-param-user-id", b"eve")],
        [(b"mcp-param-region", b"=?base64?ZXU?="), HONEST[1]],
    ],
    ids=["other", "missing", "both", "twice", "spelled-alike", "bad-base64"],
)
async def test_what_differs_from_the_body_ends_here(
    taken: Taken, headers: Headers, modern: bool
) -> None:
    lane = await ask(taken, "differs", headers, modern)
    assert document(lane)["error"]["code"] == -32020
    assert lane.head is not None
    assert decode_head(lane.head)[0] == 400
    assert taken.desk.reached("differs") == 0


@pytest.mark.parametrize(
    "name", [b"mcp-param_region", b"mcp_param-region", b"mcp-protocol_version"]
)
async def test_another_spelling_of_a_header_of_mcp_ends_here(taken: Taken, name: bytes) -> None:
    """Servers of the CGI kind read `_` as `-`."""
    lane = await ask(taken, "spelling", [*HONEST, (name, b"us")])
    assert [code for code, _ in lane.resets] == [ResetCode.REFUSED]
    assert taken.desk.reached("spelling") == 0
