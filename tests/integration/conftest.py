"""One running relay and client for all modules that leave it as they found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.helpers.raw_link import Member
from tests.integration.hostile import Stage
from tests.integration.scene import Scene, open_scene


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene() -> AsyncIterator[Scene]:
    async with open_scene({"limits.sse_comment": "1s"}) as opened:
        yield opened


@pytest.fixture
def clean(scene: Scene) -> Scene:
    """Forget what the upstream saw in tests before."""
    scene.upstream.seen.clear()
    return scene


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """A relay whose own client never runs; deadlines are short."""
    settings = {
        "limits.handshake": "2s",
        "limits.ping_interval": "1s",
        "limits.resume_seconds": "1s",
        "limits.ping_deadline": "1s",
        "limits.enrolments_per_minute": "600",
    }
    async with open_scene(settings, start=False) as opened:
        made = Stage(opened, Member())
        made.honest = await made.member()
        yield made
