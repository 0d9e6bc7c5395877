import pytest

from tests.helpers.upstream_peer import eventually, upstream_of
from tunnel_client.upstream.stdio_shared import Era, verdict

MODERN_ERROR = {"code": -32022, "message": "", "data": {"supported": ["2026-07-28"]}}
LEGACY_ERROR = {"code": -32022, "message": "", "data": {"supported": ["2025-11-25"]}}


@pytest.mark.parametrize(
    ("message", "era"),
    [
        ({"result": {"supportedVersions": ["2026-07-28"]}}, Era.MODERN),
        ({"result": {"supportedVersions": ["2025-11-25", "2027-01-01"]}}, Era.MODERN),
        ({"result": {"supportedVersions": ["2025-11-25"]}}, Era.LEGACY),
        ({"result": {}}, Era.LEGACY),
        ({"result": {"supportedVersions": "2026-07-28"}}, Era.LEGACY),
        ({"error": MODERN_ERROR}, Era.MODERN),
        ({"error": LEGACY_ERROR}, Era.LEGACY),
        ({"error": {"code": -32021, "message": ""}}, Era.MODERN),
        ({"error": {"code": -32601, "message": ""}}, Era.LEGACY),
        ({"error": {"code": -32602, "message": ""}}, Era.LEGACY),
        ({"error": "no"}, Era.LEGACY),
        ({}, Era.LEGACY),
    ],
)
def test_only_a_discover_result_or_a_modern_error_means_modern(
    message: dict[str, object], era: Era
) -> None:
    assert verdict(message)[0] is era


@pytest.mark.parametrize("option", ["legacy", "old", "legacy-exit", "mute"])
async def test_a_legacy_server_refuses_the_modern_era_so_that_agents_fall_back(
    option: str,
) -> None:
    timeout = 0.3 if option == "mute" else 10.0
    async with upstream_of(option, probe_timeout=timeout) as peer:
        for _ in range(2):
            reply = await peer.modern("server/discover").done()
            assert (reply.status, reply.last["error"]["code"]) == (400, -32600)
        # The probe's child had a strange first request: no MCP session ever gets it.
        await eventually(lambda: peer.upstream.children == 0)
        assert (await peer.initialize("s").done()).status == 200
        assert (await peer.legacy_call("s", "echo").done()).text == "{}"


async def test_all_who_wait_for_the_probe_share_one_child() -> None:
    async with upstream_of() as peer:
        replies = [peer.modern_call("facts") for _ in range(10)]
        texts = {(await reply.done()).text for reply in replies}
        assert len(texts) == 1
        assert peer.upstream.children == 1


async def test_the_eras_of_a_server_of_both_run_beside_each_other() -> None:
    async with upstream_of() as peer:
        modern = await peer.modern_call("facts").done()
        await peer.initialize("s").done()
        legacy = await peer.legacy_call("s", "facts").done()
        assert modern.text != legacy.text
        assert peer.upstream.children == 2


async def test_initialize_needs_no_probe() -> None:
    async with upstream_of("mute") as peer:
        assert (await peer.initialize("s").done()).status == 200
        assert peer.upstream.children == 1
