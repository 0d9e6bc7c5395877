"""One running relay and client for all modules that leave it as they found it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

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
