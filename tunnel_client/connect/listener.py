"""The stream on which a legacy server talks on its own account (GET), kept open while it lasts."""

import anyio
import httpx2

from tunnel_client.connect.call import Agent, read_events
from tunnel_client.connect.events import LONGEST_PAUSE
from tunnel_client.connect.http import drain
from tunnel_client.connect.notes import Notes
from tunnel_client.connect.server import Server
from tunnel_client.errors import ClientError
from tunnel_client.errors_connect import TokenRefusedError

FIRST_WAIT = 1.0


async def listen(server: Server, agent: Agent, notes: Notes, scope: anyio.CancelScope) -> None:
    """Pass on what comes until the server has no such stream, or the MCP session ended."""
    with scope:
        last: str | None = None
        wait = FIRST_WAIT
        while True:
            try:
                headers = agent.session.get_headers(last)
                async with server.send("GET", headers, silence=None, may_ask=False) as response:
                    if not response.is_success:
                        await drain(response)
                    if response.status_code in (400, 404, 405, 406, 501):
                        return  # none is offered, or nothing is left to listen to
                    if response.is_success:
                        async for event in read_events(response):
                            wait = FIRST_WAIT
                            last = event.id or last
                            wait = event.pause or wait
                            if event.data and event.name in ("", "message"):
                                await agent.deliver(event.data, None)
            except TokenRefusedError:
                return  # the MCP session ended with the token
            except ClientError as error:
                notes.say(f"the server's own messages: {error}")
            except (httpx2.HTTPError, httpx2.StreamError):
                pass  # calls will tell what is wrong
            await anyio.sleep(wait)
            wait = min(wait * 2, LONGEST_PAUSE)
