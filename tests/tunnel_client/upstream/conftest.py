"""The HTTP upstream is tested on both event loops it runs on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

BOTH = {
    "test_http.py",
    "test_http_connection.py",
    "test_http_deadlines.py",
    "test_http_mcp_sessions.py",
    "test_http_servers.py",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give tests of the pool every loop, all others the default one."""
    if item.path.name in BOTH:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
