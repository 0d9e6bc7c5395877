"""The HTTP upstream is tested on both event loops it runs on, a sandbox as each there is."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import structlog
import uvloop

from tests.helpers.sandboxes import MACHINES
from tunnel_client.sandbox.machine import Machine

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


@pytest.fixture
def all_logs() -> None:
    """Commands that other tests ran in this process may have silenced the log."""
    structlog.reset_defaults()


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest) -> Machine:
    """Return this machine with each sandbox it can make."""
    return MACHINES[request.param]()
