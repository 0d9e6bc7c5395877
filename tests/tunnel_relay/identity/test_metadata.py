"""The documents by which agents find out where to log in."""

from pathlib import Path

import pytest

from tests.tunnel_relay.identity.authorization import OTHER_URL, PAGE, RESOURCE, a_server
from tests.tunnel_relay.making import URL

PRM = "/.well-known/oauth-protected-resource"
PATH = RESOURCE.removeprefix(URL)


async def test_a_server_says_where_to_log_in_and_so_does_one_that_is_not_there(
    tmp_path: Path,
) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        for path in (PATH, "/t/nobody/knows/mcp"):
            answer = await http.get(PRM + path, headers={"Origin": "https://any.example"})
            assert answer.json() == {
                "resource": URL + path,
                "authorization_servers": [URL],
                "scopes_supported": ["mcp"],
                "bearer_methods_supported": ["header"],
            }
            assert answer.headers["access-control-allow-origin"] == "*"
        there = await http.get(OTHER_URL + PRM + PATH)
        assert there.json()["resource"] == OTHER_URL + PATH


@pytest.mark.parametrize(
    "path",
    ["", "/", "/t/lab/mcp", "/t/lab/server/mcp/", "/t/Lab/server/mcp", "/t/lab/server", "/x/y"],
)
async def test_there_is_a_document_for_servers_and_nothing_else(tmp_path: Path, path: str) -> None:
    async with a_server(tmp_path) as scene:
        assert (await (await scene.http()).get(PRM + path)).status_code == 404


async def test_the_authorization_server_describes_what_it_does(tmp_path: Path) -> None:
    async with a_server(tmp_path, dynamic_registration=True) as scene:
        http = await scene.http()
        described = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert described["issuer"] == URL
        assert described["code_challenge_methods_supported"] == ["S256"]
        assert described["authorization_response_iss_parameter_supported"] is True
        assert described["client_id_metadata_document_supported"] is True
        for name, value in described.items():
            if name.endswith("_endpoint"):
                method = "GET" if name == "authorization_endpoint" else "POST"
                assert (await http.request(method, value)).status_code != 404
        # 404 lets an agent that tries other places first come here.
        for path in (
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/x",
        ):
            assert (await http.get(path)).status_code == 404


async def test_what_is_off_is_not_offered(tmp_path: Path) -> None:
    async with a_server(tmp_path, metadata_documents=False) as scene:
        http = await scene.http()
        described = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert described["client_id_metadata_document_supported"] is False
        assert "registration_endpoint" not in described


async def test_a_page_that_may_call_the_relay_may_log_in_too(tmp_path: Path) -> None:
    async with a_server(tmp_path) as scene:
        http = await scene.http()
        for origin, allowed in ((PAGE, True), ("https://evil.example", False)):
            headers = {"Origin": origin}
            answer = await http.post("/oauth/token", data={"client_id": "desk"}, headers=headers)
            assert ("access-control-allow-origin" in answer.headers) is allowed
            page = await http.get("/oauth/authorize", headers=headers)
            assert "access-control-allow-origin" not in page.headers
