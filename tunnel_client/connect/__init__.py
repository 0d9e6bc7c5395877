"""`tunnel-client connect`: an MCP server over HTTP for an agent that only speaks stdio."""
