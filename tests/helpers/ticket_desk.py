"""A small private MCP server over HTTP, as a team might have one: a ticket desk.

python -m tests.helpers.ticket_desk        # prints its URL, serves until a signal
"""

import logging
import socket
from dataclasses import dataclass

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

HOST = "127.0.0.1"
MAX_PAGES = 10_000
MAX_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """One line of the desk."""

    number: int
    title: str
    state: str = "open"

    def __str__(self) -> str:
        return f"#{self.number} [{self.state}] {self.title}"


def build() -> MCPServer:
    """Return the server, with two tickets in it."""
    desk = MCPServer("ticket-desk", version="1")
    tickets = [
        Ticket(1, "Printer on floor 3 prints only diagonals"),
        Ticket(2, "VPN gateway asks for a certificate of 2019", "waiting"),
    ]

    @desk.tool()
    def list_tickets() -> str:
        """List every ticket, one a line."""
        return "\n".join(map(str, tickets))

    @desk.tool()
    def open_ticket(title: str) -> str:
        """Open a ticket and return its line."""
        ticket = Ticket(len(tickets) + 1, title)
        tickets.append(ticket)
        return str(ticket)

    @desk.tool()
    async def export_tickets(context: Context, pages: int = 5, pause: float = 0.1) -> str:
        """Write a report page by page, reporting progress; `pause` is seconds a page."""
        pages = min(pages, MAX_PAGES)
        for page in range(1, pages + 1):
            await anyio.sleep(min(pause, MAX_PAUSE_SECONDS))
            await context.report_progress(page, pages, f"page {page} of {pages}")
        return f"exported {len(tickets)} tickets on {pages} pages"

    return desk


def main() -> None:
    """Serve Streamable HTTP on a free loopback port; the first line printed is the URL."""
    logging.basicConfig(level=logging.ERROR)
    app = build().streamable_http_app(host=HOST)
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        # Whoever reads the line may connect at once: the queue of the socket holds the call.
        listener.listen(128)
        print(f"http://{HOST}:{listener.getsockname()[1]}/mcp", flush=True)  # noqa: T201
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
