"""The version of the programs and of the wire they speak."""

VERSION = "0.1.0"
WIRE_VERSION = 1
SUBPROTOCOL = "mcp-tunnel.v1"
